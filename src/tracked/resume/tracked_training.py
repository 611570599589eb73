"""Start or resume a training with its run."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from tracked import __version__
from tracked.analysis.early_stopping import OTHER_HISTORY
from tracked.console import verb_parameters
from tracked.console.errors import Interrupted, RunFailed, UserError
from tracked.console.lines import say, warn
from tracked.console.parameters import as_string, refusal
from tracked.console.signals import Signals
from tracked.console.train_parameters import EVALUATE, MAX_NAME, TrainCommand, TrainParameters, extract_training
from tracked.experiment import Dataset, Experiment
from tracked.resume import auto_rate, due_evaluations, resume_plan
from tracked.resume.resume_parameters import RENAMABLE
from tracked.resume.resume_plan import ResumePlan
from tracked.runs import artifact_files, context, registry, rights, versions, writer
from tracked.runs.connection import tracking_uri
from tracked.runs.run_start import ResumableStart
from tracked.runs.schema import CANDIDATE, PRESET_VALUES, RESERVED, TRACKED_VERSION
from tracked.training import reproducibility, run_folder
from tracked.training.dataset_cache import DatasetCache
from tracked.training.journal import HistoryError
from tracked.training.run_folder_lock import RunFolderLock

if TYPE_CHECKING:
    from tracked.training.trainer import Trainer

END_MODULES = ("tracked.models.finalize", "tracked.reports.training_report")  # what comes after the last epoch


@dataclass(frozen=True)
class TrackedTraining:
    """A started or resumed training: its run, its data, its trainer.

    Of a search's trial, what its end tells is a result, whatever the end is; its checkpoint stays in the run folder.
    One that had ended as a trial is opened once more to be registered, which is no resume. One that ``evaluates`` is
    followed by the evaluation of its version.
    """

    run: writer.Run
    data: Dataset
    trainer: "Trainer"
    plan: ResumePlan | None
    log_environment: Callable[[], None]
    is_trial: bool = False
    has_ended: bool = False
    evaluates: bool = False

    def fit(self) -> None:
        """Train to the end, and log the report whatever ends the training.

        Raises:
            Interrupted: if a signal came.
            RunFailed: if no model can be registered, or something could not be logged.
        """
        trainer, run, signals = self.trainer, self.run, self.trainer.signals
        try:
            self._build()
            trainer.fit(() if self.is_trial else (*END_MODULES, *trainer.experiment.end_modules))
            if not self.is_trial:
                trainer.require_checkpoint()
        except HistoryError:
            trainer.trainee, run.stop_reason = None, OTHER_HISTORY  # its result is not the run's
            raise
        except Interrupted:
            trainer.reason = "interrupted"
            raise
        finally:
            with signals.hold():
                from tracked.reports import training_report

                if trainer.trainee or not (self.plan and self.plan.has_begun):  # else the former report stays
                    training_report.log_report(run, self.data, trainer, self.is_trial)
        signals.check()
        say(training_report.summarize(trainer))
        run.flush()

    def _build(self) -> None:
        """Build the trainee and restore its state."""
        trainer, run, plan = self.trainer, self.run, self.plan
        parameters, experiment = trainer.parameters, trainer.experiment
        if not (plan and plan.logged):
            self.log_environment()
        former = plan.run.data.tags if plan else {}
        trainee = experiment.build(parameters, self.data, run.folder, former)
        run.log_training_rows(self.data.rows(parameters))
        if trainee.note:
            say(trainee.note)
        after = trainer.restore(trainee)
        if taken := sorted(RESERVED & set(trainee.tags)):
            raise RunFailed(f"experiment {experiment.name!r} sets the reserved tag {taken[0]!r}; choose another name")
        if trainee.tags:
            run.set_tags(trainee.tags)
        if (version := former.get(TRACKED_VERSION, __version__)) != __version__:  # no change that bits depend on
            say(f"tracked changed since the last attempt ({version!r} -> {__version__!r})")
        if plan and (plan.has_begun or plan.extended) and not self.has_ended:
            say(f"resuming after epoch {after}")
            plan.log_resume(after)
        say(f"training a network of {trainee.weights:,} weights, at most {parameters.epochs:,} epochs")


@dataclass(frozen=True)
class TrialStart:
    """What the training of a search starts with, beside its parameters.

    Args:
        run_name: of a new run; ``tags`` likewise.
        experiment_id: the MLflow experiment.
        give_up: tells from the monitor's values, one an epoch, why to give the training up; empty: go on.
        register: whether its best checkpoint becomes a version; else the run folder stays when the training ends.
    """

    run_name: str
    tags: Mapping[str, str]
    experiment_id: str
    give_up: Callable[[Sequence[float]], str] | None = None
    register: bool = False


@contextmanager
def start_or_resume(
    experiment: Experiment, command: TrainCommand, signals: Signals
) -> Iterator[TrackedTraining | ResumePlan]:
    """Start a training, or resume the one that the command names; its plan alone if its version was registered.

    After a block without an error, the run is FINISHED and the run folder is removed.

    Raises:
        UserError: for a mistake, before a run is made or changed.
        RunFailed: if the store keeps failing, or something could not be logged.
    """
    with RunFolderLock(experiment.file_patterns) as folder_lock:
        plan = resume_plan.make_plan(experiment, command, folder_lock)
        evaluates = due_evaluations.wants_evaluation(command, plan.run if plan else None)
        if plan and (plan.due if plan.is_complete else evaluates):
            verb_parameters.require_evaluable(experiment)
            rights.require_run()  # where the evaluation's run begins; a new training's run begins there, too
        if plan and plan.is_complete:
            resume_plan.finish(plan, folder_lock)
            yield plan
            return
        parameters = plan.parameters if plan else extract_training(command, experiment)
        if not (plan and plan.has_begun) or RENAMABLE in plan.extended:
            require_short_name(parameters.model_name)
        tell_parameters(parameters, is_new=plan is None)
        place = rights.require_run(plan.run if plan else None, "resume")
        if plan and versions.find_versions_by_run([plan.id])[plan.id]:  # only its alias may be missing
            rights.require_alias(parameters.model_name, CANDIDATE)
        else:
            rights.require_new_version(parameters.model_name, place, CANDIDATE)
        registry.require_own_model(experiment, parameters.model_name)
        data = load_data(experiment, parameters, plan.source if plan else "")
        if evaluates:
            due_evaluations.require_test_part(data)
        if plan:
            resume_plan.require_same_data(plan, data)
        with open_training(experiment, parameters, data, plan, folder_lock, signals, evaluates=evaluates) as training:
            yield training


@contextmanager
def open_training(
    experiment: Experiment,
    parameters: TrainParameters,
    data: Dataset,
    plan: ResumePlan | None,
    folder_lock: RunFolderLock,
    signals: Signals,
    trial: TrialStart | None = None,
    evaluates: bool = False,
) -> Iterator[TrackedTraining]:
    """Open the run of a training around a block that fits it: a new run, or the plan's.

    Raises:
        UserError: if MLflow's settings name an experiment or a run that cannot be used; no run is created.
        RunFailed: if the store keeps failing, or something could not be logged.
    """
    reproducibility.make_repeatable(parameters.seed, experiment.operation_threads)
    _import_training_code()
    # Without this resume's extensions, which count from the epoch that log_resume tags.
    recorded = plan.recorded if plan else parameters
    start = _make_start(experiment, recorded, data, folder_lock, plan)
    name, texts, experiment_id = parameters.run_name, recorded.as_logged(), None
    if not trial:  # as mlflow run logs it; a search has no such parameter
        texts[EVALUATE] = as_string(evaluates)
        start = replace(start, launch={**start.launch, EVALUATE: evaluates})
    else:
        name, experiment_id = trial.run_name, trial.experiment_id
        start = replace(start, tags={**start.tags, **trial.tags}, keep_folder=not trial.register)
    with context.run(experiment, "train", name, texts, signals, experiment_id, start) as run:
        say(f"run {run.id} {name!r}")
        if plan:
            artifact_files.remove_cut_uploads(plan.run.info.artifact_uri)
        run.log_training_data(data)
        parameters = auto_rate.resolve(experiment, parameters, data, run, plan, signals)
        training = _make_training(experiment, parameters, data, plan, run, signals, trial)
        yield replace(training, evaluates=evaluates)


def tell_parameters(parameters: TrainParameters, is_new: bool) -> None:
    """Print the preset's values, what has no effect and, of a new training, the given defaults that do not count."""
    if is_new:
        for line in parameters.list_uncounted():
            warn(line)
    if described := parameters.describe_preset():
        say(described)
    for idle in parameters.list_idle():
        warn(f"{idle} has no effect")


