import os
import socket
import subprocess
import sys
from dataclasses import replace

import pytest

from tracked.training.holder import Holder, identify_system

pytestmark = pytest.mark.unit

HERE = Holder.this_process()


def gone() -> int:
    """The PID of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@pytest.mark.parametrize("pid", [2**31, 2**63, 10**30, 0, -1, -(2**40)])
def test_holder_with_an_impossible_pid_is_dead(pid: int) -> None:
    assert replace(HERE, pid=pid).is_dead
    assert not replace(HERE, pid=pid, host="elsewhere").is_dead


def test_holder_of_this_system_is_here() -> None:
    assert HERE.is_here
    assert not HERE.is_dead
    assert replace(HERE, pid=gone(), start="").is_dead


def test_holder_without_a_system_is_judged_by_its_host_name() -> None:
    former = replace(HERE, system="")
    assert former.is_here
    assert not former.is_dead
    assert not replace(former, host="elsewhere").is_here
    assert replace(former, pid=gone(), start="").is_dead


def test_holder_in_another_container_of_the_host_name_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracked.training.holder.identify_system", lambda: "machine boot container")
    here = Holder(gone(), socket.gethostname(), "now", "1", "machine boot container")
    assert here.is_here
    assert here.is_dead
    assert replace(here, system="other boot container").is_dead  # an image with a machine id of its own
    for system in ("machine boot other", "machine other container", "machine boot host"):
        other = replace(here, system=system)
        assert not other.is_here, system
        assert not other.is_dead, system


def test_holder_of_an_earlier_boot_of_this_machine_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracked.training.holder.identify_system", lambda: "machine boot host")
    before = Holder(os.getpid(), socket.gethostname(), "now", "", "machine earlier host")
    assert not before.is_here
    assert before.is_dead
    # Containers may share a host name and /etc/machine-id; without the latter, a machine cannot be recognized.
    assert not replace(before, system="machine earlier container").is_dead
    assert not replace(before, system="other earlier host").is_dead
    assert not replace(before, host="elsewhere").is_dead
    monkeypatch.setattr("tracked.training.holder.identify_system", lambda: "- boot host")
    assert not replace(before, system="- earlier host").is_dead


def test_system_of_two_processes_is_equal_and_hides_the_machine_id() -> None:
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; from tracked.training import holder; print(holder.identify_system())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == identify_system()
    assert len(other.split()) == (3 if sys.platform == "linux" else 0)
