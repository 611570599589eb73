"""Evaluate a registered model on unseen rows, and log scores, figures and every prediction."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracked.console import verb_parameters
from tracked.console.lines import say
from tracked.console.signals import Signals
from tracked.experiment import EVALUATE_METHODS, Experiment, require

if TYPE_CHECKING:
    from tracked.models.model_process import Load

OF_REPORT = ("sklearn.metrics", "matplotlib.backends.backend_agg")  # what most scores and plots import


def main(experiment: Experiment, argv: Sequence[str], signals: Signals) -> None:
    """Check the parameters; only then import what is slow: find the model and its test part, evaluate, log."""
    require(experiment, EVALUATE_METHODS)
    parameters = verb_parameters.make_verb_parameters("evaluate", experiment).parse(argv)

    from tracked.models import model_process
    from tracked.training.derived_cache import read_limit

    read_limit(experiment.name)  # a wrong setting is refused, as train does
    with model_process.beside(OF_REPORT) as load:
        from tracked.runs import connection

        connection.require_answers()
        evaluate_model(experiment, parameters, signals, load)


def evaluate_model(experiment: Experiment, parameters: Any, signals: Signals, load: "Load | None" = None) -> None:
    """Evaluate the model that the verb's parameters name, in a run.

    Args:
        load: as of :func:`tracked.models.evaluation.evaluate`.

    Raises:
        UserError: for a mistake, before the run is made.
        RunFailed: if the model cannot predict the rows, or they cannot be scored.
    """
    from tracked.models import evaluation, loader
    from tracked.runs import registry, rights, run_start

    rights.require_run(run_start.require_own_run(experiment, "evaluate"))
    with tempfile.TemporaryDirectory(prefix=f"{experiment.name}-") as folder:
        stored = registry.find(parameters.model)
        say(f"model: {stored.title}" + (f" ({parameters.model})" if stored.uri != parameters.model else ""))
        model = loader.download(experiment, stored, Path(folder))
        subject = evaluation.find_subject(experiment, stored, model.metadata, parameters)
        evaluation.evaluate(experiment, stored, model, subject, parameters.as_strings(), signals, load)
