"""Tasks handed to workers: each has one result, whatever dies, and a signal ends it."""

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.made_workers import MadeWorkers
from tracked.console.errors import Interrupted
from tracked.console.signals import Signals
from tracked.workers.dispatching import Retry, dispatch
from tracked.workers.tasks import Event

pytestmark = pytest.mark.unit


class Made(MadeWorkers[int]):
    """Workers that answer a task with its square, in an order of their own, or die of it a number of times."""

    def __init__(self, count: int, deaths: list[int], order: list[int]) -> None:
        super().__init__(count)
        self.deaths, self.order = Counter(dict(enumerate(deaths))), order
        self.most = 0

    def submit(self, task: int) -> None:
        super().submit(task)
        self.most = max(self.most, len(self.running))

    def wait(self, seconds: float) -> list[Event[int, int]]:
        place = self.order.pop() % len(self.running) if self.order else 0
        task = self.running.pop(place)
        if self.deaths[task]:
            self.deaths[task] -= 1
            return [Event(task, None, "died")]
        return [Event(task, task**2)]


def settle(event: Event[int, int]) -> Retry[int] | int:
    return Retry(event.task) if event.outcome is None else event.outcome


@given(st.integers(1, 4), st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 9)))
def test_each_task_has_one_result_whatever_dies(count: int, deaths: list[int], order: list[int]) -> None:
    workers = Made(count, deaths, order)
    results = dispatch(workers, iter(range(len(deaths))), settle, Signals())
    assert sorted(results) == [task**2 for task in range(len(deaths))]
    assert workers.most == min(count, len(deaths))


def test_next_task_is_asked_for_when_a_worker_is_idle() -> None:
    asked: list[int] = []

    def make() -> Iterator[int]:
        for task in range(9):
            asked.append(task)
            yield task

    results = dispatch(Made(2, [], []), make(), settle, Signals())
    assert next(results) == 0
    assert asked == [0, 1]


def test_signal_ends_it_before_what_came_with_it_is_settled() -> None:
    signals, settled = Signals(), list[int]()

    def note(event: Event[int, int]) -> int:
        settled.append(event.task)
        signals.request(15)
        return event.task

    results = dispatch(Made(1, [], []), iter(range(9)), note, signals)
    assert next(results) == 0
    with pytest.raises(Interrupted):
        next(results)
    assert settled == [0]
