"""The cores of this machine, and work that is divided among them."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

MOST = 4  # threads: each has what it works on in memory
Piece = TypeVar("Piece")
Result = TypeVar("Result")


def count_cores() -> int:
    """Count the cores that this process may use (Linux), elsewhere all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_threads(call: Callable[[Piece], Result], pieces: Iterable[Piece]) -> Iterator[tuple[Piece, Result]]:
    """Call a function for each piece, in a thread a core, ``MOST`` at most: the pieces with their results, in order.

    A piece is taken when a thread is free, so that no moment has all of them. ``call`` must release Python's lock, as
    TensorFlow does, for this to be of use. An error of a call is raised in its place; the calls begun are waited for.
    """
    threads, begun = min(MOST, count_cores()), deque[tuple[Piece, Future[Result]]]()
    with ThreadPoolExecutor(threads) as pool:
        for piece in pieces:
            begun.append((piece, pool.submit(call, piece)))
            if len(begun) > threads:
                first, result = begun.popleft()
                yield first, result.result()
        for first, result in begun:
            yield first, result.result()