def require_short_name(name: str) -> None:
    """Require that any store's registry holds the model's name.

    Raises:
        UserError: if it is longer.
    """
    if len(name) > MAX_NAME:
        raise refusal("model_name", name, f"a name of at most {MAX_NAME} characters")


def load_data(experiment: Experiment, parameters: TrainParameters, source: str = "") -> Dataset:
    """Read the data of trainings, and tell of them in a line.

    Args:
        source: the ``source`` of a resumed run's dataset; empty for a new one.

    Raises:
        UserError: if the data cannot be read, or trained on with these parameters; or if a part that a training sees
            has no row.
    """
    data = DatasetCache(experiment).load(parameters, source)
    for part in ("train", "validation"):
        if not data.counts.get(part):
            raise UserError(f"data: {data.source} has no rows in its {part} part; allowed: data with rows in each part")
    say(data.summary)
    return data


def _import_training_code() -> None:
    """Import all modules of a fit, after the quiet import of TensorFlow and before a run could fail at it."""
    from tracked.training import trainer

    assert trainer


def _make_start(
    experiment: Experiment,
    recorded: TrainParameters,
    data: Dataset,
    folder_lock: RunFolderLock,
    plan: ResumePlan | None,
) -> ResumableStart:
    """Describe the run's start; ``launch``, one tag, has all that a resume needs."""
    root = folder_lock.folder.parent if folder_lock.folder else run_folder.find_root(experiment.name, tracking_uri())
    launch = {"parameters": recorded.as_logged(), "source": data.source, "snapshots": str(root)}
    tags = {PRESET_VALUES: json.dumps(recorded.preset_values)} if recorded.preset_values else {}
    return ResumableStart(folder_lock, root, launch, plan.id if plan else "", tags)


