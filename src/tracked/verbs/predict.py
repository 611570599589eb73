"""Answer the rows of a table of any size with a registered model, each exactly once; or resume."""

from collections.abc import Sequence

from tracked.console.predict_parameters import make_predict_parameters
from tracked.console.signals import Signals
from tracked.experiment import PREDICT_METHODS, Experiment, require


def main(experiment: Experiment, argv: Sequence[str], signals: Signals) -> None:
    """Check the parameters; only then import what is slow: begin or resume, answer, complete the output."""
    require(experiment, PREDICT_METHODS)
    parameters = make_predict_parameters(experiment).parse(argv)

    from tracked.predict import tracked_prediction
    from tracked.runs import connection

    connection.require_answers()
    tracked_prediction.predict(experiment, parameters, signals)
