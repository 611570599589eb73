"""Prepare names from data for matplotlib: one short line, with glyphs that its font has, and no formulas."""

import unicodedata
from functools import lru_cache

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

LONGEST = 24  # characters of a name beside an axis
HIDDEN = {"Cc", "Cf", "Co", "Cs", "Cn"}  # control and format characters, private use, surrogates, unassigned
RIGHT_TO_LEFT = {"R", "AL"}  # matplotlib before 3.11 neither joins nor orders these letters
SHAPES = tuple(map(int, mpl.__version__.split(".")[:2])) >= (3, 11)


def escape_plot_text(text: str) -> str:
    """Escape a text for matplotlib, as one line: dollar signs do not begin a formula."""
    return " ".join(text.split()).replace("$", r"\$")


def shorten_middle(text: str, longest: int = LONGEST) -> str:
    """Shorten a text to ``longest`` characters by leaving out its middle: beginnings and ends tell names apart."""
    if len(text) <= longest:
        return text
    end = (longest - 1) // 2
    return f"{text[: longest - 1 - end]}…{text[len(text) - end :]}"


def can_draw(text: str) -> bool:
    """Whether matplotlib's font has a glyph for each character, so that the text is readable, without warnings."""
    line = " ".join(text.split())
    known = _load_font(font_manager.findfont(font_manager.FontProperties()))
    return bool(line) and all(
        known.get_char_index(ord(character))
        and unicodedata.category(character) not in HIDDEN
        and (SHAPES or unicodedata.bidirectional(character) not in RIGHT_TO_LEFT)
        for character in line
    )


@lru_cache
def _load_font(path: str) -> FT2Font:
    return FT2Font(path)


def format_plot_name(name: str, fallback: str, longest: int = LONGEST) -> str:
    """Format a name for a plot: escaped and shortened, or ``fallback`` if the font lacks a glyph of it."""
    return escape_plot_text(shorten_middle(" ".join(name.split()), longest) if can_draw(name) else fallback)
