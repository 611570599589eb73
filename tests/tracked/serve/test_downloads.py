"""The folder of downloads: removed with its endpoint, or by a later one, and never while its endpoint lives."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from helpers import SRC
from tracked.serve.downloads import MARK, Downloads

pytestmark = pytest.mark.unit

KEPT = """
import sys, tempfile
from tracked.serve.downloads import Downloads
tempfile.tempdir = sys.argv[1]
downloads = Downloads("adder")
folder = downloads.name()
folder.mkdir()
print(folder, flush=True)
sys.stdin.read()
"""


def list_folders() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("adder-serve-*"))


def test_folders_of_versions_are_removed_one_by_one_and_with_their_endpoint() -> None:
    downloads = Downloads("adder")
    first, second = downloads.name(), downloads.name()
    for folder in (first, second):
        folder.mkdir()
        (folder / "model").touch()
    downloads.remove(first)
    assert (first.exists(), second.exists(), downloads.is_closed) == (False, True, False)
    downloads.close()
    assert (list_folders(), downloads.is_closed) == (set(), True)
    second.mkdir(parents=True)  # as a download in a thread may
    downloads.remove(second)
    assert list_folders() == set()


def test_folder_of_a_killed_endpoint_is_removed_by_the_next_one_and_of_a_living_one_is_not() -> None:
    place = Path(tempfile.gettempdir())
    command = [sys.executable, "-c", KEPT, str(place)]
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(SRC)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout
        folder = Path(other.stdout.readline().strip())
        (place / "adder-serve-file").touch()
        (place / "adder-serve-link").symlink_to(place, target_is_directory=True)
        (place / "other-serve-1").mkdir()
        Downloads("adder").close()
        assert folder.exists()
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        Downloads("adder").close()
        assert not folder.exists()
    assert (place / "adder-serve-file").exists()
    assert (place / "adder-serve-link").is_symlink()
    assert (place / "other-serve-1").exists()


def test_folder_without_an_endpoints_mark_or_of_another_user_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Path(tempfile.gettempdir())
    for name in ("adder-serve-results", "adder-serve-anothers"):
        (place / name / "figures").mkdir(parents=True)
    (place / "adder-serve-anothers" / MARK).touch()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", lambda: 1 + place.stat().st_uid)
        Downloads("adder").close()
    assert list_folders() == {place / "adder-serve-results", place / "adder-serve-anothers"}
    Downloads("adder").close()
    assert list_folders() == {place / "adder-serve-results"}
