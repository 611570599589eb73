"""Print lines to standard output and standard error, without secrets. A line that cannot be printed ends no work."""

import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import TextIO

from tracked.console.secrets import hide

ERASE = "\r\x1b[2K"  # tells a terminal to empty the line that the cursor is on
_drawn = False  # whether an unfinished line may stand on the terminal


def say(line: str) -> None:
    """Print a line to standard output and flush it, into a pipe too.

    Never raises: not on a closed pipe, a full disk or without a standard output.
    """
    _print(line, sys.stdout)


def warn(line: str) -> None:
    """Print a line to standard error and flush it. Never raises, like :func:`say`."""
    _print(line, sys.stderr)


def draw(line: str) -> None:
    """Show an unfinished line, such as a progress bar, on the terminal; the next line, drawn or printed, replaces it.

    Never raises, like :func:`say`.
    """
    global _drawn
    _drawn = True  # before it is: a signal's handler may print a line in the middle of this
    _print(line, sys.stdout, end="")


def erase() -> None:
    """Remove the line that :func:`draw` has shown. Never raises."""
    global _drawn
    if _drawn:
        _print("", sys.stdout, end="")
        _drawn = False


def is_terminal() -> bool:
    """True if standard output is a terminal that can show an unfinished line."""
    try:
        return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
    except ValueError:  # closed
        return False


def _print(line: str, stream: TextIO | None, end: str = "\n") -> None:
    if stream is not None:  # None: closed before Python started
        # ValueError: the stream is closed. RuntimeError: a signal handler prints in the middle of another line.
        with suppress(OSError, ValueError, RuntimeError):
            # In one write, since another thread may write, too.
            text = (ERASE if _drawn and stream.isatty() else "") + hide(line) + end
            try:
                stream.write(text)
            except UnicodeEncodeError:  # the terminal's encoding lacks a character
                encoding = stream.encoding or "ascii"
                stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()


def one_line(error: BaseException) -> str:
    """Format an error's message as one line of at most 300 characters, without secrets."""
    text = " ".join(hide(str(error)).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


def locate(error: BaseException) -> str:
    """Format an error's type and place on one line, without its message, which may hold a user's input."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"


def format_count(number: int, thing: str) -> str:
    """Format a number with its noun: 1 epoch, 2 epochs."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def format_duration(seconds: float) -> str:
    """Format a duration in seconds or minutes."""
    return f"{seconds:.1f} seconds" if seconds < 60 else f"{seconds / 60:.1f} minutes"


@contextmanager
def retold() -> Iterator[None]:
    """Print what a library prints to standard output within, afterwards and without secrets, in a notebook too."""
    told = StringIO()
    try:
        with redirect_stdout(told):
            yield
    finally:
        if text := told.getvalue().rstrip("\n"):
            say(text)


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hide standard error, C++ code's too, unless the work within fails: then print what was hidden."""
    with suppress(OSError, ValueError):  # its reader may be gone
        sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except BaseException:
            hidden.seek(0)
            with suppress(OSError):
                os.write(terminal, hide(hidden.read().decode(errors="backslashreplace")).encode())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
