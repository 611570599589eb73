import os
import signal
import subprocess
import sys

import pytest

from helpers import SRC


def program(code: str) -> str:
    """Make a program of a verb's body; ``kill`` in it sends a signal to its own process."""
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
    """Run a verb's body in a new process."""
    env = {**os.environ, "PYTHONPATH": str(SRC)}
    return subprocess.run([sys.executable, "-c", program(code)], env=env, capture_output=True, text=True, timeout=60)


def run_in_shell(redirection: str, code: str) -> subprocess.CompletedProcess[str]:
    """Run a verb's body as a shell command with redirected streams."""
    env = {**os.environ, "PYTHONPATH": str(SRC), "PYTHON": sys.executable, "PROGRAM": program(code)}
    command = f'"$PYTHON" -c "$PROGRAM" {redirection}'
    return subprocess.run(["sh", "-c", command], env=env, capture_output=True, text=True, timeout=60)


def run_unread(code: str) -> tuple[int, str]:
    """Run a verb's body after the reader of standard error has closed it; return exit status and standard output."""
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
def test_exit_status_of_each_outcome_is_its_own(code: str, status: int, error: str) -> None:
    found = run(code)
    assert (found.returncode, found.stderr) == (status, error)


@pytest.mark.parametrize(
    "script", ["src/train.py", "src/promote.py", "src/unfinished.py", "examples/diabetes/diabetes.py"]
)
def test_a_system_without_file_locks_is_refused_in_one_line_before_any_work(script: str) -> None:
    """As Windows is: there is no module fcntl."""
    code = f"""
import platform, runpy, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == "fcntl":
            raise ModuleNotFoundError("No module named 'fcntl'", name="fcntl")
sys.meta_path.insert(0, Hidden())
sys.modules.pop("fcntl", None)
platform.system = lambda: "Windows"
sys.path.insert(0, {str(SRC)!r})
sys.argv = [{script!r}, "--epochs=1"]
runpy.run_path({str(SRC.parent / script)!r}, run_name="__main__")
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    message = "error: Windows is not supported: it has no file locks (fcntl); use Linux, macOS, WSL or a container\n"
    assert (found.returncode, found.stdout, found.stderr) == (2, "", message)


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_signal_during_work_exits_with_its_status_after_cleanup(name: str, status: int) -> None:
    found = run(f"try:\n  kill('{name}')\n  lines.say('continued')\nfinally:\n  lines.say('cleaned up')")
    assert found.returncode == status
    assert found.stdout == "cleaned up\n"
    assert "Traceback" not in found.stderr


def test_sigint_and_sigterm_of_mlflow_run_count_as_one_request() -> None:
    found = run("try:\n  kill('SIGINT')\nfinally:\n  kill('SIGTERM')\n  lines.say('cleaned up')")
    assert (found.returncode, found.stdout) == (128 + signal.SIGINT, "cleaned up\n")


def test_second_ctrl_c_after_a_second_exits_at_once() -> None:
    found = run("try:\n  kill('SIGTERM')\nfinally:\n  time.sleep(1)\n  kill('SIGINT')\n  lines.say('cleaned up')")
    assert (found.returncode, found.stdout) == (130, "")


def test_signal_after_hold_until_exit_is_ignored() -> None:
    found = run("signals.hold_until_exit()\nkill('SIGTERM')\nlines.say('continued')")
    assert (found.returncode, found.stdout) == (0, "continued\n")
    early = run("with signals.hold():\n  kill('SIGTERM')\n  signals.hold_until_exit()\n  lines.say('continued')")
    assert (early.returncode, early.stdout) == (143, "")


def test_installed_restores_the_former_handlers() -> None:
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
    lines.say('continued')
"""
    found = run(code)
    assert (found.returncode, found.stdout) == (143, "noted\nTrue\n")


def test_signal_during_hold_is_raised_by_check() -> None:
    found = run("with signals.hold():\n  kill('SIGTERM')\n  lines.say('continued')\nsignals.check()\nlines.say('no')")
    assert (found.returncode, found.stdout) == (143, "continued\n")


def test_quiet_stderr_prints_hidden_output_only_if_the_work_fails() -> None:
    quiet = run("with lines.quiet_stderr():\n  os.write(2, b'note')")
    assert (quiet.returncode, quiet.stderr) == (0, "")
    loud = run("with lines.quiet_stderr():\n  os.write(2, b'note')\n  raise errors.RunFailed('broken')")
    assert (loud.returncode, loud.stderr) == (1, "noteerror: broken\n")


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_signal_with_closed_stderr_reader_exits_with_its_status(name: str, status: int) -> None:
    found = run_unread(f"try:\n  kill('{name}')\n  lines.say('continued')\nfinally:\n  lines.say('cleaned up')")
    assert found == (status, "cleaned up\n")


def test_error_with_closed_stderr_reader_exits_with_its_status() -> None:
    assert run_unread("raise errors.UserError('patience: no')") == (2, "")
    assert run_unread("with lines.quiet_stderr():\n  os.write(2, b'x')\n  raise errors.RunFailed('no')") == (1, "")
    assert run_unread("lines.warn('a')\nwith lines.quiet_stderr():\n  lines.say('done')") == (0, "done\n")


def test_outbox_with_closed_stderr_reader_makes_every_call() -> None:
    """Covers each line that the outbox prints: retrying, answering again, refused."""
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
outbox = Outbox(is_permanent=lambda error: isinstance(error, ValueError), pauses=(0.01,))
for name in ("a", "bad", "b"):
    outbox.add(name, lambda name=name: call(name))
missing = outbox.drain(10)
lines.say(f"{taken} {missing}")
"""
    assert run_unread(code) == (0, "['a', 'b'] ['bad']\n")


@pytest.mark.slow
@pytest.mark.parametrize("stream", ["> /dev/full", "2> /dev/full", "> /dev/full 2>&1"])
def test_output_to_a_full_disk_does_not_end_the_work(stream: str) -> None:
    lines = "for number in range(3000):\n  lines.say('a line')\n  lines.warn('a line')\n"
    assert run_in_shell(stream, lines).returncode == 0
    assert run_in_shell(stream, lines + "kill('SIGTERM')").returncode == 143
    assert run_in_shell(stream, lines + "raise errors.RunFailed('it broke')").returncode == 1


@pytest.mark.parametrize("stream", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_end_the_work_or_give_files_their_descriptors(stream: str) -> None:
    lines = "lines.say('a line')\nlines.warn('a line')\nwith lines.quiet_stderr():\n  os.write(2, b'note')\n"
    opened = "with open(os.devnull) as file:\n  sys.exit(5 if file.fileno() < 3 else 0)"
    assert run_in_shell(stream, lines + opened).returncode == 0
    assert run_in_shell(stream, lines + "kill('SIGTERM')").returncode == 143
    assert run_in_shell("2>&-", "lines.warn('for standard error')").stdout == ""


def test_warn_on_a_stream_closed_later_drops_the_line() -> None:
    assert run("sys.stderr.close()\nlines.warn('a line')\nlines.say('done')").stdout == "done\n"


def test_say_of_a_character_outside_the_encoding_prints_it_escaped() -> None:
    code = f"import sys; sys.path.insert(0, {str(SRC)!r}); from tracked.console.lines import say; say('a name\u2026 é')"
    narrow = os.environ | {"PYTHONIOENCODING": "latin-1"}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, env=narrow)
    assert found.stdout.decode("latin-1") == "a name\\u2026 é\n"
