"""Show how far long work is, its rate and the time left: a bar on a terminal, plain lines at intervals elsewhere.

The bar is one line that the working thread itself draws when it advances, so work that is killed leaves no thread and
no hidden cursor behind. A printed line takes the bar's place, and the bar comes back below it.
"""

import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from tracked.console.lines import draw, erase, format_duration, is_terminal, say

if TYPE_CHECKING:
    from rich.console import Console

BAR_AFTER = 2.0  # seconds: shorter work shows nothing
BAR_EVERY = 0.2
LINE_EVERY = 30.0
SUMMARY_AFTER = 5.0  # on a terminal; elsewhere LINE_EVERY
WINDOW = 30.0  # the rate is that of the last 30 seconds, or of a little more
BAR_WIDTH = 40  # characters at most

_shown: "Progress | None" = None


def track(
    description: str,
    total: int | None,
    unit: str,
    *,
    summary: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> "Progress":
    """Track work of several seconds or more.

    Of work inside other tracked work, the outer one is shown alone. Whatever becomes of the output, nothing is raised.

    Example:
        with track("scoring", 250_000, "rows") as progress:
            for piece in pieces:
                …
                progress.advance(len(piece))

    Args:
        description: what is done, such as reading.
        total: the number of units; None if it is unknown, and then so is the time left.
        unit: what is counted, in the plural.
        summary: whether a line about the whole work stays, if it has taken more than a few seconds.
        clock: seconds.
    """
    return Progress(description, total, unit, summary, clock)


class Progress:
    """The progress of some work; made by :func:`track`.

    Attributes:
        count: the units done so far.
    """

    def __init__(
        self, description: str, total: int | None, unit: str, summary: bool, clock: Callable[[], float]
    ) -> None:
        self.description, self.total, self.unit, self.count = description, total, unit, 0
        self._summary, self._clock, self._process = summary, clock, os.getpid()
        self._is_bar, self._started, self._next = False, 0.0, math.inf
        self._samples: deque[tuple[float, int]] = deque()  # times and counts
        self._console: Console | None = None

    def __enter__(self) -> Self:
        global _shown
        self._started = self._clock()
        self._samples.append((self._started, self.count))
        if _shown is None or _shown._process != self._process:  # a fork's own work is shown
            _shown, self._is_bar = self, is_terminal()
            self._next = self._started + (BAR_AFTER if self._is_bar else LINE_EVERY)
        return self

    def advance(self, count: int = 1) -> None:
        """Count some more units as done, and show the progress if it is time to."""
        self.count += count
        if (now := self._clock()) >= self._next:
            self._show(now)

    def forget(self) -> None:
        """Compute the rate, and the time left, from now on alone."""
        self._samples.clear()
        self._samples.append((self._clock(), self.count))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        global _shown
        if _shown is not self:
            return
        _shown, self._next = None, math.inf
        if os.getpid() != self._process:
            return
        erase()
        seconds = self._clock() - self._started
        if self._summary and kind is None and seconds >= (SUMMARY_AFTER if self._is_bar else LINE_EVERY):
            whole = f"{self.count:,} {self.unit} in {format_duration(seconds)}"
            say(f"{self.description}: {whole}, {_format_rate(self.count / seconds)}")

    def _show(self, now: float) -> None:
        """Draw the bar, or print a line; a fork of the process that does the work shows nothing."""
        if os.getpid() != self._process:
            self._next = math.inf
            return
        self._next = now + (BAR_EVERY if self._is_bar else LINE_EVERY)
        state = self._describe(now)
        if self._is_bar:
            draw(self._render(state))
        else:
            say(f"{self.description}: {state}")

    def _describe(self, now: float) -> str:
        """Describe the count, the recent rate and the time left."""
        self._samples.append((now, self.count))
        while self._samples[1][0] <= now - WINDOW:
            self._samples.popleft()
        since, before = self._samples[0]
        rate = (self.count - before) / (now - since) if now > since else 0.0
        left = None if self.total is None or self.count > self.total else self.total - self.count
        state = f"{self.count:,}{'' if left is None else f' of {self.total:,}'} {self.unit}"
        if not rate:
            return state
        state = f"{state}, {_format_rate(rate)}"
        return state if left is None else f"{state}, {format_duration(left / rate)} left"

    def _render(self, state: str) -> str:
        """Render the bar and its texts as one line that is narrower than the terminal."""
        from rich.console import Console
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        console = self._console = self._console or Console(file=sys.stdout)
        line = Text.assemble((f"{self.description} ", "bold"), state)
        width = max(console.width - 1, 1)  # a terminal goes to the next line when one is full
        if self.total and (room := min(BAR_WIDTH, width - line.cell_len - 1)) >= BAR_WIDTH // 4:
            bar = ProgressBar(self.total, min(self.count, self.total), width=room)
            parts = [(segment.text, segment.style or "") for segment in console.render(bar)]
            gap = " " * (room + 1 - sum(len(text) for text, _ in parts))
            line = Text.assemble((f"{self.description} ", "bold"), *parts, gap, state)
        line.truncate(width, overflow="ellipsis")
        with console.capture() as captured:
            console.print(line, end="", no_wrap=True)
        return captured.get()


def _format_rate(rate: float) -> str:
    if rate < 1:
        return f"{60 * rate:.1f} a minute"
    return f"{rate:,.0f} a second" if rate >= 10 else f"{rate:.1f} a second"
