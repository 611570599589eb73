"""Print lines to standard output and standard error. A line that cannot be printed never ends the work."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO


def say(line: str) -> None:
    """Print a line to standard output and flush it, into a pipe too.

    Never raises: not on a closed pipe, a full disk or without a standard output.
    """
    _print(line, sys.stdout)


def warn(line: str) -> None:
    """Print a line to standard error and flush it. Never raises, like :func:`say`."""
    _print(line, sys.stderr)


def _print(line: str, stream: TextIO | None) -> None:
    if stream is not None:  # None: closed before Python started; print would use standard output
        # ValueError: the stream is closed. RuntimeError: a signal handler prints in the middle of another line.
        with suppress(OSError, ValueError, RuntimeError):
            try:
                print(line, file=stream, flush=True)
            except UnicodeEncodeError:  # the terminal's encoding lacks a character
                encoding = stream.encoding or "ascii"
                print(line.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


def one_line(error: BaseException) -> str:
    """Format an error's message as one line of at most 300 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


def format_count(number: int, thing: str) -> str:
    """Format a number with its noun: 1 epoch, 2 epochs."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def format_duration(seconds: float) -> str:
    """Format a duration in seconds or minutes."""
    return f"{seconds:.1f} seconds" if seconds < 60 else f"{seconds / 60:.1f} minutes"


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
                os.write(terminal, hidden.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
