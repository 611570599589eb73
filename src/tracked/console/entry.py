"""Run a verb from the command line: an error is one line, and every outcome has its exit status.

Exit status: 0 done, 1 failed, 2 user error before anything started, 3 done and the champion was kept, 130 Ctrl-C,
143 SIGTERM.
"""

import errno
import gc
import importlib
import os
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from tracked.console import collector
from tracked.console.errors import Interrupted, RunFailed, UserError
from tracked.console.lines import one_line, warn
from tracked.console.secrets import hide_in_streams
from tracked.console.signals import Signals

# Causes outside the code: a full, failing or read-only disk, missing permissions.
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.ESTALE, errno.EACCES, errno.EPERM}

is_command = False  # whether this process runs a verb and nothing else


def run(verb: Callable[[Sequence[str], Signals], int | None]) -> None:
    """Run a verb on the command line's arguments and exit with what it returns, or with the error's exit status."""
    global is_command
    is_command = True
    collector.pause()
    _open_closed_streams()
    hide_in_streams()
    signals = Signals()
    signals.install()
    try:
        _require_platform()
        sys.exit(verb(sys.argv[1:], signals))
    except UserError as error:
        _print_error(error)
        sys.exit(2)
    except RunFailed as error:
        _print_error(error)
        sys.exit(1)
    except OSError as error:
        if error.errno not in DISK:
            raise
        _print_error(error)
        sys.exit(1)
    except Interrupted as error:
        for note in getattr(error, "__notes__", []):
            warn(note)
        sys.exit(128 + error.signum)
    finally:
        _drop_unwritten()
        gc.freeze()  # else Python's collector passes over all of TensorFlow's objects once more: a second or three


def _require_platform() -> None:
    """Make sure that files can be locked, before any work.

    Raises:
        UserError: if not.
    """
    try:
        importlib.import_module("fcntl")
    except ImportError:
        reason = "it has no file locks (fcntl); use Linux, macOS, WSL or a container"
        raise UserError(f"{platform.system() or 'this system'} is not supported: {reason}") from None


def _open_closed_streams() -> None:
    """Open closed standard streams (as a daemon has) on /dev/null, so that no other file gets their descriptors."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # It gets the lowest free descriptor; processes that are started have it, too.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def _drop_unwritten() -> None:
    """Drop buffered output that a closed pipe or a full disk refuses: Python would retry and exit with 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _print_error(error: Exception) -> None:
    """Print the error and its notes, such as how to resume."""
    text = one_line(error) if isinstance(error, OSError) else str(error)
    for line in (f"error: {text}", *getattr(error, "__notes__", [])):
        warn(line)
