import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from helpers import SRC
from imdb_conv1d.experiment import EXPERIMENT
from tracked.training import run_folder
from tracked.training.run_folder import LOCK, find_holder, find_root
from tracked.training.run_folder_lock import HeldError, RunFolderLock

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("uri", "root"),
    [
        ("sqlite:///mlflow.db", "{here}/snapshots"),
        ("sqlite:////data/runs/mlflow.db", "/data/runs/snapshots"),
        ("sqlite:////data/runs/mlflow.db?timeout=60", "/data/runs/snapshots"),
        ("/data/mlruns", "/data/snapshots"),
        ("file:///data/mlruns", "/data/snapshots"),
        ("http://127.0.0.1:5000", "{state}/imdb-conv1d/snapshots"),
        ("https://user:secret@tracking.example/path", "{state}/imdb-conv1d/snapshots"),
        ("postgresql+psycopg://mlflow@127.0.0.1/mlflow", "{state}/imdb-conv1d/snapshots"),
    ],
)
def test_root_is_beside_a_local_store_else_in_the_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, root: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert str(find_root("imdb-conv1d", uri)) == root.format(here=tmp_path, state=tmp_path / "state")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert str(find_root("imdb-conv1d", "http://x")) == f"{tmp_path}/.local/state/imdb-conv1d/snapshots"
    monkeypatch.setenv("IMDB_CONV1D_SNAPSHOTS", "~/elsewhere")
    assert str(find_root("imdb-conv1d", uri)) == f"{tmp_path}/elsewhere"
    assert str(find_root("imdb", "http://x")) == f"{tmp_path}/.local/state/imdb/snapshots"  # another experiment's


def start_process(code: str) -> "subprocess.Popen[str]":
    """Start a process that runs code, prints a line when ready, then waits."""
    program = f"import sys, time; sys.path.insert(0, {str(SRC)!r})\nfrom pathlib import Path\n"
    program += "from tracked.training.run_folder_lock import RunFolderLock\n"
    program += f"{code}\nprint('ready', flush=True)\nsys.stdin.readline()"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


