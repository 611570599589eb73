"""Every refusal has the words and the exit status that the tables in tests/refusals have; make refusals writes them."""

import pytest

import refusals

pytestmark = pytest.mark.timeout(300)  # hundreds of commands


def test_refusals_are_those_of_the_tables() -> None:
    assert refusals.find_differences() == []
