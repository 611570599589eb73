"""Which training is to go on, and with what: found in the store, held, and checked against what is asked."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tracked.analysis.early_stopping import OTHER_HISTORY
from tracked.console.errors import UserError
from tracked.console.lines import one_line, say
from tracked.console.parameters import refusal
from tracked.console.train_parameters import TrainCommand, TrainParameters
from tracked.experiment import Experiment
from tracked.resume import resume_parameters, training_status
from tracked.runs import queries, run_calls, run_start
from tracked.runs.connection import tracking_uri
from tracked.runs.queries import MlflowRun
from tracked.runs.schema import DATA_DIGEST, DATA_SOURCE, EXTENDED, REGISTERED, RESUMED, VERB
from tracked.training import run_folder
from tracked.training.journal import Entry, list_logged_metrics
from tracked.training.run_folder_lock import HeldError, RunFolderLock
from tracked.training.snapshot_file import FINGERPRINT
from tracked.training.snapshots import Snapshots

MAX_RESUMED = 100  # times that it went on: a tag has an end


@dataclass(frozen=True)
class ResumePlan:
    """A training that goes on: its run, its parameters and what they are raised to, where its data came from.

    ``logged`` is what the run has of each epoch.
    """

    owner: Experiment
    run: MlflowRun
    recorded: TrainParameters
    extended: dict[str, int]
    source: str
    logged: dict[int, Entry]

    @property
    def parameters(self) -> TrainParameters:
        """Those that it goes on with."""
        return self.recorded.model_copy(update=self.extended)

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self.run.info.run_id)

    @property
    def is_complete(self) -> bool:
        """Whether its version is registered with all that belongs to it: only the run's end is missing."""
        return REGISTERED in self.run.data.tags

    @property
    def has_begun(self) -> bool:
        """Whether the run was begun before; ``mlflow run`` makes one that has not."""
        return VERB in self.run.data.tags

    def log_resume(self, after: int) -> None:
        """Note at the run that it goes on after an epoch, before it does: what is raised holds from now on.

        Raises:
            RunFailed: if the store keeps failing.
        """
        tags = self.run.data.tags
        told = [*filter(None, tags.get(RESUMED, "").split(", ")), f"after epoch {after}"]
        noted = {RESUMED: ", ".join(told[-MAX_RESUMED:])}
        if self.extended:
            former = {told.split()[0]: told for told in tags.get(EXTENDED, "").split("; ") if told}
            now = {name: f"{name} to {value} after epoch {after}" for name, value in self.extended.items()}
            noted[EXTENDED] = "; ".join((former | now).values())
        run_calls.set_tags("noting that it goes on", self.id, noted)


def make_plan(owner: Experiment, command: TrainCommand, folder_lock: RunFolderLock) -> ResumePlan | None:
    """The training that is to go on, held by ``claim``; None if a new one is to begin.

    Raises:
        UserError: if there is none, it cannot go on, another process holds it, or a parameter would have to change.
        RunFailed: if the store keeps failing.
    """
    made = run_start.require_own_run(owner, "train")
    if made and command.resume != "no":
        raise refusal("resume", command.resume, "no under mlflow run: mlflow run . --run-id RUN_ID resumes a training")
    if made:
        run = made
    elif command.resume == "no":
        _require_writable(owner, run_folder.find_root(owner.name, tracking_uri()))
        return None
    elif command.resume == "latest":
        run = _find_latest(owner)
    else:
        run = queries.read_runs(owner, [command.resume], "resume").runs[0]
    why = training_status.find_obstacle(owner, run)
    if not why and not made and not training_status.is_training_of(owner, run):
        why = "is none of this project"
    if why and not (made and REGISTERED in run.data.tags):  # an error would mark what has finished as failed
        raise refusal("resume", run.info.run_id, f"a training that can go on: this one {why}")
    if (starting := training_status.find_starting_process(owner, run)) is not None:
        raise _held_error(run, str(starting))
    lock_folder(owner, training_status.find_folder(owner, run), folder_lock, partial(_held_error, run))
    run = run_start.read_run(run.info.run_id)  # it may have gone on and finished until we held it
    former, extended = resume_parameters.merge_parameters(owner, run, command)
    source = training_status.read_launch(run).get("source") or run.data.tags.get(DATA_SOURCE, "")
    epochs = run_calls.logged_epochs(run, list_logged_metrics(owner))
    return ResumePlan(owner, run, former, extended, source, epochs)


def require_same_data(plan: ResumePlan, name: str, digest: str) -> None:
    """Make sure that a training goes on with the data that it was begun with, before its run is changed.

    The run's tag has their digest; where it never arrived, the newest snapshot has it.

    Raises:
        UserError: if the data are others.
        OSError: if a snapshot cannot be read just now.
    """
    before = plan.run.data.tags.get(DATA_DIGEST)
    if before is None:
        before = (
            Snapshots(training_status.find_folder(plan.owner, plan.run))
            .read_metadata()
            .get(FINGERPRINT, {})
            .get("data", digest)
        )
    if before != digest:
        changed = f"has changed since run {plan.id} was trained on it (digest {before[:12]} -> {digest[:12]})"
        raise UserError(
            f"data: {name} {changed}; allowed: the data as they were, or a new training, without --resume or --run-id"
        )


def lock_folder(owner: Experiment, folder: Path, folder_lock: RunFolderLock, held: Callable[[str], UserError]) -> None:
    """Hold a training's folder.

    Args:
        held: the error if another process has it, which the argument names.

    Raises:
        UserError: if another process has it, or files cannot be written there.
    """
    _require_writable(owner, folder.parent)
    try:
        folder_lock.take(folder)
    except HeldError as error:
        raise held(str(error)) from None
    except OSError as error:
        raise UserError(f"{folder} cannot be held ({one_line(error)}); allowed: a folder of this user's") from None


def _held_error(run: MlflowRun, by: str) -> UserError:
    return refusal("resume", run.info.run_id, f"a training that no process works on: {by} does")


def _require_writable(owner: Experiment, root: Path) -> None:
    try:
        run_folder.require_writable(root)
    except OSError as error:
        setting, reason = run_folder.setting_name(owner.name), one_line(error)
        raise UserError(
            f"{setting}: {str(root)!r} cannot be written to ({reason}); allowed: a folder that can"
        ) from None


def _find_latest(owner: Experiment) -> MlflowRun:
    experiment = queries.find_experiment("auto")
    for one in training_status.find_unfinished(owner, experiment.experiment_id):
        if not one.obstacle and one.is_dead and one.reason != OTHER_HISTORY:  # it would end in the same way
            return one.run
    raise UserError(
        f"resume: 'latest' finds no training to go on with in the experiment {experiment.name}; "
        "allowed: a run's id, or no for a new training"
    )


def finish(plan: ResumePlan, folder_lock: RunFolderLock) -> None:
    """End a run of which nothing but the end is missing."""
    folder_lock.remove()
    tags = plan.run.data.tags
    if plan.run.info.status != "FINISHED":
        run_calls.end(plan.id, "FINISHED")
    say(f"run {plan.id} has finished: version {tags[REGISTERED]} of {plan.parameters.model_name} is registered")
