"""Names from data in plots: no formulas, no missing glyphs, no long lines."""

import warnings

import matplotlib.font_manager
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tracked.reports import plot_text
from tracked.reports.plot_text import can_draw, escape_plot_text, format_plot_name, shorten_middle

pytestmark = pytest.mark.unit


def draw(text: str, *, parse_math: bool = True) -> np.ndarray:
    figure = Figure(figsize=(3, 0.5), dpi=50)
    figure.text(0.01, 0.3, text, parse_math=parse_math)
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())


@given(st.text(st.sampled_from("$\\_^{}a1%&#~ "), max_size=10))
@example("$x$")
@example("$\\frac{$")
@example("\\$a$b\\$")
@example("$$")
def test_escaped_texts_are_drawn_as_they_are(text: str) -> None:
    """Pixel by pixel as matplotlib draws the text where it looks for no formula."""
    plain = " ".join(text.split())
    assert np.array_equal(draw(escape_plot_text(text)), draw(plain, parse_math=False))


def test_escape_makes_one_line() -> None:
    assert escape_plot_text(" a\n$5\r\n\tb ") == r"a \$5 b"


@pytest.mark.parametrize(
    ("text", "length", "expected"),
    [("abcdef", 6, "abcdef"), ("abcdefg", 6, "abc…fg"), ("abcdefg", 5, "ab…fg"), ("", 3, ""), ("abcd", 1, "…")],
)
def test_shorten_keeps_the_beginning_and_the_end(text: str, length: int, expected: str) -> None:
    assert shorten_middle(text, length) == expected


@given(st.text(max_size=60), st.integers(1, 30))
def test_shortened_texts_are_never_longer(text: str, length: int) -> None:
    assert len(shorten_middle(text, length)) == min(len(text), length)


@pytest.mark.parametrize("text", ["refund", "Rückerstattung", "отмена", "α = 1", "a\nb", "5 € – “x”"])
def test_texts_with_glyphs_can_be_drawn(text: str) -> None:
    assert can_draw(text)
    draw(escape_plot_text(text))


@pytest.mark.parametrize(
    "text",
    [
        "取消订单",
        "refund 取消",
        "रद्द करें",
        "キャンセル",
        "취소",
        "",
        " ",
        "a\0b",
        "\u202eabc",
        "\u200b",
        "\ud800",
        "\ue000",
    ],
)
def test_texts_that_would_show_boxes_or_nothing_cannot_be_drawn(text: str) -> None:
    assert not can_draw(text)
    assert format_plot_name(text, "class 12") == "class 12"


def test_arabic_and_hebrew_are_drawn_only_where_letters_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    for shapes in (False, True):
        monkeypatch.setattr(plot_text, "SHAPES", shapes)
        assert [can_draw(text) for text in ("إلغاء الطلب", "ביטול", "cancel")] == [shapes, shapes, True]


def test_a_font_with_other_glyphs_is_asked_for_its_own() -> None:
    with matplotlib.rc_context({"font.family": "cmr10"}):
        assert not can_draw("Я")
    assert can_draw("Я")


@given(st.text(max_size=40))
def test_any_name_is_drawn_without_a_warning(name: str) -> None:
    draw(format_plot_name(name, "class 7"))


def test_names_are_escaped_after_they_are_shortened() -> None:
    assert format_plot_name("$" * 30, "x", 5) == r"\$\$…\$\$"
