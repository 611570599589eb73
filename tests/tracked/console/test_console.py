import os
import signal
import subprocess
import sys

import pytest

from helpers import SRC


def program(code: str) -> str:
    """A verb's body as a whole program; ``kill`` sends a signal to its own process."""
    return f"""
import os, signal, sys, time
from tracked.console import entry, errors, lines
def kill(name):
    os.kill(os.getpid(), getattr(signal, name))
    time.sleep(0.05)
def verb(argv, signals):
{chr(10).join("    " + line for line in code.splitlines())}
entry.run(verb)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run a verb's body in a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(SRC)}
    return subprocess.run([sys.executable, "-c", program(code)], env=env, capture_output=True, text=True, timeout=60)


def run_in_shell(redirection: str, code: str) -> subprocess.CompletedProcess[str]:
    """Run a verb's body as a shell's command, with its streams redirected."""
    env = {**os.environ, "PYTHONPATH": str(SRC), "PYTHON": sys.executable, "PROGRAM": program(code)}
    command = f'"$PYTHON" -c "$PROGRAM" {redirection}'
    return subprocess.run(["sh", "-c", command], env=env, capture_output=True, text=True, timeout=60)


def run_unread(code: str) -> tuple[int, str]:
    """Run a verb's body whose standard error nobody reads any more; its exit status and standard output."""
    env = {**os.environ, "PYTHONPATH": str(SRC)}
    wait = "sys.stdin.readline()\n"
    with subprocess.Popen(
        [sys.executable, "-c", program(wait + code)],
        env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        process.stderr.close()
        out, _ = process.communicate("the reader has gone\n", timeout=60)
    return process.returncode, out


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("lines.say('done')", 0, ""),
        ("raise errors.UserError('patience: no')", 2, "error: patience: no\n"),
        ("raise errors.RunFailed('it broke')", 1, "error: it broke\n"),
    ],
)
def test_the_exit_status_says_what_happened(code: str, status: int, error: str) -> None:
    found = run(code)
    assert (found.returncode, found.stderr) == (status, error)


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_ends_with_its_own_status_after_cleaning_up(name: str, status: int) -> None:
    found = run(f"try:\n  kill('{name}')\n  lines.say('went on')\nfinally:\n  lines.say('cleaned up')")
    assert found.returncode == status
    assert found.stdout == "cleaned up\n"
    assert "Traceback" not in found.stderr


def test_what_mlflow_run_sends_is_one_request() -> None:
    found = run("try:\n  kill('SIGINT')\nfinally:\n  kill('SIGTERM')\n  lines.say('cleaned up')")
    assert (found.returncode, found.stdout) == (128 + signal.SIGINT, "cleaned up\n")


def test_a_second_ctrl_c_leaves_at_once() -> None:
    found = run("try:\n  kill('SIGTERM')\nfinally:\n  time.sleep(1)\n  kill('SIGINT')\n  lines.say('cleaned up')")
    assert (found.returncode, found.stdout) == (130, "")


def test_after_the_work_is_done_a_signal_undoes_nothing() -> None:
    found = run("signals.hold_until_exit()\nkill('SIGTERM')\nlines.say('went on')")
    assert (found.returncode, found.stdout) == (0, "went on\n")
    early = run("with signals.hold():\n  kill('SIGTERM')\n  signals.hold_until_exit()\n  lines.say('went on')")
    assert (early.returncode, early.stdout) == (143, "")


def test_a_verb_called_as_a_function_leaves_the_former_handlers() -> None:
    code = """
def handlers():
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
former = handlers()
with type(signals)().installed() as own:
    own.hold_until_exit()
    kill('SIGTERM')
    lines.say('noted')
lines.say(str(own.signum == signal.SIGTERM and former == handlers()))
with type(signals)().installed() as own:
    kill('SIGTERM')
    lines.say('went on')
"""
    found = run(code)
    assert (found.returncode, found.stdout) == (143, "noted\nTrue\n")


