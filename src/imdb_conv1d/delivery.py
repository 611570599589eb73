"""Calls to a server that may fail: made by a thread while the work goes on, or waited for; tried again either way."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from imdb_conv1d.console import RunFailed, warn

PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before another try, the last one from then on
Result = TypeVar("Result")


def never(error: Exception) -> bool:
    """No error is the server's final word."""
    return False


@dataclass
class Delivery:
    """Delivers calls one after the other, and tries a failing one again until it succeeds or :meth:`close` gives up.

    A call must be harmless to repeat: when an answer was lost, it is made again.

    Args:
        refused: whether an error is the server's final word on a call, so that the next call goes ahead of it.
        pauses: seconds between tries.
    """

    refused: Callable[[Exception], bool] = never
    pauses: tuple[float, ...] = PAUSES
    _waiting: deque[tuple[str, Callable[[], object]]] = field(default_factory=deque)
    _missing: list[str] = field(default_factory=list)
    _patience: float | None = None  # seconds without a success after which closing gives up
    _progress: float = 0.0  # when closing began, or a call last succeeded

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="delivery", daemon=True)
        self._thread.start()

    def add(self, what: str, call: Callable[[], object]) -> None:
        """Queue a call; ``what`` names it in messages. Returns at once."""
        with self._changed:
            self._waiting.append((what, call))
            self._changed.notify_all()

    def close(self, seconds: float) -> list[str]:
        """End once all is delivered, or nothing was for ``seconds``. Returns the names of what is missing."""
        with self._changed:
            self._patience, self._progress = seconds, time.monotonic()
            self._changed.notify_all()
        while self._thread.is_alive() and not self._given_up():
            self._thread.join(0.05)
        with self._changed:
            missing = [*self._missing, *(what for what, _ in self._waiting)]
            self._waiting.clear()
        return missing

    def _given_up(self) -> bool:
        return self._patience is not None and time.monotonic() > self._progress + self._patience

    def _work(self) -> None:
        failures = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._patience is not None)
                if not self._waiting or self._given_up():
                    return
                what, call = self._waiting[0]
            try:
                call()
            except Exception as error:
                failures += 1
                if not self.refused(error):
                    if failures == 1:
                        warn(f"MLflow did not take {what} ({one_line(error)}); trying again while the work goes on")
                    self._pause(self.pauses[min(failures, len(self.pauses)) - 1])
                    continue
                warn(f"MLflow refuses {what} ({one_line(error)})")
                self._missing.append(what)
            else:
                if failures:
                    warn(f"MLflow answers again and has {what}")
                self._progress = time.monotonic()
            failures = 0
            with self._changed:
                if self._waiting:
                    self._waiting.popleft()

    def _pause(self, seconds: float) -> None:
        """Wait before the next try; the beginning of the end cuts a long wait short."""
        with self._changed:
            open_before = self._patience is None
            self._changed.wait_for(lambda: open_before and self._patience is not None, seconds if open_before else 2.0)


def persist(
    what: str,
    call: Callable[[], Result],
    refused: Callable[[Exception], bool] = never,
    seconds: float = 60.0,
    pauses: tuple[float, ...] = PAUSES,
) -> Result:
    """Make a call that is waited for, trying again for about ``seconds`` while it fails.

    Raises:
        RunFailed: naming ``what``, if it is refused or keeps failing.
    """
    end, failures = time.monotonic() + seconds, 0
    while True:
        try:
            return call()
        except Exception as error:
            pause = pauses[min(failures, len(pauses) - 1)]
            failures += 1
            if refused(error) or time.monotonic() + pause > end:
                raise RunFailed(f"{what} failed ({one_line(error)})") from error
            warn(f"{what} failed ({one_line(error)}); trying again in {pause:.0f} s")
            time.sleep(pause)


def one_line(error: BaseException) -> str:
    """An error's message in one line of at most 300 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
