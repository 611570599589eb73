"""Progress of long work: plain lines at intervals, and a bar on a real pseudo-terminal that garbles no line."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from helpers import SRC
from tracked.console import progress
from tracked.console.progress import track

pytestmark = pytest.mark.unit


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Iterator[Clock]:
    yield Clock()
    assert progress._shown is None  # no test leaves work behind


def work(clock: Clock, total: int | None, steps: Iterable[tuple[float, int]], **options: bool) -> None:
    """Do some work: (seconds, units) a step."""
    with track("scoring", total, "reviews", clock=clock, **options) as shown:
        for seconds, units in steps:
            clock.now += seconds
            shown.advance(units)


def test_work_of_less_than_30_seconds_prints_nothing_where_there_is_no_terminal(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    work(clock, 29_900, [(0.1, 100)] * 299)
    assert capsys.readouterr() == ("", "")


def test_a_line_is_printed_every_30_seconds_with_rate_and_time_left_and_one_at_the_end(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    work(clock, 250_000, [(1, 1000)] * 70 + [(1, 9000)] * 20)
    assert capsys.readouterr().out.splitlines() == [
        "scoring: 30,000 of 250,000 reviews, 1,000 a second, 3.7 minutes left",
        "scoring: 60,000 of 250,000 reviews, 1,000 a second, 3.2 minutes left",
        # The rate of the last 30 seconds, in which the work became faster.
        "scoring: 250,000 of 250,000 reviews, 6,333 a second, 0.0 seconds left",
        "scoring: 250,000 reviews in 1.5 minutes, 2,778 a second",
    ]


def test_lines_of_slow_calls_come_with_the_calls(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    work(clock, 4, [(100, 1), (100, 1)], summary=False)
    assert capsys.readouterr().out.splitlines() == [
        "scoring: 1 of 4 reviews, 0.6 a minute, 5.0 minutes left",
        "scoring: 2 of 4 reviews, 0.6 a minute, 3.3 minutes left",
    ]


@pytest.mark.parametrize(
    ("total", "count", "line"),
    [
        (None, 60, "scoring: 60 reviews, 2.0 a second"),
        (0, 0, "scoring: 0 of 0 reviews"),
        (100, 0, "scoring: 0 of 100 reviews"),
        (10, 300, "scoring: 300 reviews, 10 a second"),
    ],
    ids=["unknown total", "nothing to do", "nothing done", "more than the total"],
)
def test_time_left_that_is_unknown_is_not_printed(
    clock: Clock, capsys: pytest.CaptureFixture[str], total: int | None, count: int, line: str
) -> None:
    work(clock, total, [(30, count)], summary=False)
    assert capsys.readouterr().out.splitlines() == [line]


def test_work_that_fails_has_no_line_at_the_end(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> Iterator[tuple[float, int]]:
        yield 31, 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(clock, 9, fail())
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_of_nested_work_the_outer_one_is_shown_alone(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    def read() -> Iterator[int]:
        with track("reading", None, "texts", clock=clock) as inner:
            for _ in range(4):
                clock.now += 20
                inner.advance(1)
                yield 1

    with track("scoring", 4, "reviews", clock=clock) as outer:
        for count in read():
            outer.advance(count)
    assert {line.split(":")[0] for line in capsys.readouterr().out.splitlines()} == {"scoring"}
    assert sum(read()) == 4  # alone, it is shown
    assert capsys.readouterr().out.splitlines()[-1] == "reading: 4 texts in 1.3 minutes, 3.0 a minute"


# In processes of their own, on a terminal and on streams that are closed or full.

PREFIX = """
import os, signal, sys, threading
from tracked.console import entry, errors, lines, progress
now = 0.0
def clock():
    return now
def step(shown, count=100, seconds=1):
    global now
    now += seconds
    shown.advance(count)
def tracked_work(total=1000):
    return progress.track("scoring", total, "reviews", clock=clock)
