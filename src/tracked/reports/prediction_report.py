"""Report what a prediction has seen: the answers' distribution and, beside the training part, drift."""

from tracked.experiment import Experiment, Observations
from tracked.runs.writer import Run


def log_report(run: Run, owner: Experiment, observed: Observations, trained: Observations | None) -> list[str]:
    """Log the report; returns lines for people."""
    return []