def test_a_held_signal_waits_for_the_check() -> None:
    found = run("with signals.hold():\n  kill('SIGTERM')\n  lines.say('went on')\nsignals.check()\nlines.say('no')")
    assert (found.returncode, found.stdout) == (143, "went on\n")


def test_quiet_stderr_shows_what_was_written_when_the_work_fails() -> None:
    quiet = run("with lines.quiet_stderr():\n  os.write(2, b'note')")
    assert (quiet.returncode, quiet.stderr) == (0, "")
    loud = run("with lines.quiet_stderr():\n  os.write(2, b'note')\n  raise errors.RunFailed('broken')")
    assert (loud.returncode, loud.stderr) == (1, "noteerror: broken\n")


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_without_a_reader_of_standard_error_ends_with_its_own_status(name: str, status: int) -> None:
    found = run_unread(f"try:\n  kill('{name}')\n  lines.say('went on')\nfinally:\n  lines.say('cleaned up')")
    assert found == (status, "cleaned up\n")


def test_an_error_without_a_reader_of_standard_error_ends_with_its_own_status() -> None:
    assert run_unread("raise errors.UserError('patience: no')") == (2, "")
    assert run_unread("with lines.quiet_stderr():\n  os.write(2, b'x')\n  raise errors.RunFailed('no')") == (1, "")
    assert run_unread("lines.warn('a')\nwith lines.quiet_stderr():\n  lines.say('done')") == (0, "done\n")


def test_a_delivery_without_a_reader_of_standard_error_delivers_everything() -> None:
    """Each of its lines: trying again, answering again, refusing."""
    code = """
from tracked.runs.outbox import Outbox
taken, tries = [], []
def call(name):
    tries.append(name)
    if name == "bad":
        raise ValueError("never")
    if len(tries) < 3:
        raise ConnectionError("no answer")
    taken.append(name)
delivery = Outbox(is_permanent=lambda error: isinstance(error, ValueError), pauses=(0.01,))
for name in ("a", "bad", "b"):
    delivery.add(name, lambda name=name: call(name))
missing = delivery.drain(10)
lines.say(f"{taken} {missing}")
"""
    assert run_unread(code) == (0, "['a', 'b'] ['bad']\n")


@pytest.mark.parametrize("stream", ["> /dev/full", "2> /dev/full", "> /dev/full 2>&1"])
def test_a_full_disk_under_a_stream_ends_nothing(stream: str) -> None:
    lines = "for number in range(3000):\n  lines.say('a line')\n  lines.warn('a line')\n"
    assert run_in_shell(stream, lines).returncode == 0
    assert run_in_shell(stream, lines + "kill('SIGTERM')").returncode == 143
    assert run_in_shell(stream, lines + "raise errors.RunFailed('it broke')").returncode == 1


@pytest.mark.parametrize("stream", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_ends_nothing_and_lends_its_number_to_no_file(stream: str) -> None:
    lines = "lines.say('a line')\nlines.warn('a line')\nwith lines.quiet_stderr():\n  os.write(2, b'note')\n"
    opened = "with open(os.devnull) as file:\n  sys.exit(5 if file.fileno() < 3 else 0)"
    assert run_in_shell(stream, lines + opened).returncode == 0
    assert run_in_shell(stream, lines + "kill('SIGTERM')").returncode == 143
    assert run_in_shell("2>&-", "lines.warn('for standard error')").stdout == ""


def test_a_line_for_a_stream_that_was_closed_since_is_dropped() -> None:
    assert run("sys.stderr.close()\nlines.warn('a line')\nlines.say('done')").stdout == "done\n"


def test_a_character_that_a_terminal_lacks_does_not_cost_the_line() -> None:
    code = f"import sys; sys.path.insert(0, {str(SRC)!r}); from tracked.console.lines import say; say('a name\u2026 é')"
    narrow = os.environ | {"PYTHONIOENCODING": "latin-1"}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, env=narrow)
    assert found.stdout.decode("latin-1") == "a name\\u2026 é\n"
