"""Handle SIGINT and SIGTERM at points where the work can stop safely."""

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
    """A handler that turns SIGINT and SIGTERM into one :class:`Interrupted` where the work can stop safely; one a verb.

    ``mlflow run`` sends SIGTERM soon after the terminal's SIGINT: signals within a second are one request. A later
    Ctrl-C exits at once.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._first = 0.0
        self._held = 0

    def install(self) -> None:
        """Install the handler of both signals until the process ends. Works in the main thread only."""
        for signum in HANDLED:
            signal.signal(signum, self._on_signal)

    @contextmanager
    def installed(self) -> Iterator[Self]:
        """Install the handler for a verb that is called as a function; restore the former handlers afterwards."""
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
        warn(f"{signal.Signals(signum).name}: shutting down cleanly; Ctrl-C exits at once")
        if not self._held:
            raise Interrupted(signum)

    def request(self, signum: int) -> None:
        """Ask for the end from another thread, as the signal would; :meth:`check` raises it."""
        if self.signum is None:
            self._first, self.signum = time.monotonic(), signum

    def check(self) -> None:
        """Raise a signal that arrived while signals were held; without a later check, the signal has no effect."""
        if self.signum is not None:
            raise Interrupted(self.signum)

    def hold_until_exit(self) -> None:
        """Raise a signal that has arrived; ignore all later ones while the handler is installed.

        Raises:
            Interrupted: if a signal has arrived.
        """
        self._held += 1
        self.check()

    def release(self) -> None:
        """End :meth:`hold_until_exit`, for more work that a signal may end.

        Raises:
            Interrupted: if a signal has arrived meanwhile.
        """
        self._held = 0
        self.check()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold signals back within the block; :meth:`check` raises them."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1


def describe_exit(code: int) -> str:
    """Describe how a process ended, by its exit code as :mod:`multiprocessing` gives it."""
    if code >= 0:
        return f"ended with status {code}"
    named = {signum.value: signum.name for signum in signal.Signals}  # real-time signals have no name
    return f"was killed by {named.get(-code, f'signal {-code}')}"
