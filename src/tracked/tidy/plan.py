"""Plan a tidy: all that might go, why, and why other things stay."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tracked.console.tidy_parameters import TidyParameters
from tracked.experiment import Experiment
from tracked.resume import training_status
from tracked.runs import sight, store_contents, tidy_runs
from tracked.runs.connection import tracking_uri
from tracked.runs.queries import MlflowRun
from tracked.runs.store_contents import StoreContents
from tracked.tidy import evaluations, folders, leftovers, settled, trainings
from tracked.tidy.things import ORDER, Thing
from tracked.training import run_folder


@dataclass(frozen=True)
class Plan:
    """What might go.

    Args:
        cutoff: the milliseconds since 1970 before which what may go must have ended.
        beyond: the trainings without a version that are not among the best.
        compared: what comparisons have used.
        former: tidies that were cut off.
        kept: how often what was left alone for which reason.
        blind: why this user does not see all of the store; empty if all.
    """

    owner: Experiment
    view: StoreContents
    root: Path
    cutoff: int
    beyond: frozenset[str] = frozenset()
    compared: frozenset[str] = frozenset()
    things: list[Thing] = field(default_factory=list)
    former: list[MlflowRun] = field(default_factory=list)
    kept: Counter[str] = field(default_factory=Counter)
    blind: str = ""


def make(
    owner: Experiment, parameters: TidyParameters, experiments: Mapping[str, str], roots: Mapping[str, str]
) -> Plan:
    """Find what might go in MLflow experiments.

    Without a view of the whole store, only run folders may go: whether something else is needed cannot be told.

    Args:
        experiments: their names by id.
        roots: the roots of their artifacts by id.

    Raises:
        RunFailed: if the store keeps failing.
    """
    cutoff = round((time.time() - parameters.older_than * 24 * 3600) * 1000)
    root, blind, kept = run_folder.find_root(owner.name, tracking_uri()), sight.explain_blindness(), Counter[str]()
    listed = {} if blind else leftovers.list_folders(roots)  # before the store is read
    view = store_contents.read()
    runs = trainings.list_runs(owner, view, experiments)
    if blind:
        things = folders.find_things(owner, view, runs, root, frozenset(), cutoff, experiments, kept)
        return Plan(owner, view, root, cutoff, things=things, kept=kept, blind=blind)
    holdings = trainings.find_holdings(owner, view, runs, root, kept)
    best = trainings.choose_best(owner, holdings, parameters.keep)
    beyond = frozenset(one.run.info.run_id for one in holdings if one.is_ranked) - frozenset(best)
    all_own = [run for run in view.runs.values() if settled.is_own(owner, run)]
    compared = frozenset(tidy_runs.list_compared(all_own))
    begun = {str(row.get("model_id")) for run in tidy_runs.list_cut_off(all_own) for row in tidy_runs.read_plan(run)}
    cut_off = tidy_runs.list_cut_off(runs)
    former = [run for run in cut_off if run.info.status != "RUNNING" or training_status.is_dead(run)]
    things = [
        *evaluations.find_things(owner, view, experiments, compared, cutoff, experiments, kept),
        *trainings.find_things(owner, view, holdings, best, cutoff, experiments, kept),
        *folders.find_things(owner, view, runs, root, beyond, cutoff, experiments, kept),
        *leftovers.find_things(view, listed, begun, experiments, kept),
    ]
    things.sort(key=lambda thing: ORDER.index(thing.kind))  # stable: of a training, in the order of its parts
    return Plan(owner, view, root, cutoff, beyond, compared, things, former, kept)
