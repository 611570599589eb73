"""Calls to a server that may fail: made by a thread while the work goes on, or waited for; tried again either way."""

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from tracked.console.errors import RunFailed
from tracked.console.lines import one_line, warn
from tracked.runs.connection import is_permanent_error

PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before another try, the last one from then on
HURRY = 2.0  # seconds at most before another try once somebody waits
BOUND = 300.0  # seconds in which a call that is being made may still succeed: its client has time limits of its own
# Mistakes in the code, which no other try mends. A ValueError may be an answer that a client cannot read.
MISTAKES = (TypeError, LookupError, AttributeError, NameError, AssertionError)
Call = Callable[[], object]
Result = TypeVar("Result")


class Outbox:
    """Delivers calls one after the other, and tries a failing one again until it succeeds or is given up.

    A call must be harmless to repeat: when an answer was lost, it is made again.

    Args:
        is_permanent: whether an error is the server's final word on a call, so that the next call goes ahead of it.
        pauses: seconds between tries.
    """

    def __init__(
        self, is_permanent: Callable[[Exception], bool] = is_permanent_error, pauses: tuple[float, ...] = PAUSES
    ) -> None:
        self._is_permanent, self._pauses = is_permanent, pauses
        self._waiting: deque[tuple[str, Call]] = deque()
        self._made: tuple[str, Call] | None = None  # the call that is being made
        self._missing: list[str] = []
        self._progress = time.monotonic()  # when a call last succeeded
        self._wait: tuple[float, float] | None = None  # of somebody who waits: since when, and the patience
        self._hurry = self._ended = False
        self._changed = threading.Condition()
        threading.Thread(target=self._work, name="delivery", daemon=True).start()

    def add(self, what: str, call: Call) -> None:
        """Queue a call; ``what`` names it in messages. Returns at once."""
        with self._changed:
            self._waiting.append((what, call))
            self._changed.notify_all()

    def drain(self, seconds: float, since: float | None = None, bound: float = BOUND) -> list[str]:
        """Wait until all is delivered, or nothing was for ``seconds``. Returns the names of what is given up.

        No call is begun after that, but one that is being made is waited for: what is delivered is not given up. An
        exception that comes in meanwhile, such as an interruption, gives nothing up.

        Args:
            since: when the waiting began, by ``time.monotonic``; now, if it is not given.
            bound: seconds without a success after which a call that is being made is given up as well.
        """
        begun = time.monotonic() if since is None else since
        with self._changed:
            self._hurry, self._wait = True, (begun, seconds)
            self._changed.notify_all()
            try:
                while self._waiting and not self._is_over(begun, max(bound, seconds) if self._is_made() else seconds):
                    self._changed.wait(0.05)
            finally:
                self._wait = None
                self._changed.notify_all()
            missing = [*self._missing, *(what for what, _ in self._waiting)]
            if self._is_made():
                missing[len(self._missing)] += " (still being sent: it may arrive later)"
            self._missing.clear()
            self._waiting.clear()
            self._hurry = False
        return missing

    def _is_over(self, begun: float, seconds: float) -> bool:
        """Whether nothing has succeeded for so many seconds of waiting."""
        return time.monotonic() >= max(self._progress, begun) + seconds

    def _is_made(self) -> bool:
        """Whether the next of the queue is being made just now."""
        return bool(self._waiting) and self._waiting[0] is self._made

    def end(self) -> None:
        """Let the thread end. What is still queued is not delivered."""
        with self._changed:
            self._ended = True
            self._waiting.clear()
            self._changed.notify_all()

    def _next(self) -> tuple[str, Call] | None:
        """Wait for the next call to make; None at the end."""
        with self._changed:
            self._made = None
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._ended or (self._waiting and not (self._wait and self._is_over(*self._wait)))
            )
            self._made = None if self._ended else self._waiting[0]
            return self._made

    def _work(self) -> None:
        failures = 0
        while (item := self._next()) is not None:
            what, call = item
            try:
                call()
            except MISTAKES as error:
                seen = "".join(traceback.format_exception(error)).rstrip()
                warn(f"MLflow cannot be told {what}, by a mistake in the code; the work goes on\n{seen}")
                self._remove(item, missing=True)
            except Exception as error:
                if not self._is_permanent(error):
                    if not failures:
                        warn(f"MLflow did not take {what} ({one_line(error)}); trying again while the work goes on")
                    self._pause(self._pauses[min(failures, len(self._pauses) - 1)])
                    failures += 1
                    continue
                warn(f"MLflow refuses {what} ({one_line(error)})")
                self._remove(item, missing=True)
            else:
                if failures:
                    warn(f"MLflow answers again and has {what}")
                self._remove(item, missing=False)
            failures = 0

    def _remove(self, item: tuple[str, Call], missing: bool) -> None:
        """Take a call off the queue, unless it was given up while it was being made."""
        with self._changed:
            if not missing:
                self._progress = time.monotonic()
            if self._waiting and self._waiting[0] is item:
                self._waiting.popleft()
                if missing:
                    self._missing.append(item[0])
            self._changed.notify_all()

    def _pause(self, seconds: float) -> None:
        """Wait before the next try; somebody who begins to wait for the delivery cuts a long pause short."""
        with self._changed:
            self._made = None
            self._changed.notify_all()
            hurried = self._hurry
            seconds = min(seconds, HURRY) if hurried else seconds
            self._changed.wait_for(lambda: self._ended or (self._hurry and not hurried), seconds)


def with_retries(
    what: str,
    call: Callable[[], Result],
    is_permanent: Callable[[Exception], bool] = is_permanent_error,
    seconds: float = 60.0,
    pauses: tuple[float, ...] = PAUSES,
) -> Result:
    """Make a call that is waited for, trying again for about ``seconds`` while it fails.

    Raises:
        RunFailed: naming ``what``, if it is refused or keeps failing.
        TypeError: or another of ``MISTAKES``, as it is, so that its traceback is seen; ``what`` is noted at it.
    """
    end, failures = time.monotonic() + seconds, 0
    while True:
        try:
            return call()
        except MISTAKES as error:
            error.add_note(f"while {what}")
            raise
        except Exception as error:
            pause = pauses[min(failures, len(pauses) - 1)]
            failures += 1
            if is_permanent(error) or time.monotonic() + pause > end:
                raise RunFailed(f"{what} failed ({one_line(error)})") from error
            warn(f"{what} failed ({one_line(error)}); trying again in {pause:.0f} s")
            time.sleep(pause)
