"""Serve a registered model over HTTP until SIGTERM; SIGHUP looks for another version under its alias."""

from collections.abc import Sequence

from tracked.console import collector
from tracked.console.serve_parameters import make_serve_parameters, read_token
from tracked.console.signals import Signals
from tracked.experiment import PREDICT_METHODS, Experiment, require


def main(experiment: Experiment, argv: Sequence[str], signals: Signals) -> None:
    """Check the parameters; only then import what is slow: listen, load, answer."""
    require(experiment, PREDICT_METHODS)
    parameters = make_serve_parameters(experiment).parse(argv)
    token = read_token(parameters)

    from tracked.serve import server

    collector.go_on()
    server.run(experiment, parameters, token)
