"""What a terminal sees: progress on standard output, one line for a mistake, an exit status that means something.

Exit status: 0 done, 1 the work failed, 2 a mistake of the user's and nothing begun, 3 done and the champion was kept,
130 Ctrl-C, 143 SIGTERM.
"""

import errno
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TextIO

# A disk's state, and not a mistake in the code.
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.ESTALE, errno.EACCES, errno.EPERM}


class UserError(ValueError):
    """A mistake of the user's. The message is the one line that they see."""


class RunFailed(RuntimeError):
    """The work failed for a reason that is known. The message says which, on one line."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM. Not an ``Exception``, so that no library takes it for one."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


def say(line: str) -> None:
    """Print a line to standard output at once, also into a pipe.

    Never raises: where nobody reads any more, the disk is full or there is no standard output, the work goes on.
    """
    _print(line, sys.stdout)


def warn(line: str) -> None:
    """Print a line to standard error at once. Never raises, as :func:`say`."""
    _print(line, sys.stderr)


def _print(line: str, stream: TextIO | None) -> None:
    if stream is not None:  # closed since before Python started; print would take the other one
        # A closed stream is a ValueError, a signal's line in the middle of another line a RuntimeError.
        with suppress(OSError, ValueError, RuntimeError):
            try:
                print(line, file=stream, flush=True)
            except UnicodeEncodeError:  # an old terminal's; a character that it lacks must not cost the line
                known = stream.encoding or "ascii"
                print(line.encode(known, "backslashreplace").decode(known), file=stream, flush=True)


def one_line(error: BaseException) -> str:
    """An error's message in one line of at most 300 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


def counted(number: int, thing: str) -> str:
    """A number of things in words: 1 epoch, 2 epochs."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds as people read them."""
    return f"{seconds:.1f} seconds" if seconds < 60 else f"{seconds / 60:.1f} minutes"


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep what is written to standard error, by C++ code too, from the terminal, unless the work within fails."""
    with suppress(OSError, ValueError):  # nobody may read it
        sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except BaseException:
            aside.seek(0)
            with suppress(OSError):
                os.write(kept, aside.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


class Signals:
    """Turns SIGINT and SIGTERM into one :class:`Interrupted`, at a moment when nothing breaks.

    ``mlflow run`` sends SIGTERM soon after the terminal's SIGINT: what comes within a second belongs to the same
    request. A Ctrl-C after that leaves at once.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._first = 0.0
        self._held = 0

    def install(self) -> None:
        """Take over both signals. Only the main thread can."""
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, self._on_signal)

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

    def hold_to_the_end(self) -> None:
        """Raise what came in until now; from now on signals are only noted.

        Raises:
            Interrupted: if a signal has come.
        """
        self._held += 1
        self.check()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within, a signal is only noted; :meth:`check` raises it where the caller can be left."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1


def run(verb: Callable[[Sequence[str], Signals], int | None]) -> None:
    """Run a verb on the command line's arguments and leave with what it returns, or the exit status described above."""
    _open_closed_streams()
    signals = Signals()
    signals.install()
    try:
        sys.exit(verb(sys.argv[1:], signals))
    except UserError as error:
        _tell(error)
        sys.exit(2)
    except RunFailed as error:
        _tell(error)
        sys.exit(1)
    except OSError as error:
        if error.errno not in DISK:
            raise
        _tell(error)
        sys.exit(1)
    except Interrupted as error:
        for note in getattr(error, "__notes__", []):
            warn(note)
        sys.exit(128 + error.signum)
    finally:
        _drop_unwritten()


def _open_closed_streams() -> None:
    """Open what is closed of standard input, output and error, as a daemon's, so that no other file takes its number.

    What is written there goes nowhere.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def _drop_unwritten() -> None:
    """Throw away what a stream's reader or disk did not take: Python would try again, and exit with 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _tell(error: Exception) -> None:
    """The error, and what was noted at it since, such as how to go on."""
    text = one_line(error) if isinstance(error, OSError) else str(error)
    for line in (f"error: {text}", *getattr(error, "__notes__", [])):
        warn(line)
