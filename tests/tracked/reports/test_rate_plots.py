import pytest

from tracked.analysis.rate_range import RateRange, spread_rates, suggest
from tracked.reports.rate_plots import draw_range

pytestmark = pytest.mark.unit

FALL = [1.0] * 50 + [1 - step / 100 for step in range(50)]


@pytest.mark.parametrize(
    ("losses", "title", "labels"),
    [
        ([*FALL, 9e9], "Range test of the learning rate", {"suggested: 0.067", "least, at 0.67"}),
        ([1.0] * 100, "Range test of the learning rate: no suggestion", set()),
        ([*FALL[:60], float("nan")], "Range test of the learning rate",
         {"ended: the loss was no longer finite, at 0.003"}),
        ([float("inf")], "Range test of the learning rate: no suggestion", set()),
    ],
    ids=["diverged", "flat", "not finite", "without a step"],
)  # fmt: skip
def test_picture_marks_the_suggestion_and_the_end(losses: list[float], title: str, labels: set[str]) -> None:
    measured = RateRange(spread_rates(1e-6, 10.0, 120))
    assert all(measured.add(loss) for loss in losses[:-1])
    measured.add(losses[-1])
    (axes,) = draw_range(measured, suggest(measured)).axes
    assert (axes.get_title(), axes.get_xscale()) == (title, "log")
    shown = {text.get_text() for text in axes.get_legend().get_texts()}
    assert labels <= shown
    assert "smoothed over about 4 batches" in shown
    assert any(text.startswith("suggested") for text in shown) == (": no" not in title)
