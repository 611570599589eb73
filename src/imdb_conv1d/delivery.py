"""Calls to a server that may fail, made in order by a thread of its own, so that the work never waits for them."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from imdb_conv1d.console import warn

PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before another try, the last one from then on


@dataclass
class Delivery:
    """Delivers calls one after the other, and tries a failing one again until it succeeds or :meth:`close` gives up.

    A call must be harmless to repeat: when an answer was lost, it is made again.

    Args:
        refused: whether an error is the server's final word on a call, so that the next call goes ahead of it.
        pauses: seconds between tries.
    """

    refused: Callable[[Exception], bool] = lambda error: False
    pauses: tuple[float, ...] = PAUSES
    _waiting: deque[tuple[str, Callable[[], object]]] = field(default_factory=deque)
    _missing: list[str] = field(default_factory=list)
    _closing: float | None = None

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
        """Wait at most ``seconds`` for what is queued, then end. Returns the names of what could not be delivered."""
        with self._changed:
            self._closing = time.monotonic() + seconds
            self._changed.notify_all()
        self._thread.join(seconds + 0.1)
        with self._changed:
            missing = [*self._missing, *(what for what, _ in self._waiting)]
            self._waiting.clear()
        return missing

    def _work(self) -> None:
        failures = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                what, call = self._waiting[0]
            try:
                call()
            except Exception as error:
                failures += 1
                final = self.refused(error)
                if failures == 1 or final:
                    then = "it is refused for good" if final else "trying again while the work goes on"
                    warn(f"MLflow did not take {what} ({one_line(error)}); {then}")
                if final:
                    self._missing.append(what)
                elif not self._pause(self.pauses[min(failures, len(self.pauses)) - 1]):
                    return
                else:
                    continue
            else:
                if failures:
                    warn(f"MLflow answers again and has {what}")
            failures = 0
            with self._changed:
                if self._waiting:
                    self._waiting.popleft()

    def _pause(self, seconds: float) -> bool:
        """Wait before the next try, shorter once closing has begun. False when the time for closing is over."""
        with self._changed:
            was_closing = self._closing is not None
            self._changed.wait_for(
                lambda: self._closing is not None and not was_closing, min(seconds, 5.0 if was_closing else seconds)
            )
            return self._closing is None or time.monotonic() < self._closing


def one_line(error: BaseException) -> str:
    """An error's message in one line of at most 300 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
