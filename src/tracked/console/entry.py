"""Run a verb from the command line: one line for a mistake, and an exit status that means something.

Exit status: 0 done, 1 the work failed, 2 a mistake of the user's and nothing begun, 3 done and the champion was kept,
130 Ctrl-C, 143 SIGTERM.
"""

import errno
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from tracked.console.errors import Interrupted, RunFailed, UserError
from tracked.console.lines import one_line, warn
from tracked.console.signals import Signals

# A disk's state, and not a mistake in the code.
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.ESTALE, errno.EACCES, errno.EPERM}


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
