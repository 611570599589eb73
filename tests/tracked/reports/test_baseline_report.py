"""What is reported of a model's predictions beside those of its baselines."""

import pandas as pd
import pytest

from diabetes import Diabetes
from tracked.reports import baseline_report

pytestmark = pytest.mark.unit

QUESTION = "Is the network worth it? "


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (True, "it has seen these patients in its training"),
        (None, "which of these patients it was trained or chosen on is not known"),
    ],
)
def test_verdict_needs_rows_that_the_model_has_not_seen(seen: bool | None, why: str) -> None:
    rows = pd.DataFrame({"id": ["a", "b", "c"], "key": ["a", "b", "c"], "loss": [1.0, 2.0, 3.0]})
    rows = rows.assign(seen=seen).astype({"seen": "boolean"})
    assert baseline_report.describe_verdict(Diabetes(), rows, {"linear": rows}) == f"{QUESTION}Not known: {why}."
    assert list(baseline_report.compare(Diabetes(), rows, {"linear": rows}, {"linear": {"loss": 2.0, "r2": 0.0}})) == [
        "baseline", "loss", "r2",
    ]  # fmt: skip


def test_verdict_and_table_leave_out_seen_rows() -> None:
    rows = pd.DataFrame({"id": list("abc"), "key": list("abc"), "loss": [9.0, 1.0, 1.0], "seen": [True, False, False]})
    other = rows.assign(loss=[0.0, 2.0, 2.0])
    line = baseline_report.compare(
        Diabetes(), rows, {"linear": other}, {"linear": {"loss": 4 / 3, "r2": 0.0, "rmse": 2.0}}
    ).iloc[0]
    assert line["rmse"] == 2  # beside those of the headline
    assert (line["difference_rows"], line["difference_absolute_error"]) == (2, -1)
    assert "1.0 points on these 2 patients" in baseline_report.describe_verdict(Diabetes(), rows, {"linear": other})
