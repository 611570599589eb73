"""Which trainings without a version are in nobody's way, and what of theirs may go: models, checkpoint, rows."""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tracked.console.errors import UserError
from tracked.experiment import Experiment
from tracked.resume.resume_parameters import recorded_parameters
from tracked.runs import artifact_files
from tracked.runs.metric_points import INFINITE, read_points
from tracked.runs.queries import MlflowRun, name_data
from tracked.runs.schema import CHECKPOINT, CHECKPOINT_FOLDER, DATA_FOLDER, ROWS, VERB
from tracked.runs.store_contents import MlflowModel, StoreContents
from tracked.tidy import needs, settled
from tracked.tidy.things import Thing, generalize
from tracked.training.files import BEST
from tracked.training.files import CHECKPOINT as NUMBERED

AT_ONCE = 200  # runs whose points are read in one query


@dataclass(frozen=True)
class Holdings:
    """What a training without a version has: the sizes of its checkpoint and its rows, None where it has none."""

    run: MlflowRun
    models: list[MlflowModel]
    checkpoint: int | None
    rows: int | None
    has_folder: bool = False  # a run folder with a checkpoint

    @property
    def is_ranked(self) -> bool:
        """Whether there is a network to keep."""
        return bool(self.models) or self.checkpoint is not None or self.has_folder


def list_runs(owner: Experiment, view: StoreContents, experiment_ids: Collection[str]) -> list[MlflowRun]:
    """List the runs of an experiment that are not deleted, in some MLflow experiments."""
    runs = (run for run in view.runs.values() if run.info.experiment_id in experiment_ids)
    return [run for run in runs if settled.is_own(owner, run) and run.info.lifecycle_stage == "active"]


def find_holdings(
    owner: Experiment, view: StoreContents, runs: Iterable[MlflowRun], root: Path, kept: Counter[str]
) -> list[Holdings]:
    """Find what settled trainings without a version have.

    Args:
        root: of the run folders.
        kept: counts why others were left alone.
    """
    found = []
    for run in runs:
        if run.data.tags.get(VERB) != "train":
            continue
        always = settled.explain_unsettled(owner, view, run, cutoff=2**63) or needs.explain_version(view, run)
        if always:
            kept[f"training: {generalize(always)}"] += 1
            continue
        models = needs.list_own_models(view, run)
        checkpoint = artifact_files.list_sizes(run.info.artifact_uri, CHECKPOINT_FOLDER).get(CHECKPOINT)
        rows = artifact_files.list_sizes(run.info.artifact_uri, DATA_FOLDER).get(ROWS)
        found.append(Holdings(run, models, checkpoint, rows, has_checkpoint(root / run.info.run_id)))
    return found


def has_checkpoint(folder: Path) -> bool:
    """Whether a run folder has a checkpoint, also one that was set aside."""
    names = (path.name for pattern in ("*", "aside-*/*") for path in folder.glob(pattern))
    return any(name == BEST or NUMBERED.fullmatch(name) for name in names)


def choose_best(owner: Experiment, holdings: Iterable[Holdings], keep: int) -> dict[str, str]:
    """Choose the trainings that stay: the best of each data and monitor, and those whose value is not known.

    Returns:
        why each stays, by run id.
    """
    chosen: dict[str, str] = {}
    by_group: dict[tuple[str, str, str], list[MlflowRun]] = defaultdict(list)
    for one in holdings:
        if one.is_ranked:
            try:
                parameters = recorded_parameters(owner, one.run)
            except UserError:
                chosen[one.run.info.run_id] = "its parameters are another version's, so its rank is not known"
                continue
            by_group[parameters.monitor, parameters.direction, name_data(one.run)].append(one.run)
    for (monitor, direction, _), runs in by_group.items():
        values = _read_best(runs, monitor, direction)
        for run in runs:
            if run.info.run_id not in values:
                chosen[run.info.run_id] = f"it has no finite {monitor}, so its rank is not known"
        ranked = sorted(values, key=lambda run_id: (values[run_id] * (1 if direction == "min" else -1), run_id))
        chosen |= dict.fromkeys(ranked[:keep], f"it is among the best {keep} by {monitor}")
    return chosen


def _read_best(runs: list[MlflowRun], monitor: str, direction: str) -> Mapping[str, float]:
    """Read the best value of each training, where it has a finite one."""
    ids, best = [str(run.info.run_id) for run in runs], dict[str, float]()
    for start in range(0, len(ids), AT_ONCE):
        for run_id, points in read_points(ids[start : start + AT_ONCE], monitor).items():
            values = [one.value for one in points if math.isfinite(one.value) and abs(one.value) < INFINITE]
            if values:
                best[run_id] = min(values) if direction == "min" else max(values)
    return best


def find_things(
    owner: Experiment,
    view: StoreContents,
    holdings: Iterable[Holdings],
    best: Mapping[str, str],
    cutoff: int,
    names: Mapping[str, str],
    kept: Counter[str],
) -> list[Thing]:
    """Find what may go of trainings without a version.

    Args:
        best: why trainings stay, as :func:`choose_best` returns it.
        names: the MLflow experiments', by id.
        kept: counts why others stay.
    """
    things = []
    for one in holdings:
        info = one.run.info
        if not (one.models or one.checkpoint is not None or one.rows is not None):
            continue
        if reason := best.get(info.run_id) or needs.explain_need(owner, view, one.run, cutoff):
            kept[f"training: {generalize(reason)}"] += 1
            continue
        place, title = names[info.experiment_id], str(info.run_name)
        why = "no version, not among the best, and nothing names it"
        for model in one.models:
            size = sum(artifact_files.list_sizes(model.artifact_location).values())
            uri = str(model.artifact_location)
            things.append(Thing("stored model", info.run_id, title, uri, (), size, why, place, model.model_id))
        if one.checkpoint is not None:
            things.append(
                Thing("checkpoint", info.run_id, title, info.artifact_uri, (CHECKPOINT,), one.checkpoint, why, place)
            )
        if one.rows is not None:
            why = "evaluations find seen rows there, and it has no model that could be evaluated"
            things.append(Thing("rows", info.run_id, title, info.artifact_uri, (ROWS,), one.rows, why, place))
    return things
