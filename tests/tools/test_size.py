"""Lines of code are counted without comments, docstrings and blank lines, and held against their limits."""

import pytest

import size

pytestmark = pytest.mark.unit

SOURCE = '''"""A docstring
of two lines."""

# a comment
def double(number: int) -> int:  # another
    """Double."""
    text = """two
lines"""
    return (
        number * 2
    )
'''


def test_count_leaves_out_docstrings_comments_and_blank_lines() -> None:
    lines, tokens = size.count_code(SOURCE)
    assert lines == 6
    assert tokens == 10 + 3 + 6  # of the definition, of the text, of what is returned


def test_files_count_in_their_rows() -> None:
    assert size.rows_of("src/tracked/serve/app.py") == ("src", "src/tracked/serve")
    assert size.rows_of("tests/tracked/serve/test_app.py") == ("tests",)
    assert size.rows_of("src/tracked/serve/static/page.js") == ("pages",)
    assert size.rows_of("README.md") == size.rows_of("pyproject.toml") == ()


@pytest.mark.parametrize(
    ("figure", "is_above"), [((10, 9.5), False), ((11, 9.5), True), ((10, 9.6), True), ((3, 2.0), False)]
)
def test_row_above_its_limit_is_named(figure: tuple[int, float], is_above: bool) -> None:
    assert bool(size.find_excesses({"src": figure}, {"src": (10, 9.5)})) == is_above


def test_row_without_a_limit_is_named() -> None:
    assert size.find_excesses({"new": (1, 1.0)}, {}) != []