def test_lock_held_by_another_process_raises_held_error_with_its_pid(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    other = start_process(f"folder_lock = RunFolderLock(); folder_lock.take(Path({str(folder)!r}))")
    holder = find_holder(folder)
    assert holder is not None
    assert (holder.pid, holder.host) == (other.pid, socket.gethostname())
    with (
        RunFolderLock() as folder_lock,
        pytest.raises(HeldError, match=rf"^process {other.pid} on host {socket.gethostname()}, since"),
    ):
        folder_lock.take(folder)
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert find_holder(folder) is None
    with RunFolderLock() as folder_lock:
        assert folder_lock.take(folder) == folder
        assert folder_lock.take(folder) == folder  # already held
        assert find_holder(folder).pid == os.getpid()
        (folder / "kept").touch()
    assert find_holder(folder) is None
    assert (folder / "kept").exists()


def test_take_during_many_find_holder_calls_succeeds(tmp_path: Path) -> None:
    folder, stop = tmp_path / "run", threading.Event()
    with RunFolderLock() as folder_lock:
        folder_lock.take(folder)
        (folder / "kept").touch()

    def find_repeatedly() -> None:
        while not stop.is_set():
            find_holder(folder)

    threads = [threading.Thread(target=find_repeatedly) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(50):
            with RunFolderLock() as folder_lock:
                folder_lock.take(folder)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_take_after_the_holder_removes_the_folder_makes_it_again(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    other = start_process(
        f"folder_lock = RunFolderLock(); folder = folder_lock.take(Path({str(folder)!r}))\n"
        "import threading\n"
        "threading.Timer(0.5, lambda: (folder_lock.remove(), folder_lock.__exit__(None, None, None))).start()"
    )
    start = time.monotonic()
    with RunFolderLock() as folder_lock:
        while True:
            try:
                folder_lock.take(folder)
                break
            except HeldError:
                assert time.monotonic() < start + 10
        assert folder.exists()
        assert find_holder(folder).pid == os.getpid()
    other.kill()


def test_lock_released_without_files_removes_the_folder(tmp_path: Path) -> None:
    with RunFolderLock() as folder_lock:
        folder_lock.take(tmp_path / "run")
        assert (tmp_path / "run" / LOCK).exists()
    assert not (tmp_path / "run").exists()
    with RunFolderLock():
        pass


def test_remove_with_other_files_removes_the_trainings_files_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hashed, folder, outside = "0f" * 32, tmp_path / "run", tmp_path / "outside"
    outside.mkdir()
    (outside / "journal.jsonl").write_text("another user's")
    own = [
        "attempts", "journal.jsonl", "best.keras", "best-12.keras", "partial-best-3.keras", f"epoch-3-{hashed}.npz",
        f"partial-epoch-3-{hashed}.npz", f"vocabulary-{hashed}.txt", f"partial-vocabulary-{hashed}.txt", "rows.parquet",
        "partial-rows.parquet", "history.csv", "early_stopping.csv", "training.png", "environment.json", "tmpab1_x2yz",
        f"aside-1/epoch-2-{hashed}.npz", "aside-1/best-2.keras", "aside-2/journal.jsonl",
    ]  # fmt: skip
    others = [
        "notes.txt", "best-of-all.keras", "epoch-3-0f.npz", "Journal.jsonl", "aside-2/lock", "aside-2/aside-1/x",
        "aside-x/best-2.keras", "artifacts/model/best.keras", "epochs/journal.jsonl",
    ]  # fmt: skip

    def fill(names: list[str]) -> None:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("x")

    with RunFolderLock(EXPERIMENT.file_patterns) as folder_lock:
        folder_lock.take(folder)
        fill([*own, *others])
        (folder / "history").symlink_to(outside)
        (folder / "aside-3").symlink_to(outside)
        (folder / "aside-2" / "best-1.keras").symlink_to(outside / "journal.jsonl")
        folder_lock.remove()
    left = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}
    assert left == {*others, "history", "aside-3", "aside-2/best-1.keras"}
    assert (outside / "journal.jsonl").read_text() == "another user's"
    warning = capsys.readouterr().err
    assert warning.startswith(
        f"{folder} was not removed, since not all in it is the training's: Journal.jsonl, artifacts, aside-2"
    )
    assert warning.count("\n") == 1
    shutil.rmtree(folder)
    with RunFolderLock(EXPERIMENT.file_patterns) as folder_lock:
        folder_lock.take(folder)
        fill(own)
        folder_lock.remove()
    assert not folder.exists()
    assert capsys.readouterr().err == ""
    with RunFolderLock() as folder_lock:  # of an experiment without file_patterns
        folder_lock.take(folder)
        fill(["journal.jsonl", f"vocabulary-{hashed}.txt"])
        folder_lock.remove()
    assert [path.name for path in folder.iterdir()] == [f"vocabulary-{hashed}.txt"]


def test_remove_of_a_link_or_a_folder_held_by_another_process_removes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with RunFolderLock() as folder_lock:
        folder_lock.take(tmp_path / "link")
        (tmp_path / "target" / "best-1.keras").touch()
        folder_lock.remove()
    assert (tmp_path / "target" / "best-1.keras").exists()
    assert "it is a link" in capsys.readouterr().err
    with RunFolderLock() as folder_lock:
        folder_lock.take(tmp_path / "run")
        shutil.rmtree(tmp_path / "run")
        with RunFolderLock() as other:
            other.take(tmp_path / "run")
            (tmp_path / "run" / "best-1.keras").touch()
            folder_lock.remove()
            assert (tmp_path / "run" / "best-1.keras").exists()


def test_attempts_of_what_is_not_a_run_folder_are_empty(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "binary").mkdir()
    (tmp_path / "binary" / "attempts").write_bytes(b"\xff\xfe")
    for name in ("nowhere", "file", "binary", "a\0b"):
        assert run_folder.read_attempts(tmp_path / name) == []


def test_holder_without_a_lock_file_is_none(tmp_path: Path) -> None:
    assert find_holder(tmp_path / "not there") is None
    (tmp_path / LOCK).write_text("no JSON")
    assert find_holder(tmp_path) is None
    shutil.rmtree(tmp_path)


def test_remove_killed_midway_keeps_the_attempts_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, removed = tmp_path / "run", []
    with RunFolderLock() as folder_lock:
        folder_lock.take(folder, "token")
        (folder / "journal.jsonl").write_text("")
        unlink = Path.unlink

        def killed(path: Path, missing_ok: bool = False) -> None:
            unlink(path, missing_ok)
            removed.append(path.name)
            if len(removed) == 1:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", killed)
            with pytest.raises(KeyboardInterrupt):
                folder_lock.remove()
        assert removed == ["journal.jsonl"]
        assert run_folder.read_attempts(folder) == ["token"]
        folder_lock.remove()
    assert not folder.exists()
