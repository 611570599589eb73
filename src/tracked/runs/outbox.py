"""Calls to a server that may fail, retried: by a thread in the background, or while the caller waits."""

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from tracked.console.errors import RunFailed, StoreFailed
from tracked.console.lines import one_line, warn
from tracked.runs.connection import is_permanent_error
from tracked.runs.credentials import is_denied

PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before a retry; the last one repeats
HURRY = 2.0  # seconds at most before a retry once :meth:`Outbox.drain` waits
BOUND = 300.0  # seconds that a call in progress may take: its client has time limits of its own
# Bugs, which no retry mends. A ValueError may be an answer that a client cannot read.
MISTAKES = (TypeError, LookupError, AttributeError, NameError, AssertionError)
Call = Callable[[], object]
Result = TypeVar("Result")


def is_final_error(error: BaseException | None) -> bool:
    """Whether a call that can wait need not be repeated: a right that was taken away may come back before the end."""
    return is_permanent_error(error) and not is_denied(error)


class Outbox:
    """Make queued calls one after the other in a thread, each until it succeeds or is dropped.

    A call must be idempotent: when its answer was lost, it is repeated.

    Args:
        is_permanent: whether an error is final, so that its call is dropped and the next one made.
        pauses: seconds between retries.
    """

    def __init__(
        self, is_permanent: Callable[[Exception], bool] = is_final_error, pauses: tuple[float, ...] = PAUSES
    ) -> None:
        self._is_permanent, self._pauses = is_permanent, pauses
        self._waiting: deque[tuple[str, Call]] = deque()
        self._made: tuple[str, Call] | None = None  # the call in progress
        self._missing: list[str] = []
        self._progress = time.monotonic()  # when a call last succeeded
        self._wait: tuple[float, float] | None = None  # start and patience of :meth:`drain`
        self._hurry = self._ended = False
        self._changed = threading.Condition()
        threading.Thread(target=self._work, name="outbox", daemon=True).start()

    def add(self, what: str, call: Call) -> None:
        """Queue a call, which ``what`` names in messages, and return at once."""
        with self._changed:
            self._waiting.append((what, call))
            self._changed.notify_all()

    def drain(self, seconds: float, since: float | None = None, bound: float = BOUND) -> list[str]:
        """Wait until the queue is empty, or no call has succeeded for ``seconds``; returns the names of dropped calls.

        No call starts after that; a call in progress is waited for. An exception while waiting, such as an
        interruption, drops nothing.

        Args:
            since: when the wait began, by ``time.monotonic``; default now.
            bound: seconds without a success after which a call in progress is dropped as well.
        """
        start = time.monotonic() if since is None else since
        with self._changed:
            self._hurry, self._wait = True, (start, seconds)
            self._changed.notify_all()
            try:
                while self._waiting and not self._is_over(start, max(bound, seconds) if self._is_made() else seconds):
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

    def _is_over(self, start: float, seconds: float) -> bool:
        """Whether no call has succeeded for so many seconds since ``start``."""
        return time.monotonic() >= max(self._progress, start) + seconds

    def _is_made(self) -> bool:
        """Whether the first call of the queue is in progress."""
        return bool(self._waiting) and self._waiting[0] is self._made

    def end(self) -> None:
        """Let the thread end, and drop what is queued."""
        with self._changed:
            self._ended = True
            self._waiting.clear()
            self._changed.notify_all()

    def _next(self) -> tuple[str, Call] | None:
        """Wait for the next call; None at the end."""
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
                trace = "".join(traceback.format_exception(error)).rstrip()
                warn(f"a bug keeps {what} from MLflow; the work continues\n{trace}")
                self._remove(item, missing=True)
            except Exception as error:
                if not self._is_permanent(error):
                    if not failures:
                        warn(f"MLflow did not take {what} ({one_line(error)}); retrying while the work continues")
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
        """Take a call off the queue, unless it was dropped while in progress."""
        with self._changed:
            if not missing:
                self._progress = time.monotonic()
            if self._waiting and self._waiting[0] is item:
                self._waiting.popleft()
                if missing:
                    self._missing.append(item[0])
            self._changed.notify_all()

    def _pause(self, seconds: float) -> None:
        """Wait before a retry; a call of :meth:`drain` shortens a long pause."""
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
    """Make a call and return its result, retrying a failure for about ``seconds``.

    Raises:
        RunFailed: naming ``what``, if the call is refused; StoreFailed if it keeps failing.
        TypeError: or another of ``MISTAKES``, unchanged but for a note with ``what``.
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
            if is_permanent(error):
                raise RunFailed(f"{what} failed ({one_line(error)})") from error
            if time.monotonic() + pause > end:
                raise StoreFailed(f"{what} failed ({one_line(error)})") from error
            warn(f"{what} failed ({one_line(error)}); trying again in {pause:.0f} s")
            time.sleep(pause)
