"""Lines for people, on standard output and standard error: no line that cannot be printed ends the work."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO


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


def format_count(number: int, thing: str) -> str:
    """A number of things in words: 1 epoch, 2 epochs."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def format_duration(seconds: float) -> str:
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
