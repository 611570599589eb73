import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src"


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run a verb's body in a process of its own; ``kill`` sends a signal to that process."""
    program = f"""
import os, signal, sys, time
from imdb_conv1d import console
def kill(name):
    os.kill(os.getpid(), getattr(signal, name))
    time.sleep(0.05)
def verb(argv, signals):
{chr(10).join("    " + line for line in code.splitlines())}
console.run(verb)
"""
    env = {**os.environ, "PYTHONPATH": str(SRC)}
    return subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("console.say('done')", 0, ""),
        ("raise console.UserError('patience: no')", 2, "error: patience: no\n"),
        ("raise console.RunFailed('it broke')", 1, "error: it broke\n"),
    ],
)
def test_the_exit_status_says_what_happened(code: str, status: int, error: str) -> None:
    found = run(code)
    assert (found.returncode, found.stderr) == (status, error)


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_ends_with_its_own_status_after_cleaning_up(name: str, status: int) -> None:
    found = run(f"try:\n  kill('{name}')\n  console.say('went on')\nfinally:\n  console.say('cleaned up')")
    assert found.returncode == status
    assert found.stdout == "cleaned up\n"
    assert "Traceback" not in found.stderr


def test_what_mlflow_run_sends_is_one_request() -> None:
    found = run("try:\n  kill('SIGINT')\nfinally:\n  kill('SIGTERM')\n  console.say('cleaned up')")
    assert (found.returncode, found.stdout) == (128 + signal.SIGINT, "cleaned up\n")


def test_a_second_ctrl_c_leaves_at_once() -> None:
    found = run("try:\n  kill('SIGTERM')\nfinally:\n  time.sleep(1)\n  kill('SIGINT')\n  console.say('cleaned up')")
    assert (found.returncode, found.stdout) == (130, "")


def test_after_the_work_is_done_a_signal_undoes_nothing() -> None:
    found = run("signals.hold_to_the_end()\nkill('SIGTERM')\nconsole.say('went on')")
    assert (found.returncode, found.stdout) == (0, "went on\n")
    early = run("with signals.held():\n  kill('SIGTERM')\n  signals.hold_to_the_end()\n  console.say('went on')")
    assert (early.returncode, early.stdout) == (143, "")


def test_a_held_signal_waits_for_the_check() -> None:
    found = run("with signals.held():\n  kill('SIGTERM')\n  console.say('went on')\nsignals.check()\nconsole.say('no')")
    assert (found.returncode, found.stdout) == (143, "went on\n")


def test_quiet_stderr_shows_what_was_written_when_the_work_fails() -> None:
    quiet = run("with console.quiet_stderr():\n  os.write(2, b'note')")
    assert (quiet.returncode, quiet.stderr) == (0, "")
    loud = run("with console.quiet_stderr():\n  os.write(2, b'note')\n  raise console.RunFailed('broken')")
    assert (loud.returncode, loud.stderr) == (1, "noteerror: broken\n")
