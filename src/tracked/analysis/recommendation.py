"""Recommend a patience from replayed trainings, and pool each rule's regret and cost over them."""

import math
from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import binom

from tracked.analysis.intervals import compute_interval
from tracked.console.lines import format_count, format_duration

CONFIDENCE = 0.95
SHARE = 0.9  # of such trainings that a recommended patience must serve
ROUNDING = 2.0**-22  # relative: trainers report float32, and 0.880 - 0.879 must count as 0.001


def pool_rules(table: pd.DataFrame) -> pd.DataFrame:
    """Pool regret and cost of each rule over the runs long enough to answer it (not censored).

    Args:
        table: what ``rule_replay.replay`` returns, of several distinct histories of one metric.

    Returns:
        patience, min_delta; runs: how many answer; population: a number that two rules share if the same runs answer
        both (only then are their means comparable); regret, regret_low, regret_high: the mean regret with its 95 %
        interval; regret_worst; epochs, epochs_low, epochs_high: the mean epoch of the stop, likewise; epochs_saved and
        seconds_saved: means.
    """
    rows, populations = [], dict[Hashable, int]()
    for (patience, min_delta), group in table.groupby(["patience", "min_delta"]):
        answered = group[~group["censored"]]
        regret, epochs = answered["regret"].to_numpy(), answered["stopped_epoch"].to_numpy(dtype=float)
        regret_low, regret_high = compute_interval(regret)
        epochs_low, epochs_high = compute_interval(epochs)
        rows.append(
            {
                "patience": patience,
                "min_delta": min_delta,
                "runs": len(answered),
                "population": populations.setdefault(frozenset(answered["run_id"]), len(populations)),
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
    """The shortest patience shown to serve ``SHARE`` of such trainings, by ``runs`` of ``of`` trainings.

    A patience serves a training that loses at most the tolerance against its own longest wait of ``wait`` epochs or
    more; ``served`` of ``runs`` are served. ``patience`` is None where no patience is shown to: with fewer than
    ``needed`` runs, or where too many lose more; ``served`` then refers to ``longest``, the longest patience tried.
    ``cut`` runs ended before they had waited that long, and count as not served. regret with its 95 % interval,
    epochs_saved, seconds_saved and epochs (the total trained) are for the runs that answer the rule.
    """

    metric: str
    tolerance: float
    of: int
    needed: int
    runs: int
    wait: int = 0
    cut: int = 0
    longest: int | None = None
    served: int = 0
    patience: int | None = None
    min_delta: float = 0.0
    regret: float = np.nan
    regret_low: float = np.nan
    regret_high: float = np.nan
    regret_worst: float = np.nan
    epochs: int = 0
    epochs_saved: int = 0
    seconds_saved: float = np.nan

    @property
    def sentence(self) -> str:
        """The recommendation with its evidence, or what is missing for one."""
        share, loss = f"{SHARE:.0%} of such trainings", f"{self.tolerance:g} of the best {self.metric}"
        if not self.wait:
            return (
                f"Too few runs to recommend a patience: {format_count(self.of, 'distinct training')}; {self.needed} "
                "that train long enough suffice if one patience serves all of them."
            )
        if self.longest is None:
            return f"No patience can be judged: none tried is shorter than the {self.wait} epochs that the runs waited."
        against = f"against waiting {format_count(self.wait, 'epoch')} or longer"
        if self.patience is None:
            cut = f" (unknown for {self.cut} of these, which ended earlier)" if self.cut else ""
            return (
                f"No patience up to {self.longest} is shown to serve {share}: {self.longest} loses more than {loss} "
                f"{against} in {self.runs - self.served} of {self.runs} runs{cut}."
            )
        within = "" if np.isnan(self.regret_low) else f", 95% interval {self.regret_low:.4f} to {self.regret_high:.4f}"
        minutes = "" if np.isnan(self.seconds_saved) else f" and {format_duration(self.seconds_saved)}"
        return (
            f"Patience {self.patience} with min_delta {self.min_delta:g} serves at least {share}, at {CONFIDENCE:.0%} "
            f"confidence: it loses at most {loss} {against} in {self.served} of {self.runs} distinct runs, of "
            f"{self.of} in all. On average it loses {self.regret:.4f}{within} ({self.regret_worst:.4f} in the worst "
            f"run), and it would have saved {self.epochs_saved:,} of their "
            f"{format_count(self.epochs, 'epoch')}{minutes}."
        )


def recommend(table: pd.DataFrame, tolerance: float) -> Recommendation:
    """Find the shortest patience shown to serve ``SHARE`` of such trainings.

    A run shows no loss after its own end. So each rule is compared with the longest wait that ``SHARE`` of the runs
    whose own patience allows it are shown to have waited. Of those runs, one that ended earlier counts as not served,
    since runs that still improve are those that reach an epoch limit. A run with a shorter patience counts only where
    it loses. The bound is exact (Clopper and Pearson 1934) and one-sided. Patiences are tested from the longest down
    until one fails: a shorter patience never loses less, so all tests together err no more often than one. Several
    values of min_delta share the error (Bonferroni); so do the wait and the rule where runs state no patience, as then
    only their ends show how long they would have waited. bench/recommendation.py measures how often the claim holds.

    Args:
        table: what ``rule_replay.replay`` returns, of several distinct histories of one metric.
        tolerance: in the metric's unit.
    """
    runs = table.drop_duplicates("run_id").set_index("run_id")
    error = (1 - CONFIDENCE) / table["min_delta"].nunique() / (2 if runs["own_patience"].isna().any() else 1)
    waited = runs["waited"].astype(int)
    allowed = runs["own_patience"].astype(float).fillna(np.inf).clip(lower=waited)
    waits = [wait for wait in waited.unique() if _shown((waited >= wait).sum(), (allowed >= wait).sum(), error)]
    result = Recommendation(
        metric=str(table["monitor"].iloc[0]), tolerance=tolerance, of=len(runs), runs=len(runs),
        needed=math.ceil(math.log(error) / math.log(SHARE)),
    )  # fmt: skip
    if not waits:
        return result
    wait = int(max(waits))
    may_wait, did_wait = (table["run_id"].map(epochs >= wait).astype(bool) for epochs in (allowed, waited))
    within = table["regret"] <= tolerance + ROUNDING * table["best_value"].abs()
    lost = ~table["censored"].astype(bool) & ~within  # a rule that has not stopped keeps the run's best
    table = table.assign(did_wait=did_wait, counts=may_wait | lost, fails=lost | (may_wait & ~did_wait))
    result = replace(result, wait=wait, cut=int(((allowed >= wait) & (waited < wait)).sum()))
    shown = []
    rules = table[table["patience"] < wait].groupby(["patience", "min_delta"])
    for min_delta in sorted(set(table["min_delta"].tolist())):
        shortest = None
        for patience in sorted(set(table.loc[table["patience"] < wait, "patience"].tolist()), reverse=True):
            group = rules.get_group((patience, min_delta))
            count, served = int(group["counts"].sum()), int((group["counts"] & ~group["fails"]).sum())
            if result.longest is None or (patience, served) > (result.longest, result.served):
                result = replace(result, longest=patience, served=served, runs=count)
            if not _shown(served, count, error):
                break
            shortest = (patience, min_delta, served, count, group[group["did_wait"] & ~group["censored"]])
        if shortest:
            shown.append(shortest)
    if not shown:
        return result
    # For equal patiences, the min_delta that stops earliest.
    patience, min_delta, served, count, rows = min(shown, key=lambda rule: (rule[0], -rule[4]["epochs_saved"].sum()))
    regret, saved = rows["regret"].to_numpy(dtype=float), int(rows["epochs_saved"].astype(int).sum())
    low, high = compute_interval(regret)
    return replace(
        result, patience=patience, min_delta=min_delta, served=served, runs=count,
        regret=float(regret.mean()), regret_low=low, regret_high=high, regret_worst=float(regret.max()),
        epochs=saved + int(rows["stopped_epoch"].astype(int).sum()), epochs_saved=saved,
        seconds_saved=float(rows["seconds_saved"].sum(skipna=False)),
    )  # fmt: skip


def _shown(served: int, runs: int, error: float) -> bool:
    """Check whether ``served`` of ``runs`` shows that ``SHARE`` of all such trainings are served."""
    return bool(binom.sf(served - 1, runs, SHARE) <= error)
