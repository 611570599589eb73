"""The report of a prediction: what is logged of what was observed, and the lines."""

import math
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from helpers.figures import labels_of
from tracked.analysis.observations import CLASSES, Counts, count_classes, count_values
from tracked.console.train_parameters import TrainParameters
from tracked.experiment import Experiment, Metric, Terms
from tracked.reports import observed_plots, prediction_report
from tracked.runs.writer import Run


class Tickets(Experiment):
    name = "tickets"
    Parameters = TrainParameters
    metrics = (Metric("loss", "min"),)
    terms = Terms(row="ticket")


def observe(rows: int, median: float = 100, seed: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    words = count_values(rng.lognormal(math.log(median), 0.7, rows), [16, 64, 256])
    return {"words in a text": words, "label": count_classes(rng.integers(0, 2, rows), ["$open$", "=closed"])}


def report(observed: Any, trained: Any) -> tuple[list[str], Any, Path]:
    run_id = mlflow.MlflowClient().create_run("0").info.run_id
    run = Run(run_id, "tickets")
    lines = prediction_report.log_report(run, Tickets(), observed, trained)
    run.flush()
    run.close()
    logged = mlflow.get_run(run_id)
    return lines, logged.data, Path(logged.info.artifact_uri.removeprefix("file://"))


def test_report_of_shifted_rows_says_drift_and_logs_its_numbers(store: str) -> None:
    lines, data, files = report(observe(2000, median=30), observe(3000, seed=2))
    assert lines[0].startswith("label: '=closed' ") or lines[0].startswith("label: '$open$' ")
    assert lines[-1].startswith("Drift: shown beyond 5 points, in words in a text at most 64: ")
    assert data.tags["drift"] == "drift"
    assert 0.3 < data.metrics["drift_least"] < data.metrics["drift_most"] < 1
    table = pd.read_csv(files / "drift.csv")
    assert list(table["event"]) == ["at most 16", "at most 64", "at most 256", "'=closed'"]
    assert list(table["drift"]) == [True, True, True, False] or list(table["drift"]) == [True, True, False, False]
    observed = pd.read_csv(files / "observed.csv")
    assert list(observed["value"]) == ["16", "64", "256", "above", "$open$", "'=closed"]  # escaped for spreadsheets
    assert list(observed.groupby("observed")["rows"].sum()) == [2000, 2000]
    assert (files / "observed.png").stat().st_size > 10_000


def test_report_without_the_training_says_that_drift_is_not_known(store: str) -> None:
    lines, data, files = report(observe(50), None)
    assert lines[-1] == "Drift: not known, as the tickets of the training are not."
    assert data.tags["drift"] == "unknown"
    assert "drift_least" not in data.metrics
    assert "training_rows" not in pd.read_csv(files / "observed.csv")
    assert not (files / "drift.csv").exists()


def test_report_of_nothing_observed_is_nothing(store: str) -> None:
    lines, data, _ = report({}, None)
    assert lines == []
    assert "drift" not in data.tags


@pytest.mark.parametrize("observed", [{"words": {"bins": {"1": 2}}}, {"words": count_values([1], [7])}])
def test_report_of_what_cannot_be_compared_says_so(store: str, observed: Any) -> None:
    lines, data, files = report(observed, {"words": count_values([1], [8])})
    assert len(lines) == 1
    assert lines[0].startswith("Drift: not known (words: ")
    is_whole = "up_to" in observed["words"]
    assert (files / "observed.csv").exists() == is_whole
    assert data.tags.get("drift") == ("unknown" if is_whole else None)


def test_picture_has_both_shares_of_each_thing_and_few_of_many_classes() -> None:
    many = {CLASSES: {f"class {number:03}": number + 1 for number in range(300)}}
    seen = {name: Counts.read(name, values) for name, values in (observe(30) | {"many": many}).items()}
    figure = observed_plots.draw_observed(seen, {name: seen[name] for name in ("label", "many")})
    assert [ax.get_title() for ax in figure.axes] == ["words in a text (up to)", "label", "many"]
    assert labels_of(figure)[:3] == ["predicted, 30 rows", "training, 30 rows", "predicted, 30 rows"]
    assert len(figure.axes[2].patches) == 2 * observed_plots.MAX_CLASSES
    figure.savefig("/dev/null", format="png")  # no name is taken for a formula
