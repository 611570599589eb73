"""Which early-stopping rule serves several trainings: the replayed rows pooled over them, and a recommendation."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from imdb_conv1d.resampling import interval, means_of_samples

RUNS_NEEDED = 5  # of fewer, a bootstrap knows next to nothing
CONFIDENCE = 0.95


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
        answered = group[~group["censored"]].dropna(subset="regret")
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


@dataclass(frozen=True)
class Recommendation:
    """The shortest patience within the tolerance, over ``runs`` trainings that answer every patience up to ``longest``.

    ``patience`` is None where nothing can be recommended: too few runs, or none within the tolerance. ``sureness`` is
    the share of bootstrap samples whose mean regret is within the tolerance, ``served`` the number of runs whose own
    regret is. epochs_saved and seconds_saved are sums over the runs, as is ``epochs``, all that they trained.
    """

    metric: str
    tolerance: float
    runs: int
    longest: int
    patience: int | None = None
    min_delta: float = 0.0
    regret: float = np.nan
    regret_high: float = np.nan
    regret_worst: float = np.nan
    sureness: float = np.nan
    served: int = 0
    epochs: int = 0
    epochs_saved: int = 0
    seconds_saved: float = np.nan

    @property
    def sentence(self) -> str:
        """All of it in one sentence."""
        if self.runs < RUNS_NEEDED:
            return (
                f"Too few runs to say which patience is enough: {self.runs} answer every patience up to "
                f"{self.longest}, and at least {RUNS_NEEDED} are needed."
            )
        if self.patience is None:
            return (
                f"No patience shorter than {self.longest} keeps the mean regret of these {self.runs} runs within "
                f"{self.tolerance:g} of {self.metric}, and how a longer one does is not known."
            )
        at_least = binomtest(self.served, self.runs).proportion_ci(2 * CONFIDENCE - 1, method="exact").low
        hedge = "" if self.sureness >= CONFIDENCE else ", which is too few runs or too little margin to be sure"
        minutes = "" if np.isnan(self.seconds_saved) else f" and {self.seconds_saved / 60:.1f} minutes"
        return (
            f"Patience {self.patience} with min_delta {self.min_delta:g} is the shortest that stays within "
            f"{self.tolerance:g} of {self.metric}: over {self.runs} runs that answer every patience up to "
            f"{self.longest} its mean regret is {self.regret:.4f} (at most {self.regret_high:.4f} at 95 % confidence, "
            f"{self.regret_worst:.4f} in the worst run), within the tolerance in {self.sureness:.0%} of bootstrap "
            f"samples{hedge}; it serves {self.served} of the runs, so at least {at_least:.0%} of such runs at 95 % "
            f"confidence; it would have saved {self.epochs_saved:,} of {self.epochs:,} epochs{minutes}."
        )


def recommend(table: pd.DataFrame, tolerance: float) -> Recommendation:
    """The shortest patience whose mean regret stays within ``tolerance`` (in the metric's unit), and how sure that is.

    Rules are compared on the same runs: those that answer every rule up to the longest patience for which there are
    ``RUNS_NEEDED`` of them, so that no run vouches for the very rule that ended it. Preferred is a patience that is
    within the tolerance in 95 % of the bootstrap samples; failing that, one that is so by its mean.

    Args:
        table: what ``rules.replay`` returns, of several histories of one metric.
    """
    answers = ~table["censored"].to_numpy(dtype=bool) & table["regret"].notna().to_numpy()
    by_run = table.assign(answers=answers).pivot_table(
        index="run_id", columns="patience", values="answers", aggfunc="all"
    )
    up_to = by_run.astype(bool).cummin(axis=1).sum()
    enough = up_to[up_to >= RUNS_NEEDED]
    longest = int(enough.index.max() if len(enough) else up_to[up_to == up_to.max()].index.max())
    runs = by_run.index[by_run.loc[:, :longest].all(axis=1)]
    chosen = table[table["run_id"].isin(runs) & (table["patience"] <= longest)]
    nothing = Recommendation(str(table["monitor"].iloc[0]), tolerance, len(runs), longest)
    if len(runs) < RUNS_NEEDED:
        return nothing
    found = []
    for _, group in chosen[chosen["patience"] < longest].groupby(["patience", "min_delta"]):
        rule, regret = group.iloc[0], group["regret"].to_numpy()
        if regret.mean() > tolerance:
            continue
        samples = means_of_samples(regret)
        saved = group["epochs_saved"].astype(int).sum()
        found.append(
            Recommendation(
                nothing.metric, tolerance, len(runs), longest, int(rule["patience"]), float(rule["min_delta"]),
                regret=float(regret.mean()),
                regret_high=float(np.percentile(samples, 100 * CONFIDENCE)),
                regret_worst=float(regret.max()),
                sureness=float((samples <= tolerance).mean()),
                served=int((regret <= tolerance).sum()),
                epochs=int(saved + group["stopped_epoch"].astype(int).sum()),
                epochs_saved=int(saved),
                seconds_saved=float(group["seconds_saved"].sum(skipna=False)),
            )
        )  # fmt: skip
    sure = [one for one in found if one.sureness >= CONFIDENCE]
    # Of one patience, the min_delta that stops earliest.
    return min(sure or found, key=lambda one: (one.patience, -one.epochs_saved), default=nothing)
