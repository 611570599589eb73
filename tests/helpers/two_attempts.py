"""Interrupt and resume a training, with shell commands before, between and after, which may mount file systems.

python tests/helpers/two_attempts.py BEFORE BETWEEN AFTER diabetes -- [flags of the first attempt]

As root on Linux, in a mount namespace of its own.

The attempts write to first.log and second.log; their exit statuses are printed as JSON. An attempt is the experiment's
train command, except that it gives up after seconds instead of a minute.
"""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers import forked
from helpers.subjects import SUBJECTS, Subject

CLONE_NEWNS = 0x20000  # os.unshare came with Python 3.12


def main() -> int:
    """Fork both attempts from a process with all imports done."""
    before, between, after, experiment = sys.argv[1:5]
    flags = sys.argv[6:]
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "no mount namespace")
    shell("mount --make-rprivate /")
    forked.import_all()
    from tracked.runs import context, writer

    writer.Run.flush.__defaults__ = (3.0,)
    context.PATIENCE_AFTER_ERROR = 2.0
    subject = SUBJECTS[experiment]
    shell(before)
    statuses = [attempt(subject, flags, "first.log")]
    shell(between)
    statuses.append(attempt(subject, ["--resume=latest"], "second.log"))
    shell(after)
    print(json.dumps(statuses))
    return 0


def attempt(subject: Subject, arguments: list[str], log: str) -> int:
    """Train in a separate process; return its exit status."""
    child = os.fork()
    if child == 0:
        forked.become_training(subject, arguments, Path.cwd(), Path(log))
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def shell(command: str) -> None:
    """Run a shell command.

    Raises:
        CalledProcessError: if it fails.
    """
    subprocess.run(["sh", "-uc", command], check=True)


if __name__ == "__main__":
    sys.exit(main())
