"""Read a metric's history from any run that has one value per epoch, or per evaluation at increasing steps."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Literal

import numpy as np
from mlflow.entities import Metric, Run

from tracked.analysis.rule_replay import History
from tracked.console.errors import UserError
from tracked.console.lines import format_count
from tracked.console.metric_direction import infer_mode
from tracked.console.parameters import refusal
from tracked.runs import queries
from tracked.runs.metric_points import INFINITE, read_points
from tracked.runs.run_parameters import read_parameters
from tracked.runs.schema import STOPPED_EPOCH, VERB
from tracked.training.journal import EPOCH_SECONDS, LEARNING_RATE

MAX_PATIENCES = 200  # in the default grid
MAX_ROWS = 2_000_000  # of the replayed table: a gigabyte
AT_ONCE = 100  # histories that one query reads
Mode = Literal["auto", "min", "max"]


def read(
    run: Run,
    monitor: str = "auto",
    mode: Mode = "auto",
    say: Callable[[str], None] = lambda line: None,
    points: Sequence[Metric] | None = None,
    lasted: Sequence[Metric] | None = None,
    declared: Mapping[str, Literal["min", "max"]] | None = None,
    rates: Sequence[Metric] | None = None,
) -> History:
    """Read a run's history of ``monitor``; epochs are counted from 1.

    Steps are epochs if they are 1, 2, 3, … or 0, 1, 2, …. A foreign run may have any other increasing steps, such as
    500, 1000, …: its values are evaluations, and are counted in the place of epochs.

    Args:
        monitor: auto is the run's own, else val_loss.
        mode: auto is the run's own if the run monitored this metric, else Keras's rule for the name.
        say: prints what is left out of the run.
        points: the metric's points in any order, if they are read already.
        lasted: the points of ``EPOCH_SECONDS`` likewise.
        declared: the directions of the experiment's metrics, by the name without ``val_``.
        rates: the points of ``LEARNING_RATE`` likewise, of a run whose rate is cut at plateaus.

    Raises:
        UserError: if the run lacks the metric, has fewer than two epochs or two values at one step, if a training of
            this package lacks an epoch, or if the metric's direction is unknown.
        RunFailed: if the store keeps failing.
    """
    run_id, parameters = run.info.run_id, read_parameters(run)
    metric = queries.resolve_monitor(run, monitor)
    if metric not in run.data.metrics:
        recorded = ", ".join(sorted(run.data.metrics)) or "no metric at all"
        raise refusal("monitor", metric, f"what run {run_id} has recorded, which is {recorded}")
    points = sorted(read_points([run_id], metric)[run_id] if points is None else points, key=lambda point: point.step)
    if _ends_with_restored_weights(run, points):
        say(f"run {run_id}: step {points[-1].step} is no epoch but the best one's values once more, as autolog logs "
            "them with restore_best_weights; left out")  # fmt: skip
        points.pop()
    steps = _read_steps(run_id, metric, [point.step for point in points], are_epochs=VERB in run.data.tags)
    if parameters.get("baseline", "None") != "None":
        say(f"run {run_id}: its EarlyStopping had a baseline, {parameters['baseline']}; the rules here have none")
    own = _own_mode(parameters, metric == queries.resolve_monitor(run)) if mode == "auto" else mode
    direction = own or (declared or {}).get(metric.removeprefix("val_")) or infer_mode(metric)
    if direction is None:
        raise UserError(f"mode: auto is not known for {metric} of run {run_id}; allowed: min or max")
    if lasted is None:
        lasted = read_points([run_id], EPOCH_SECONDS)[run_id] if EPOCH_SECONDS in run.data.metrics else []
    if rates is None:
        rates = read_points([run_id], LEARNING_RATE)[run_id] if _has_cuts(run) else []
    values = np.array([point.value for point in points])
    if not np.isfinite(values).any():
        raise UserError(f"run: {run_id!r} has no finite value of {metric}; allowed: a run that has one")
    return History(
        run_id,
        run.info.run_name or "",
        metric,
        direction,
        np.where(np.abs(values) >= INFINITE, np.sign(values) * np.inf, values),
        _seconds(run, points, lasted),
        _own_patience(parameters),
        _own_min_delta(parameters),
        _same_rate_until(parameters.get("schedule"), rates),
        steps,
    )


def read_all(
    runs: Sequence[Run],
    monitor: str,
    mode: Mode,
    say: Callable[[str], None],
    all_of_them: bool,
    declared: Mapping[str, Literal["min", "max"]] | None = None,
) -> list[History]:
    """Read the histories of one metric of several runs, as :func:`read`; runs without one are named and left out.

    Args:
        all_of_them: raise the error of :func:`read` instead.

    Raises:
        UserError: if no run has a history, or the histories differ in metric or mode.
    """
    results = []
    for start in range(0, len(runs), AT_ONCE):
        some = runs[start : start + AT_ONCE]
        of_metric: dict[str, list[str]] = {}
        for run in some:
            of_metric.setdefault(queries.resolve_monitor(run, monitor), []).append(run.info.run_id)
        points = {run_id: own for metric, ids in of_metric.items() for run_id, own in read_points(ids, metric).items()}
        with_seconds = [run.info.run_id for run in some if EPOCH_SECONDS in run.data.metrics]
        lasted = read_points(with_seconds, EPOCH_SECONDS) if with_seconds else {}
        with_cuts = [run.info.run_id for run in some if _has_cuts(run)]
        rates = read_points(with_cuts, LEARNING_RATE) if with_cuts else {}
        for run in some:
            run_id = run.info.run_id
            try:
                took, used = lasted.get(run_id, []), rates.get(run_id, [])
                results.append(read(run, monitor, mode, say, points[run_id], took, declared, used))
            except UserError as error:
                if all_of_them:
                    raise
                say(f"left out: {error}")
        if len(runs) > AT_ONCE:
            say(f"read {start + len(some):,} of {len(runs):,} histories")
    if not results:
        one = "a metric that one of the trainings has recorded by the epoch"
        raise refusal("monitor", monitor, f"{one}; none of {len(runs):,} has")
    for name, given in (("monitor", monitor), ("mode", mode)):
        kinds = sorted({str(getattr(history, name)) for history in results})
        if len(kinds) > 1:
            raise UserError(
                f"{name}: {given!r} means {' and '.join(kinds)} for these runs; allowed: one of them by name"
            )
    return results


def choose_grid(
    histories: Sequence[History], patience: Sequence[int], min_delta: Sequence[float]
) -> tuple[list[int], list[float]]:
    """Choose the patiences and min_deltas to try. The default is 1 to the runs' longest patience, in growing strides
    where that is long, and 0 and the runs' own min_deltas.

    Raises:
        UserError: if neither the command nor a run has a patience, or if the table would have too many rows.
    """
    longest = max((history.patience or 1 for history in histories if history.patience is not None), default=0)
    if not patience:
        if not longest:
            lacking = f"runs that have that parameter, which {histories[0].run_id} has not, or numbers such as 1-30"
            raise refusal("patience", "auto", lacking)
        strides = np.geomspace(1, longest, MAX_PATIENCES).round().astype(int).tolist()
        patience = sorted({*strides} if longest > MAX_PATIENCES else range(1, longest + 1))
    deltas = list(min_delta) or sorted({0.0, *(history.min_delta or 0.0 for history in histories)})
    rows = len(histories) * len(patience) * len(deltas)
    if rows > MAX_ROWS:
        raise UserError(
            f"patience: {len(patience):,} patiences by {len(deltas):,} values of min_delta on "
            f"{format_count(len(histories), 'run')} are {rows:,} rows; allowed: {MAX_ROWS:,} at most"
        )
    return list(patience), deltas


def _seconds(run: Run, points: Sequence[Metric], lasted: Sequence[Metric]) -> np.ndarray:
    """Seconds of training until the end of each epoch: the sum of the epochs' seconds, if the run has all of them.

    Else the time since the run's start, by the points' timestamps.
    """
    took = {point.step: point.value for point in lasted if math.isfinite(point.value) and point.value >= 0}
    if len(took) == len(lasted) and all(point.step in took for point in points):
        return np.cumsum([took[point.step] for point in points])
    return (np.array([point.timestamp for point in points]) - run.info.start_time) / 1000


def _ends_with_restored_weights(run: Run, points: Sequence[Metric]) -> bool:
    stopped, restored = run.data.metrics.get(STOPPED_EPOCH), run.data.metrics.get("restored_epoch")
    if not points or stopped is None or restored is None or points[-1].step != stopped + 1:
        return False
    return points[-1].value in [point.value for point in points if point.step == restored]


def _read_steps(run_id: str, metric: str, steps: Sequence[int], are_epochs: bool) -> np.ndarray | None:
    """Read the steps of a history, in ascending order; None if they count epochs.

    Args:
        are_epochs: the run's steps are known to be epochs, so that one that is missing was lost.

    Raises:
        UserError: if there are fewer than two, two are equal, or a lost one would be counted as trained.
    """
    problem, allowed = "", "a run with one value an epoch or evaluation, of two or more"
    if len(steps) < 2:
        problem = f"{len(steps) or 'no'} epoch of {metric}"
    elif steps[0] < 0 or (are_epochs and steps[0] > 1):
        problem = f"{metric} from step {steps[0]} on"
        allowed = "a training with a value from step 1 on" if are_epochs else "a run with steps from 0 on"
    for before, step in pairwise(steps):
        if step == before:
            problem = f"two values of {metric} at step {step}"
        elif are_epochs and step != before + 1 and not problem:
            problem = f"no value of {metric} between steps {before} and {step}"
            allowed = "a training with a value of each epoch"
    if problem:
        raise UserError(f"run: {run_id!r} has {problem}; allowed: {allowed}")
    counts = steps[0] in (0, 1) and steps[-1] - steps[0] == len(steps) - 1
    return None if counts else np.array(steps)


def _own_mode(parameters: dict[str, str], same_metric: bool) -> Literal["min", "max"] | None:
    mode = parameters.get("mode")
    return "min" if same_metric and mode == "min" else "max" if same_metric and mode == "max" else None


def _own_patience(parameters: dict[str, str]) -> int | None:
    with suppress(KeyError, ValueError):
        return max(int(parameters["patience"]), 0)
    return None


def _own_min_delta(parameters: dict[str, str]) -> float | None:
    with suppress(KeyError, ValueError):
        value = abs(float(parameters["min_delta"]))  # as Keras does
        return value if math.isfinite(value) else None
    return None


def _has_cuts(run: Run) -> bool:
    return read_parameters(run).get("schedule") == "plateau" and LEARNING_RATE in run.data.metrics


def _same_rate_until(schedule: str | None, rates: Sequence[Metric]) -> int | None:
    """Find the epoch before the first in which the run's own schedule had lowered its learning rate; None: in none.

    Args:
        rates: of a run whose rate is cut at plateaus; steps are epochs, counted from 1.
    """
    if schedule in ("exponential", "cosine"):
        return 0
    ordered = sorted(rates, key=lambda point: point.step)
    return next((rate.step for rate, after in pairwise(ordered) if after.value < rate.value), None)
