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

from imdb_conv1d import places
from imdb_conv1d.places import LOCK, Claim, HeldError, holder, root

SRC = Path(places.__file__).parent.parent


@pytest.mark.parametrize(
    ("uri", "place"),
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
def test_snapshots_are_beside_a_local_store_else_in_the_users_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert str(root(uri)) == place.format(here=tmp_path, state=tmp_path / "state")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert str(root("http://x")) == f"{tmp_path}/.local/state/imdb-conv1d/snapshots"
    monkeypatch.setenv(places.SETTING, "~/elsewhere")
    assert str(root(uri)) == f"{tmp_path}/elsewhere"


def process(code: str) -> "subprocess.Popen[str]":
    """Another process, which says a line when it is ready and then waits."""
    program = f"import sys, time; sys.path.insert(0, {str(SRC)!r})\nfrom pathlib import Path\n"
    program += f"from imdb_conv1d.places import Claim\n{code}\nprint('ready', flush=True)\nsys.stdin.readline()"
    started = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert started.stdout.readline() == "ready\n"
    return started


def test_one_process_holds_it_and_the_others_are_told_which(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    other = process(f"claim = Claim(); claim.take(Path({str(folder)!r}))")
    found = holder(folder)
    assert found is not None
    assert (found.pid, found.host) == (other.pid, socket.gethostname())
    with (
        Claim() as claim,
        pytest.raises(HeldError, match=rf"^process {other.pid} on host {socket.gethostname()}, since"),
    ):
        claim.take(folder)
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert holder(folder) is None
    with Claim() as claim:
        assert claim.take(folder) == folder
        assert claim.take(folder) == folder  # it is ours already
        assert holder(folder).pid == os.getpid()
        (folder / "kept").touch()
    assert holder(folder) is None
    assert (folder / "kept").exists()


def test_a_look_does_not_turn_away_who_wants_it(tmp_path: Path) -> None:
    folder, stop = tmp_path / "run", threading.Event()
    with Claim() as claim:
        claim.take(folder)
        (folder / "kept").touch()

    def look() -> None:
        while not stop.is_set():
            holder(folder)

    looking = [threading.Thread(target=look) for _ in range(3)]
    for thread in looking:
        thread.start()
    try:
        for _ in range(50):
            with Claim() as claim:
                claim.take(folder)
    finally:
        stop.set()
        for thread in looking:
            thread.join()


def test_a_folder_that_its_holder_removes_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    other = process(
        f"claim = Claim(); folder = claim.take(Path({str(folder)!r}))\n"
        "import threading\nthreading.Timer(0.5, lambda: (claim.remove(), claim.__exit__(None, None, None))).start()"
    )
    begun = time.monotonic()
    with Claim() as claim:
        while True:
            try:
                claim.take(folder)
                break
            except HeldError:
                assert time.monotonic() < begun + 10
        assert folder.exists()
        assert holder(folder).pid == os.getpid()
    other.kill()


def test_nothing_is_left_of_a_claim_that_kept_nothing(tmp_path: Path) -> None:
    with Claim() as claim:
        claim.take(tmp_path / "run")
        assert (tmp_path / "run" / LOCK).exists()
    assert not (tmp_path / "run").exists()
    with Claim():
        pass


def test_what_nobody_made_is_held_by_nobody(tmp_path: Path) -> None:
    assert holder(tmp_path / "not there") is None
    (tmp_path / LOCK).write_text("no JSON")
    assert holder(tmp_path) is None
    shutil.rmtree(tmp_path)
