"""The page of explanations: what it escapes, shades and lists; its contrast; its width in a browser."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from helpers.system import find_chromium
from imdb_conv1d import explain_page
from imdb_conv1d.explain_page import AGAINST, FOR, format_probability, render_page
from imdb_conv1d.explanation import Explanation, Piece, Window

EVIL = "<script>alert('x')</script> & \"quoted\""
TEXT = (
    Piece("An old film that nobody asked for. ", is_read=False),
    Piece("Not", -0.2), Piece(" "), Piece("wonderful", 1.0), Piece(",<br /><b>"), Piece("xyzzy", 0.001, is_known=False),
    Piece(" & so "), Piece("boring", -0.6), Piece("!"),
)  # fmt: skip
WINDOWS = (
    Window("Not wonderful, xyzzy", 8, 1.25, 31, 0.124, 0.731), Window("<b>so boring!", 10, -0.5, 1, 0.004, 0.99996),
)  # fmt: skip
ARABIC = tuple(piece for word in ["هذا", "الفيلم", "رائع", "جدا"] for piece in (Piece(word, 0.5), Piece(" ")))


def page(*explanations: Explanation, title: str = "Reasons", count: int = 10) -> str:
    headed = [(f"Mistake {number}", one) for number, one in enumerate(explanations, start=1)]
    return render_page(title, "Of a test.", headed, count)


def explanation(pieces: tuple[Piece, ...] = TEXT, windows: tuple[Window, ...] = WINDOWS, **given: str) -> Explanation:
    names = {"predicted": "positive", "label": "negative"} | given
    return Explanation(names["predicted"], 0.98, 3.9, names["label"], windows, pieces)


def texts(html: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", html))


def test_page_escapes_texts_labels_and_titles() -> None:
    pieces, windows = (Piece(EVIL, 1.0), Piece(EVIL)), (Window(EVIL, 1, 1.0, 2, 0.5, 0.5),)
    html = page(explanation(pieces, windows, predicted=EVIL, label=EVIL), title=EVIL)
    assert "<script" not in html
    assert texts(html).count(EVIL) == 7  # the title twice
    assert "http" not in html


def test_page_shades_words_by_their_effect_on_the_prediction() -> None:
    html = page(explanation())
    assert '<mark class="for5" title="+1.000">wonderful</mark>' in html
    assert '<mark class="against2" title="−0.200">Not</mark>' in html
    assert '<mark class="against4" title="−0.600">boring</mark>' in html
    assert '<span class="unknown">xyzzy</span>' in html  # too faint for a shade
    assert '<span class="unread">An old film that nobody asked for. </span>' in html
    assert ",<br>&lt;b&gt;" in html  # a line break of the text is one; its other tags are shown


def test_page_lists_the_first_windows_with_their_numbers() -> None:
    html = page(explanation())
    rows = re.findall(r"<tr>(<td.*?)</tr>", html)
    cells = [[texts(cell).replace("\xa0", " ") for cell in re.findall(r"<td.*?</td>", row)] for row in rows]
    assert cells == [
        ["Not wonderful, xyzzy", "+1.250", "31 (12 %)", "0.731"],
        ["<b>so boring!", "−0.500", "1 (0 %)", "above 0.999"],
    ]
    assert "2 windows alone gave some filter its value." in html
    short = page(explanation(), count=1)
    assert (
        short.count("<td"),
        "2 windows alone gave some filter its value; the table has those with the largest effect." in short,
    ) == (4, True)


def test_page_of_a_text_without_effects_has_no_table_and_no_shade() -> None:
    html = page(explanation((Piece("..."),), (), label=""))
    assert ("<table" in html, "0 windows alone gave some filter its value." in html, "labelled" in html) == (
        False,
        True,
        False,
    )
    assert '<div class="text" dir="auto">...</div>' in html


def test_page_of_ngrams_has_gates_the_intercept_and_no_word_of_windows() -> None:
    ngrams = (Window("Not wonderful", 8, -1.25, None, None, 0.991, 0.256), Window("so", 10, 0.5, None, None, 0.97, 2.0))
    one = Explanation("positive", 0.98, 3.9, "negative", ngrams, TEXT, intercept=-0.1)
    html = page(one)
    cells = [
        [texts(cell) for cell in re.findall(r"<td.*?</td>", row)] for row in re.findall(r"<tr>(<td.*?)</tr>", html)
    ]
    assert cells == [["Not wonderful", "−1.250", "0.26", "0.991"], ["so", "+0.500", "2.00", "0.970"]]
    assert re.findall(r"<th [^>]*>(.*?)</th>", html) == ["words", "effect on the logit", "gate", "probability without"]
    assert "(logit 3.900; intercept −0.100, effects +4.000)" in html
    assert "2 n-grams of the text counted in the logit." in html
    assert not {"window", "windows", "filter", "filters"} & set(re.findall(r"\w+", texts(html)))
    assert "[padding]" not in html


def test_page_of_a_text_without_ngrams_shows_the_intercept_alone() -> None:
    html = page(Explanation("positive", 0.525, 0.1, "", (), (Piece("..."),), intercept=0.1))
    assert ("<table" in html, "0 n-grams of the text counted in the logit." in html) == (False, True)
    assert "(logit 0.100; intercept 0.100, effects +0.000)" in html


def test_page_says_where_words_stand_for_the_text() -> None:
    one = explanation()
    shown = Explanation(one.predicted, one.probability, one.logit, one.label, one.windows, one.pieces, False)
    assert "Shown are the words that the model gets" in page(shown)
    assert "Shown are the words that the model gets" not in page(one)


@pytest.mark.parametrize(
    ("probability", "shown"),
    [(0.5, "0.500"), (0.999, "0.999"), (0.9991, "above 0.999"), (1.0, "above 0.999"), (1e-9, "below 0.001")],
)
def test_probability_near_zero_or_one_is_not_shown_as_such(probability: float, shown: str) -> None:
    assert format_probability(probability) == shown


def luminance(color: str) -> float:
    parts = (int(color[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return sum(
        weight * (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4)
        for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True)
    )


def contrast(first: str, second: str) -> float:
    bright, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_text_has_contrast_on_every_background() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert min(contrast("#111111", color) for color in (*FOR, *AGAINST)) > 6
    grounds = {"#fafafa", "#ffffff", "#f4f4f4"}
    for color in ("#222222", "#595959", "#6b6b6b"):
        short = f"#{color[1]}{color[1]}{color[1]}" if len(set(color[1:])) == 1 else color
        assert short in explain_page.STYLE
        assert min(contrast(color, ground) for ground in grounds - {"#f4f4f4"}) > 4.5
    assert max(contrast(one, other) for one, other in zip(FOR, AGAINST, strict=True)) < 1.6  # equally strong in grey


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.mark.needs("Chromium")
def test_page_fits_narrow_and_wide_windows(browser: Browser, tmp_path: Path) -> None:
    long = (Window("x" * 300, 1, -123.456, 12_345, 1.0, 0.9999), *WINDOWS)
    html = page(explanation((*TEXT, Piece("y" * 300, 1.0))), explanation(ARABIC, long, label="إيجابي" * 40))
    (tmp_path / "page.html").write_text(html)
    tab = browser.new_page()
    requests: list[str] = []
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto((tmp_path / "page.html").as_uri())
    for width in (1200, 400, 320):
        tab.set_viewport_size({"width": width, "height": 900})
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        outside = "[...document.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
        assert tab.evaluate(f"{outside}.map(e => e.outerHTML)") == []
    assert tab.locator(".text").nth(1).evaluate("element => getComputedStyle(element).direction") == "rtl"
    assert len(requests) == 1
    tab.close()
