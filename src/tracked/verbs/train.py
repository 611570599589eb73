"""Train with early stopping, log every epoch to MLflow, and register the best checkpoint."""

from collections.abc import Sequence

from tracked.console import train_parameters
from tracked.console.lines import say
from tracked.console.signals import Signals
from tracked.experiment import TRAIN_METHODS, Experiment, require


def main(experiment: Experiment, argv: Sequence[str], signals: Signals) -> None:
    """Check the parameters; only then import what is slow: start or resume, fit, register."""
    require(experiment, TRAIN_METHODS)
    command = train_parameters.make_train_command(experiment).parse(argv)

    from tracked.resume.tracked_training import start_or_resume
    from tracked.runs import connection

    connection.require_answers()
    connection.require_model_store()
    with start_or_resume(experiment, command, signals) as training:
        if training is None:
            return  # its version was already registered; resuming completed the run
        from tracked.models import finalize
        from tracked.runs.schema import CANDIDATE

        training.fit()
        version = finalize.register_best(training.run, training.data, training.trainer, signals)
    say(f"registered {version}, alias {CANDIDATE}")
