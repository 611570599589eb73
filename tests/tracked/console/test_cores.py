"""Work that is divided among the cores."""

import threading
from collections.abc import Iterator

import pytest

from tracked.console import cores
from tracked.console.cores import map_in_threads

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("count", [0, 1, 2, 5, 40])
@pytest.mark.parametrize("available", [1, 2, 16])
def test_results_come_in_order_and_few_pieces_are_taken_ahead(
    count: int, available: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "count_cores", lambda: available)
    taken = 0

    def pieces() -> Iterator[int]:
        nonlocal taken
        for number in range(1, count + 1):
            taken = number
            yield number

    for number, (piece, result) in enumerate(map_in_threads(lambda piece: piece * piece, pieces()), start=1):
        assert (piece, result) == (number, number * number)
        assert taken <= number + min(available, cores.MOST)
    assert taken == count


def test_calls_are_made_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "count_cores", lambda: 3)
    together = threading.Barrier(3, timeout=60)  # each call waits for two others
    assert [result for _, result in map_in_threads(lambda piece: together.wait() >= 0, range(9))] == [True] * 9


def test_error_of_a_call_is_raised_in_its_place_and_the_others_are_waited_for() -> None:
    def call(piece: int) -> int:
        if piece == 2:
            raise ValueError("two")
        return piece

    results = map_in_threads(call, range(9))
    assert [next(results), next(results)] == [(0, 0), (1, 1)]
    with pytest.raises(ValueError, match="two"):
        next(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]
