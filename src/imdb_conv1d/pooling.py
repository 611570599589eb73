"""Which early-stopping rule serves several trainings: the replayed rows pooled over them, and a recommendation."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from imdb_conv1d.console import counted, duration
from imdb_conv1d.resampling import interval, means_of_samples

RUNS_NEEDED = 5  # of fewer, a bootstrap knows next to nothing
CONFIDENCE = 0.95
MOST_RUNS = 0.9  # a share of all runs


def pooled(table: pd.DataFrame) -> pd.DataFrame:
    """Regret and cost of each rule over the runs that answer it.

    Args:
        table: what ``rules.replay`` returns, of several histories of one metric.

    Returns:
        patience, min_delta; runs: how many answer; regret, regret_low, regret_high: their mean regret with its 95 %
        bootstrap interval; regret_worst; epochs, epochs_low, epochs_high: the mean epoch of the stop, likewise;
        epochs_saved and seconds_saved: means.
    """
    rows = []
    for (patience, min_delta), group in table.groupby(["patience", "min_delta"]):
        answered = group[~group["censored"]]
        regret, epochs = answered["regret"].to_numpy(), answered["stopped_epoch"].to_numpy(dtype=float)
        regret_low, regret_high = interval(regret)
        epochs_low, epochs_high = interval(epochs)
        rows.append(
            {
                "patience": patience,
                "min_delta": min_delta,
                "runs": len(answered),
                "regret": answered["regret"].mean(),
                "regret_low": regret_low,
                "regret_high": regret_high,
                "regret_worst": answered["regret"].max(),
                "epochs": answered["stopped_epoch"].astype(float).mean(),
                "epochs_low": epochs_low,
                "epochs_high": epochs_high,
                "epochs_saved": answered["epochs_saved"].astype(float).mean(),
                "seconds_saved": answered["seconds_saved"].mean(),
            }
        )
    return pd.DataFrame(rows)


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The shortest patience within the tolerance, over ``runs`` of ``of`` trainings.

    They are those that answer every patience up to ``longest``; ``beyond`` answer a longer one as well. ``patience``
    is None where nothing can be recommended: too few runs, or none of the ``tried`` patiences that end before the runs
    do is within the tolerance. ``sureness`` is the share of bootstrap samples whose mean regret is within the
    tolerance, ``served`` the number of runs whose own regret is. ``regret`` and its 95 % bootstrap interval are of the
    mean; ``regret_of_all`` is that of all ``answered`` runs that answer the rule. epochs_saved and seconds_saved are
    sums over the runs, as is ``epochs``, all that they trained.
    """

    metric: str
    tolerance: float
    of: int
    runs: int
    longest: int
    beyond: int
    tried: int = 0
    patience: int | None = None
    min_delta: float = 0.0
    regret: float = np.nan
    regret_low: float = np.nan
    regret_high: float = np.nan
    regret_worst: float = np.nan
    answered: int = 0
    regret_of_all: float = np.nan
    sureness: float = np.nan
    served: int = 0
    epochs: int = 0
    epochs_saved: int = 0
    seconds_saved: float = np.nan

    @property
    def sentence(self) -> str:
        """All of it in one sentence."""
        which = f"answer every patience up to {self.longest}"
        if self.runs < RUNS_NEEDED:
            needed = f"at least {RUNS_NEEDED} are needed"
            return f"Too few runs to say which patience is enough: {self.runs} {which}, and {needed}."
        if not self.tried:
            return f"Nothing tells a longer wait from those tried: each ends where one of the {self.runs} runs did."
        tolerance = f"{self.tolerance:g} of the best {self.metric}"
        if self.patience is None:
            return (
                f"None of {self.tried} patiences up to {self.longest} keeps the mean regret of {self.runs} runs within "
                f"{tolerance}, and {self.beyond or 'no'} runs tell what a longer one does, which is too few."
            )
        share = f"{self.sureness:.0%} of bootstrap samples"
        within = f"within {tolerance} in {share}"
        if self.sureness < CONFIDENCE:
            within = f"within {tolerance}, but only in {share}, which is too few runs or too little margin to be sure"
        others = f", as it is {self.regret_of_all:.4f} over all {self.answered} that answer it"
        at_least = binomtest(self.served, self.runs).proportion_ci(2 * CONFIDENCE - 1, method="exact").low
        rare = "" if at_least >= MOST_RUNS else ", which does not rule out a rarer loss"
        minutes = "" if np.isnan(self.seconds_saved) else f" and {duration(self.seconds_saved)}"
        return (
            f"Patience {self.patience} with min_delta {self.min_delta:g} is the shortest of {self.tried} tried whose "
            f"mean regret stays {within}: over the {self.runs} of {self.of} runs that {which} it is {self.regret:.4f} "
            f"(95% interval {self.regret_low:.4f} to {self.regret_high:.4f}, {self.regret_worst:.4f} in the worst run)"
            f"{others if self.answered > self.runs else ''}; it serves {self.served} of the {self.runs}, so at least "
            f"{at_least:.0%} of such runs at 95% confidence{rare}; it would have saved {self.epochs_saved:,} of their "
            f"{counted(self.epochs, 'epoch')}{minutes}."
        )


