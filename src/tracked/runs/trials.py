"""The trainings of a search in the store: what each tells, and how its run is tagged."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mlflow.entities import Metric

from tracked.analysis.early_stopping import NOT_A_NUMBER, PRUNED
from tracked.analysis.trials import Direction, Trial, TrialStatus
from tracked.runs import queries
from tracked.runs.metric_points import INFINITE, read_points
from tracked.runs.queries import MlflowRun
from tracked.runs.run_parameters import read_given
from tracked.runs.schema import CONFIRMS, ERROR, PARENT_RUN_ID, PROPOSAL, PRUNED_BECAUSE, STOP_REASON, TRIAL
from tracked.training.journal import EPOCH_SECONDS

AT_ONCE = 200  # runs whose points are read in one query


@dataclass(frozen=True)
class SearchRuns:
    """The trainings of a search: trials by number, confirming trainings by what they confirm and their seed."""

    trials: Mapping[int, Trial]
    confirming: Mapping[tuple[str, int], Trial]


def find_runs(search_id: str, experiment_id: str, monitor: str, direction: Direction) -> SearchRuns:
    """Find the trainings of a search.

    Of two runs with one number, which a lost answer of the server can leave, the one that got further counts.

    Raises:
        RunFailed: if the store keeps failing.
    """
    runs = list_runs(search_id, experiment_id)
    trials, confirming = dict[int, Trial](), dict[tuple[str, int], Trial]()
    for run, trial in zip(runs, read_trials(runs, monitor, direction), strict=True):
        if trial is None:
            continue
        if label := run.data.tags.get(CONFIRMS):
            key = label, _seed_of(run)
            confirming[key] = _choose(confirming.get(key), trial)
        else:
            trials[trial.number] = _choose(trials.get(trial.number), trial)
    return SearchRuns(dict(sorted(trials.items())), confirming)


def list_runs(search_id: str, experiment_id: str, condition: str = "") -> list[MlflowRun]:
    """List the runs below a search's, the newest first.

    Args:
        condition: what more is asked of them, in MLflow's search language.

    Raises:
        RunFailed: if the store keeps failing.
    """
    below = f"tags.`{PARENT_RUN_ID}` = '{search_id}'{condition}"
    return queries.search(f"reading the trainings of search {search_id}", [experiment_id], below)


def find_run(search_id: str, experiment_id: str, tags: Mapping[str, str], seed: int) -> MlflowRun | None:
    """Find the run that was made with the tags of a search's training; None if there is none.

    Args:
        seed: of the training, for one that confirms.

    Raises:
        RunFailed: if the store keeps failing.
    """
    name = CONFIRMS if CONFIRMS in tags else TRIAL
    runs = list_runs(search_id, experiment_id, f" and tags.{name} = '{tags[name]}'")
    if name == CONFIRMS:
        runs = [run for run in runs if _seed_of(run) == seed]
    return max(runs, key=lambda run: (run.info.status == "FINISHED", len(run.data.metrics)), default=None)


def _seed_of(run: MlflowRun) -> int:
    """Read a training's seed, known as soon as its run is there; -1 if it is not."""
    seed = read_given(run).get("seed", "")  # of the tag launch: a worker may die before it has logged a parameter
    return int(seed) if seed.isdecimal() else -1


def make_trial(tags: Mapping[str, str]) -> Trial:
    """Make what is known of a training that has no run yet, by the tags that it was to have."""
    proposal = json.loads(tags[PROPOSAL])
    return Trial(int(tags.get(TRIAL, "0")), proposal["values"], parse_known(proposal.get("known", "")))


def _choose(one: Trial | None, other: Trial) -> Trial:
    return other if one is None or (other.is_result, other.epochs) > (one.is_result, one.epochs) else one


def read_steps(run_id: str, metric: str) -> set[int]:
    """Read the steps at which a run has points of a metric.

    Raises:
        RunFailed: if the store keeps failing.
    """
    return {point.step for point in read_points([run_id], metric).get(run_id, ())}


def read_trials(runs: Sequence[MlflowRun], monitor: str, direction: Direction) -> list[Trial | None]:
    """Read what runs tell as trials; None for a run that is no training of a search."""
    of_search = [run for run in runs if TRIAL in run.data.tags or CONFIRMS in run.data.tags]
    points, seconds = ({}, {}) if not of_search else (_read(of_search, monitor), _read(of_search, EPOCH_SECONDS))
    trials: list[Trial | None] = []
    for run in runs:
        values, lasted = points.get(run.info.run_id, ()), seconds.get(run.info.run_id, ())
        trials.append(_make_trial(run, values, lasted, direction) if run in of_search else None)
    return trials


def _read(runs: Sequence[MlflowRun], metric: str) -> dict[str, list[Metric]]:
    ids = [run.info.run_id for run in runs if metric in run.data.metrics]
    found: dict[str, list[Metric]] = {}
    for start in range(0, len(ids), AT_ONCE):
        found |= read_points(ids[start : start + AT_ONCE], metric)
    return found


def _make_trial(
    run: MlflowRun, points: Iterable[Metric], seconds: Iterable[Metric], direction: Direction
) -> Trial | None:
    tags = run.data.tags
    proposal: Any = {}
    with suppress(ValueError, RecursionError):
        proposal = json.loads(tags.get(PROPOSAL, "{}"))
    if not isinstance(proposal, dict) or not tags.get(TRIAL, "0").isdecimal():
        return None
    history = [_as_float(point.value) for point in sorted(points, key=lambda point: point.step)]
    finite = [value for value in history if math.isfinite(value)]
    best = (min(finite) if direction == "min" else max(finite)) if finite else None
    return Trial(
        int(tags.get(TRIAL, "0")),
        dict(proposal.get("values", {})),
        parse_known(str(proposal.get("known", ""))),
        _status_of(run, best),
        run.info.run_id,
        run.info.run_name or "",
        tuple(history),
        best,
        history.index(best) + 1 if best is not None else 0,
        sum(point.value for point in seconds if math.isfinite(point.value)),
        tags.get(PRUNED_BECAUSE) or tags.get(ERROR, ""),
    )


def _as_float(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) >= INFINITE else value


def _status_of(run: MlflowRun, best: float | None) -> TrialStatus:
    reason = run.data.tags.get(STOP_REASON)
    if run.info.status == "FINISHED":
        if reason == PRUNED:
            return "pruned"
        return "not_a_number" if reason == NOT_A_NUMBER or best is None else "finished"
    return "failed" if run.info.status == "FAILED" else "running"


def make_tags(search_id: str, number: int, values: Mapping[str, Any], known: Sequence[int]) -> dict[str, str]:
    """Make the tags of a trial's run."""
    proposal = json.dumps({"values": dict(values), "known": format_known(known)})
    return {PARENT_RUN_ID: search_id, TRIAL: str(number), PROPOSAL: proposal}


def make_confirming_tags(search_id: str, label: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Make the tags of a confirming training's run."""
    return {PARENT_RUN_ID: search_id, CONFIRMS: label, PROPOSAL: json.dumps({"values": dict(values)})}


def format_known(numbers: Iterable[int]) -> str:
    """Format numbers as ranges, such as 0-5,7: a tag is limited in length."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def parse_known(text: str) -> tuple[int, ...]:
    """Parse what :func:`format_known` made; empty for anything else."""
    numbers: list[int] = []
    try:
        for item in filter(None, text.split(",")):
            low, _, high = item.partition("-")
            numbers += range(int(low), int(high or low) + 1)
    except ValueError:
        return ()
    return tuple(numbers)