"""
BAR_OF_500 = "500 of 1,000 reviews, 100 a second, 5.0 seconds left"
SUMMARY = "scoring: 1,000 reviews in 10.0 seconds, 100 a second"
WORK = "with tracked_work() as shown:\n    for _ in range(10):\n        step(shown)\n"


def run_on_terminal(code: str, columns: int = 110, hang_up: bool = False, **environment: str) -> tuple[int, str]:
    """Run a program on a pseudo-terminal; return its exit status and all that the terminal got."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    known = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "FORCE_COLOR")}
    env = known | {"PYTHONPATH": str(SRC), "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"} | environment
    process = subprocess.Popen(
        [sys.executable, "-c", PREFIX + code], env=env, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave
    )
    os.close(slave)
    received = b""
    while not hang_up:
        try:
            piece = os.read(master, 65536)
        except OSError:  # Linux's answer once the other side is closed
            break
        if not piece:
            break
        received += piece
    os.close(master)
    return process.wait(60), received.decode("utf-8", "replace").replace("\r\n", "\n")


def screen(received: str) -> list[str]:
    """Give the lines that a terminal shows in the end, of text, carriage returns, line breaks, erasures and styles."""
    rows, column = [""], 0
    for piece in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", received):
        if piece == "\x1b[2K":
            rows[-1] = " " * column
        elif piece == "\r":
            column = 0
        elif piece == "\n":
            rows, column = [*rows, ""], 0
        elif piece[0] == "\x1b":
            assert piece.endswith("m"), f"{piece!r} moves or hides the cursor"
        else:
            rows[-1] = rows[-1][:column].ljust(column) + piece + rows[-1][column + len(piece) :]
            column += len(piece)
    return [row.rstrip() for row in rows]


def frames(received: str) -> list[str]:
    """Give each bar as it is drawn, without its styles."""
    drawn = re.sub(r"\x1b\[[0-9;]*m", "", received).split("\r\x1b[2K")[1:]
    return [frame for frame in drawn if frame.startswith("scoring ")]


def test_bar_on_a_terminal_shows_the_progress_and_leaves_one_line() -> None:
    status, received = run_on_terminal(WORK)
    assert status == 0
    assert screen(received) == [SUMMARY, ""]
    assert len(frames(received)) == 9  # from the second second on
    assert re.fullmatch(f"scoring ━+[╸╺]━* {BAR_OF_500}", frames(received)[3])
    filled = [frame.count("━") for frame in frames(run_on_terminal(WORK, NO_COLOR="1")[1])]
    assert filled == sorted(set(filled))


def test_bar_is_drawn_five_times_a_second_at_most() -> None:
    code = "with tracked_work(100_000) as shown:\n    for _ in range(1000):\n        step(shown, 100, 0.01)\n"
    assert 35 <= len(frames(run_on_terminal(code)[1])) <= 41


def test_work_of_less_than_two_seconds_writes_nothing_to_a_terminal_and_imports_no_rich() -> None:
    code = "with tracked_work() as shown:\n    for _ in range(19):\n        step(shown, 10, 0.1)\n"
    code += "sys.exit(3 if 'rich' in sys.modules else 0)"
    assert run_on_terminal(code) == (0, "")


def test_lines_printed_while_the_bar_is_shown_stand_above_it_undamaged() -> None:
    code = WORK + "        if _ in (4, 7):\n            lines.say('a line')\n            lines.warn('a warning')\n"
    _, received = run_on_terminal(code)
    assert screen(received) == ["a line", "a warning"] * 2 + [SUMMARY, ""]
    assert len(frames(received)) == 9  # it comes back


def test_lines_of_another_thread_are_undamaged() -> None:
    code = """
def talk():
    for number in range(300):
        (lines.say if number % 2 else lines.warn)(f"line {number}")
thread = threading.Thread(target=talk)
sys.setswitchinterval(1e-5)
with tracked_work(None) as shown:
    step(shown, 1, 3)
    thread.start()
    while thread.is_alive():
        step(shown, 1, 1)
"""
    status, received = run_on_terminal(code)
    assert status == 0
    assert screen(received)[:300] == [f"line {number}" for number in range(300)]


