"""Plan a resume: find the training, hold its run folder, check its parameters and data."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tracked.analysis.early_stopping import OTHER_HISTORY
from tracked.console.errors import UserError
from tracked.console.lines import one_line, say
from tracked.console.parameters import refusal
from tracked.console.train_parameters import TrainCommand, TrainParameters
from tracked.experiment import SEEN_PARTS, Dataset, Experiment
from tracked.resume import due_evaluations, resume_parameters, training_status
from tracked.runs import queries, run_calls, run_parameters, run_start
from tracked.runs.connection import tracking_uri
from tracked.runs.queries import MlflowRun
from tracked.runs.registry import StoredModel
from tracked.runs.schema import DATA_DIGEST, DATA_SOURCE, EXTENDED, REGISTERED, RESUMED, VERB
from tracked.training import run_folder
from tracked.training.journal import Entry, list_logged_metrics
from tracked.training.run_folder_lock import HeldError, RunFolderLock
from tracked.training.snapshot_file import FINGERPRINT
from tracked.training.snapshots import Snapshots

MAX_RESUMED = 100  # resumes that the tag lists: a tag's length is limited


@dataclass(frozen=True)
class ResumePlan:
    """A training to resume.

    Attributes:
        recorded: the run's parameters, with former extensions.
        extended: this resume's extensions.
        source: the data's source.
        logged: the run's logged epochs.
        due: the version to evaluate, where it is registered already.
    """

    owner: Experiment
    run: MlflowRun
    recorded: TrainParameters
    extended: dict[str, int | str]
    source: str
    logged: dict[int, Entry]
    due: StoredModel | None = None

    @property
    def parameters(self) -> TrainParameters:
        """The parameters of the resumed training."""
        return self.recorded.extend(self.extended)

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self.run.info.run_id)

    @property
    def is_complete(self) -> bool:
        """Whether the version is registered completely: only the run's end is missing."""
        return REGISTERED in self.run.data.tags

    @property
    def has_begun(self) -> bool:
        """Whether a training has used the run; ``mlflow run`` makes unused ones."""
        return VERB in self.run.data.tags

    def log_resume(self, after: int) -> None:
        """Tag the run with the resume and its extensions, before an epoch is trained with them.

        Raises:
            RunFailed: if the store keeps failing.
        """
        tags = self.run.data.tags
        resumes = [*filter(None, tags.get(RESUMED, "").split(", ")), f"after epoch {after}"]
        new_tags = {RESUMED: ", ".join(resumes[-MAX_RESUMED:])}
        if self.extended:
            extended = run_parameters.read_extended(self.run) | self.extended
            new_tags[EXTENDED] = run_parameters.format_extended(extended, after)
        run_calls.set_tags("tagging the run as resumed", self.id, new_tags)


def make_plan(owner: Experiment, command: TrainCommand, folder_lock: RunFolderLock) -> ResumePlan | None:
    """Find and lock the training to resume; None for a new training.

    Raises:
        UserError: if the training does not exist, cannot be resumed or is held by another process, or a parameter would
            have to change.
        RunFailed: if the store keeps failing.
    """
    own = run_start.require_own_run(owner, "train")
    if own and command.resume != "no":
        raise refusal("resume", command.resume, "no under mlflow run: mlflow run . --run-id RUN_ID resumes a training")
    if own:
        run = own
    elif command.resume == "no":
        require_writable(owner, run_folder.find_root(owner.name, tracking_uri()))
        return None
    elif command.resume == "latest":
        run = _find_latest(owner, command)
    else:
        run = queries.read_runs(owner, [command.resume], "resume").runs[0]
    obstacle = training_status.find_obstacle(owner, run)
    if not obstacle and not own and not training_status.is_training_of(owner, run):
        obstacle = "is not a training of this project"
    due = _find_due(owner, command, run)
    is_unevaluated = due and run.info.status == "FINISHED"
    # An error would mark a finished run as failed.
    if obstacle and not is_unevaluated and not (own and REGISTERED in run.data.tags):
        raise UserError(f"resume: run {run.info.run_id} {obstacle}")
    if (starting := training_status.find_starting_process(owner, run)) is not None:
        raise _held_error(run, str(starting))
    lock_folder(owner, training_status.find_folder(owner, run), folder_lock, partial(_held_error, run))
    run = run_start.read_run(run.info.run_id)  # another process may have finished it before the lock
    recorded, extended = resume_parameters.merge_parameters(owner, run, command)
    return replace(_complete_plan(owner, run, recorded, extended), due=_find_due(owner, command, run))


def _find_due(owner: Experiment, command: TrainCommand, run: MlflowRun) -> StoredModel | None:
    """Find the version of a complete training that is to be evaluated and is not."""
    is_complete = run.data.tags.get(VERB) == "train" and REGISTERED in run.data.tags
    if not is_complete or not due_evaluations.wants_evaluation(command, run):
        return None
    return due_evaluations.find_due(owner, [run]).get(run.info.run_id)


