"""Log a range test: its table and its picture."""

import pandas as pd

from tracked.analysis.rate_range import RateRange, Suggestion
from tracked.reports import rate_plots
from tracked.reports.csv_table import write_csv
from tracked.runs.writer import Run
from tracked.training.files import RANGE_PICTURE, RANGE_TABLE


def log_range(run: Run, measured: RateRange, suggestion: Suggestion) -> None:
    """Queue the table, one row a step, and the picture of a range test."""
    count = len(measured.losses)
    steps = {"step": range(1, count + 1), "learning_rate": measured.rates[:count]}
    table = pd.DataFrame(steps | {"loss": measured.losses, "smoothed_loss": measured.smoothed})
    write_csv(table, run.folder / RANGE_TABLE)
    run.log_artifact(run.folder / RANGE_TABLE)
    run.log_figure(rate_plots.draw_range(measured, suggestion), RANGE_PICTURE)
