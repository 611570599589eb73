"""SIGINT and SIGTERM, taken at a moment when nothing breaks."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

from tracked.console.errors import Interrupted
from tracked.console.lines import warn

HANDLED = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Turns SIGINT and SIGTERM into one :class:`Interrupted`, at a moment when nothing breaks; an object a verb.

    ``mlflow run`` sends SIGTERM soon after the terminal's SIGINT: what comes within a second belongs to the same
    request. A Ctrl-C after that leaves at once.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._first = 0.0
        self._held = 0

    def install(self) -> None:
        """Take over both signals until the process ends. Only the main thread can."""
        for signum in HANDLED:
            signal.signal(signum, self._on_signal)

    @contextmanager
    def installed(self) -> Iterator[Self]:
        """Take over both signals for a verb that is called as a function; then the former handlers are back."""
        former = {signum: signal.getsignal(signum) for signum in HANDLED}
        self.install()
        try:
            yield self
        finally:
            for signum, handler in former.items():
                signal.signal(signum, handler)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None:
            if signum == signal.SIGINT and time.monotonic() > self._first + 1:
                os._exit(128 + signum)
            return
        self.signum, self._first = signum, time.monotonic()
        warn(f"{signal.Signals(signum).name}: ending in order; Ctrl-C leaves at once")
        if not self._held:
            raise Interrupted(signum)

    def check(self) -> None:
        """Raise what came in while signals were held. What comes in and is never checked has come too late."""
        if self.signum is not None:
            raise Interrupted(self.signum)

    def hold_until_exit(self) -> None:
        """Raise what came in until now; from now on signals are only noted, for as long as they come here.

        Raises:
            Interrupted: if a signal has come.
        """
        self._held += 1
        self.check()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Within, a signal is only noted; :meth:`check` raises it where the caller can be left."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