def plan_trial(owner: Experiment, run_id: str, folder_lock: RunFolderLock) -> ResumePlan:
    """Lock a search's training, and plan its resume with its own parameters.

    Raises:
        UserError: if the run does not exist, or another process holds it.
        RunFailed: if the store keeps failing.
    """
    run = run_start.read_run(run_id)
    lock_folder(owner, training_status.find_folder(owner, run), folder_lock, partial(_held_error, run))
    return _complete_plan(owner, run, resume_parameters.recorded_parameters(owner, run), {})


def _complete_plan(
    owner: Experiment, run: MlflowRun, recorded: TrainParameters, extended: dict[str, int | str]
) -> ResumePlan:
    source = run_parameters.read_launch(run).get("source") or run.data.tags.get(DATA_SOURCE, "")
    logged = run_calls.logged_epochs(run, list_logged_metrics(owner))
    return ResumePlan(owner, run, recorded, extended, source, logged)


def require_same_data(plan: ResumePlan, data: Dataset) -> None:
    """Check the data, and the size of each part, against those of the run.

    The digest is the run's tag, or the newest snapshot's if the tag is missing; the parts' sizes are the snapshot's,
    which earlier versions of the project did not write. Must be called before the run is changed.

    Raises:
        UserError: if the data or the parts changed.
        OSError: if a snapshot cannot be read.
    """
    folder = training_status.find_folder(plan.owner, plan.run)
    snapshot = Snapshots(folder).read_metadata().get(FINGERPRINT, {})
    former = plan.run.data.tags.get(DATA_DIGEST, snapshot.get("data", data.digest))
    advice = "or start a new training without --resume or --run-id"
    if former != data.digest:
        change = f"changed since run {plan.id} was trained on it (digest {former[:12]} -> {data.digest[:12]})"
        raise UserError(f"data: {data.source} {change}; restore the data, {advice}")
    former, parts = snapshot.get("parts", describe_parts(data)), describe_parts(data)
    if former != parts:
        change = f"is split otherwise than when run {plan.id} was trained on it ({former} -> {parts})"
        raise UserError(f"data: {data.source} {change}; restore the split, {advice}")


def describe_parts(data: Dataset) -> str:
    """Describe the size of each part that a training sees."""
    return ", ".join(f"{data.counts[part]:,} {part}" for part in SEEN_PARTS)


def lock_folder(owner: Experiment, folder: Path, folder_lock: RunFolderLock, held: Callable[[str], UserError]) -> None:
    """Lock a run folder.

    Args:
        held: makes the error if another process, its argument, holds the folder.

    Raises:
        UserError: if another process holds the folder, or files cannot be written there.
    """
    require_writable(owner, folder.parent)
    try:
        folder_lock.take(folder)
    except HeldError as error:
        raise held(str(error)) from None
    except OSError as error:
        raise UserError(f"{folder} cannot be locked ({one_line(error)}); make it writable for this user") from None


def _held_error(run: MlflowRun, holder: str) -> UserError:
    return UserError(f"resume: run {run.info.run_id} is held by {holder}; end that process first")


def require_writable(owner: Experiment, root: Path) -> None:
    """Require that files can be written in the root of run folders.

    Raises:
        UserError: if they cannot.
    """
    try:
        run_folder.require_writable(root)
    except OSError as error:
        setting, reason = run_folder.setting_name(owner.name), one_line(error)
        raise UserError(f"{setting}: {str(root)!r} is not writable ({reason}); allowed: a writable folder") from None


def _find_latest(owner: Experiment, command: TrainCommand) -> MlflowRun:
    experiment = queries.find_experiment("auto")
    trainings = training_status.find_unfinished(owner, experiment.experiment_id)
    resumable = [training for training in trainings if not training.obstacle and training.is_dead]
    found = [training.run for training in resumable if training.reason != OTHER_HISTORY]  # would differ again
    if found:
        return max(found, key=lambda run: run.info.start_time)
    # Last: an evaluation that fails again must not keep trainings waiting.
    if unevaluated := due_evaluations.find_latest(owner, command, experiment.experiment_id):
        return unevaluated
    error = f"resume: no resumable run in experiment {experiment.name}; start one without --resume"
    if resumable:
        error += f", or restore the code, packages and machine of run {resumable[0].id} and resume that"
    if held := [training for training in trainings if training.holder and not training.obstacle]:
        error += f", or wait for run {held[0].id}, which is held by {held[0].holder}, or end that process"
    raise UserError(error)


def finish(plan: ResumePlan, folder_lock: RunFolderLock) -> None:
    """End a run whose version is registered."""
    folder_lock.remove()
    tags = plan.run.data.tags
    if plan.run.info.status != "FINISHED":
        run_calls.end(plan.id, "FINISHED")
    say(f"run {plan.id} has finished: version {tags[REGISTERED]} of {plan.parameters.model_name} is registered")