def recommend(table: pd.DataFrame, tolerance: float) -> Recommendation:
    """The shortest patience whose mean regret stays within ``tolerance`` (in the metric's unit), and how sure that is.

    A run knows of no loss after its own end: the longer it went on, the more it tells. So rules are judged by the runs
    that answer every rule up to the longest patience for which there are ``RUNS_NEEDED`` of them. The regret that the
    other runs know of is the least that it can be, so a rule must be within the tolerance over all that answer it, too.
    A patience that itself ended one of the runs cannot be judged. Preferred is one that is within the tolerance in 95 %
    of the bootstrap samples; failing that, one that is so by its mean.

    Args:
        table: what ``rules.replay`` returns, of several histories of one metric.
    """
    answers = ~table["censored"].astype(bool)
    by_run = answers.groupby([table["run_id"], table["patience"]]).all().unstack()
    up_to = by_run.cummin(axis=1).sum()
    enough = up_to[up_to >= RUNS_NEEDED]
    longest = int((enough if len(enough) else up_to[up_to == up_to.max()]).index.max())
    runs = by_run.index[by_run.loc[:, :longest].all(axis=1)]
    judged = table[table["run_id"].isin(runs) & (table["patience"] <= longest)].groupby(["patience", "min_delta"])
    answered = table[answers].groupby(["patience", "min_delta"])
    rules = [
        (group, answered.get_group(rule)) for rule, group in judged if (group["epochs_saved"].astype(int) > 0).all()
    ]
    nothing = Recommendation(
        metric=str(table["monitor"].iloc[0]), tolerance=tolerance, of=len(by_run), runs=len(runs), longest=longest,
        beyond=table.loc[answers & (table["patience"] > longest), "run_id"].nunique(),
        tried=len({int(group["patience"].iloc[0]) for group, _ in rules}),
    )  # fmt: skip
    if len(runs) < RUNS_NEEDED:
        return nothing
    found = []
    for group, everybody in rules:
        rule, regret, of_all = group.iloc[0], group["regret"].to_numpy(), everybody["regret"].to_numpy()
        if max(regret.mean(), of_all.mean()) > tolerance:
            continue
        saved = group["epochs_saved"].astype(int).sum()
        samples = means_of_samples(regret)
        of_all_samples = samples if len(of_all) == len(regret) else means_of_samples(of_all)
        low, high = np.percentile(samples, [2.5, 97.5])
        found.append(
            replace(
                nothing,
                patience=int(rule["patience"]),
                min_delta=float(rule["min_delta"]),
                regret=float(regret.mean()),
                regret_low=float(low),
                regret_high=float(high),
                regret_worst=float(regret.max()),
                answered=len(of_all),
                regret_of_all=float(of_all.mean()),
                sureness=float(min((samples <= tolerance).mean(), (of_all_samples <= tolerance).mean())),
                served=int((regret <= tolerance).sum()),
                epochs=int(saved + group["stopped_epoch"].astype(int).sum()),
                epochs_saved=int(saved),
                seconds_saved=float(group["seconds_saved"].sum(skipna=False)),
            )
        )
    sure = [one for one in found if one.sureness >= CONFIDENCE]
    # Of one patience, the min_delta that stops earliest.
    return min(sure or found, key=lambda one: (one.patience, -one.epochs_saved), default=nothing)
