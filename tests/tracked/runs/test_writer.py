"""What a run logs, as far as no store is needed for it."""

import pytest

from tracked.runs.writer import escape_markdown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("patience=30 seed=7 embedding_dims=8", "patience=30 seed=7 embedding_dims=8"),
        ("a|b\\|c\nd", "a\\|b\\\\\\|c d"),
        ("[x](y) *b* _i_ ~s~ `c` <script> &amp;", "\\[x\\](y) \\*b\\* \\_i\\_ \\~s\\~ \\`c\\` \\<script\\> \\&amp;"),
    ],
)
def test_escaped_markdown_shows_the_text(text: str, expected: str) -> None:
    assert escape_markdown(text) == expected