def test_work_that_fails_removes_the_bar() -> None:
    code = "def verb(*_):\n    with tracked_work() as shown:\n        step(shown, 500, 5)\n"
    code += "        raise errors.RunFailed('it broke')\nentry.run(verb)"
    status, received = run_on_terminal(code)
    assert (status, screen(received)) == (1, ["error: it broke", ""])
    assert BAR_OF_500 in received


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_signal_while_the_bar_is_shown_prints_its_line_undamaged(name: str, status: int) -> None:
    code = "def verb(*_):\n    with tracked_work() as shown:\n        for _ in range(9):\n            step(shown)\n"
    code += f"        os.kill(os.getpid(), signal.{name})\n        step(shown)\nentry.run(verb)"
    found, received = run_on_terminal(code)
    assert (found, screen(received)) == (status, [f"{name}: shutting down cleanly; Ctrl-C exits at once", ""])


def test_bar_in_a_fork_of_the_process_is_not_shown_but_the_forks_own_work_is(tmp_path: Path) -> None:
    code = """
with tracked_work() as shown:
    step(shown, 300, 3)
    if not os.fork():
        sys.stdout = sys.stderr = open(os.environ["OUT"], "w")
        step(shown, 600, 3)
        with progress.track("reading", 2, "texts", clock=clock) as own:
            step(own, 1, 31)
        shown.__exit__(None, None, None)
        sys.stdout.flush()
        os._exit(0)
    os.wait()
    step(shown, 700, 7)
with open(os.environ["OUT"]) as file:
    lines.say(file.read().strip())
"""
    _, received = run_on_terminal(code, OUT=str(tmp_path / "out"))
    told = "reading: 1 of 2 texts, 1.9 a minute, 31.0 seconds left"
    assert screen(received)[:2] == [SUMMARY, told]


@pytest.mark.parametrize("columns", [1, 12, 30, 60, 80, 300])
def test_bar_is_narrower_than_the_terminal(columns: int) -> None:
    status, received = run_on_terminal(WORK, columns)
    assert status == 0
    assert max(map(len, frames(received) or [""])) <= max(columns - 1, 1)
    assert screen(received) == [SUMMARY, ""]
    assert ("━" in received) == (columns >= 80)


def test_bar_without_colours_has_none() -> None:
    _, received = run_on_terminal(WORK, NO_COLOR="1")
    assert set(re.findall(r"\x1b\[[0-9;]*m", received)) <= {"\x1b[1m", "\x1b[0m"}
    assert any(BAR_OF_500 in frame for frame in frames(received))


def test_bar_on_a_terminal_without_unicode_is_of_its_characters() -> None:
    _, received = run_on_terminal(WORK, PYTHONIOENCODING="ascii")
    assert received.isascii()
    assert re.fullmatch(f"scoring -+ *-* {BAR_OF_500}", frames(received)[3])


def test_progress_on_a_dumb_terminal_is_plain_lines() -> None:
    code = "with tracked_work() as shown:\n    step(shown, 100, 31)\n"
    _, received = run_on_terminal(code, TERM="dumb")
    assert received.splitlines()[0] == "scoring: 100 of 1,000 reviews, 3.2 a second, 4.7 minutes left"


def test_terminal_that_is_closed_while_the_bar_is_shown_does_not_end_the_work() -> None:
    code = "import time\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + WORK + "        time.sleep(0.02)\n"
    assert run_on_terminal(code, hang_up=True)[0] == 0


@pytest.mark.parametrize("stream", ["> /dev/full", ">&-", "| true"])
def test_output_that_cannot_be_written_does_not_end_the_work(stream: str) -> None:
    code = "def verb(*_):\n    with tracked_work() as shown:\n        for _ in range(9):\n"
    code += "            step(shown, 100, 40)\n    lines.warn('done')\nentry.run(verb)"
    env = os.environ | {"PYTHONPATH": str(SRC), "PYTHON": sys.executable, "PROGRAM": PREFIX + code}
    found = subprocess.run(
        ["sh", "-c", f'"$PYTHON" -c "$PROGRAM" {stream}'], env=env, capture_output=True, text=True, timeout=60
    )
    assert (found.returncode, found.stderr) == (0, "done\n")


def test_closed_standard_output_shows_nothing() -> None:
    code = f"sys.stdout.close()\n{WORK}sys.stdout = None\n{WORK}sys.exit(7)"
    env = os.environ | {"PYTHONPATH": str(SRC)}
    found = subprocess.run([sys.executable, "-c", PREFIX + code], env=env, capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stdout, found.stderr) == (7, "", "")