def _make_training(
    experiment: Experiment,
    parameters: TrainParameters,
    data: Dataset,
    plan: ResumePlan | None,
    run: writer.Run,
    signals: Signals,
    trial: TrialStart | None,
) -> TrackedTraining:
    from tracked.training.trainer import Trainer

    code = reproducibility.digest_code(*reproducibility.find_source_files(experiment))
    versions, machine = reproducibility.package_versions(), reproducibility.describe_machine()
    fingerprint = {"data": data.digest, "parts": resume_plan.describe_parts(data), "code": code} | machine | versions
    log_environment = partial(run.log_environment, versions, machine)
    logged, tags = (plan.logged, plan.run.data.tags) if plan else ({}, {})
    is_environment_logged = not logged

    def log_epoch(step: int, milliseconds: int, values: dict[str, float]) -> None:
        nonlocal is_environment_logged
        if not is_environment_logged:  # the run's environment is that of its logged epochs, until one is added
            log_environment()
            is_environment_logged = True
        run.log_epoch(step, milliseconds, values)

    former = writer.read_environment(tags, machine | versions)
    trainer = Trainer(experiment, parameters, run.folder, log_epoch, signals, fingerprint, logged, former)
    trainer.stopping.give_up = trial.give_up if trial else None
    has_ended = bool(trial and plan and plan.run.info.status == "FINISHED")
    return TrackedTraining(run, data, trainer, plan, log_environment, bool(trial and not trial.register), has_ended)
