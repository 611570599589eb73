"""Train with early stopping, log every epoch to MLflow, and register the best checkpoint."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tracked.console import train_parameters
from tracked.console.errors import RunFailed, UserError
from tracked.console.lines import say
from tracked.console.signals import Signals
from tracked.console.train_parameters import TrainCommand
from tracked.experiment import TRAIN_METHODS, Experiment, require

if TYPE_CHECKING:
    from tracked.runs.registry import StoredModel


def main(experiment: Experiment, argv: Sequence[str], signals: Signals) -> None:
    """Check the parameters; only then import what is slow: start or resume, fit, register, and evaluate if asked."""
    require(experiment, TRAIN_METHODS)
    command = train_parameters.make_train_command(experiment).parse(argv)
    if command.evaluate:
        from tracked.console import verb_parameters

        verb_parameters.require_evaluable(experiment)

    from tracked.runs import connection

    connection.require_answers()
    connection.require_model_store()
    stored, tags = _train(experiment, command, signals)
    if stored:
        _evaluate(experiment, stored, tags, signals)


def _train(
    experiment: Experiment, command: TrainCommand, signals: Signals
) -> "tuple[StoredModel | None, Mapping[str, str]]":
    """Train and register; returns the version to evaluate, if there is one, and the tags that the run began with."""
    from tracked.resume.resume_plan import ResumePlan
    from tracked.resume.tracked_training import start_or_resume
    from tracked.runs.schema import CANDIDATE

    with start_or_resume(experiment, command, signals) as training:
        if isinstance(training, ResumePlan):  # its version was already registered; resuming completed the run
            return training.due, training.run.data.tags
        training.fit()
        from tracked.models import finalize  # imported meanwhile, beside the first epoch

        version = finalize.register_best(training.run, training.data, training.trainer, signals)
    say(f"registered {version.title}, alias {CANDIDATE}")
    return version if training.evaluates else None, training.plan.run.data.tags if training.plan else {}


def _evaluate(experiment: Experiment, stored: "StoredModel", tags: Mapping[str, str], signals: Signals) -> None:
    """Evaluate a version in a run of its own, as the verb does by default; the training has ended and stays so."""
    from tracked.console import verb_parameters
    from tracked.runs import commands, connection
    from tracked.verbs import evaluate

    note = f"{stored.title} is registered; to evaluate it: {commands.evaluate_command(stored.uri, tags)}"
    try:
        signals.release()
        connection.forget_mlflow_run_id()  # it named the training's run
        cls = verb_parameters.make_verb_parameters("evaluate", experiment)
        evaluate.evaluate_model(experiment, cls(model=stored.uri), signals)
    except UserError as error:  # such as data that have changed meanwhile: no mistake before any work
        failure = RunFailed(error)
        failure.add_note(note)
        raise failure from None
    except BaseException as error:
        error.add_note(note)
        raise
