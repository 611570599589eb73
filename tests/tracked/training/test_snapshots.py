import errno
import hashlib
import io
import json
import os
import pickle
import resource
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracked.training import reproducibility, snapshot_file
from tracked.training.files import sha256_of, write_safely
from tracked.training.snapshot_file import FORMAT, Snapshot
from tracked.training.snapshots import Snapshots

pytestmark = pytest.mark.unit

METADATA = {
    "journal": {"bytes": 10, "sha256": "0f"},
    "checkpoint": {"epoch": 1, "value": 0.5, "sha256": "0f", "data": ""},
    "random": reproducibility.get_random_states(),
    "facts": {"cpu": "one of 2 cores"},
}


def snapshot(epoch: int) -> Snapshot:
    arrays = [np.full((3, 2), epoch / 3, np.float32), np.array(epoch, np.int64), np.zeros((0,), np.uint32)]
    return Snapshot(epoch, METADATA, arrays)


def accept(loaded: Snapshot) -> None:
    """Accept every snapshot."""


def write_snapshots(folder: Path, epochs: int) -> Snapshots:
    snapshots = Snapshots(folder)
    for epoch in range(1, epochs + 1):
        snapshots.write(snapshot(epoch))
    return snapshots


def is_same(loaded: Snapshot | None, epoch: int) -> bool:
    expected = snapshot(epoch)
    assert loaded is not None
    assert loaded.epoch == epoch
    assert loaded.metadata == json.loads(json.dumps(METADATA | {"format": FORMAT, "epoch": epoch}))
    return all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in zip(loaded.arrays, expected.arrays, strict=True)
    )


def test_load_of_the_newest_snapshot_has_equal_bits_and_two_are_kept(tmp_path: Path) -> None:
    snapshots = write_snapshots(tmp_path, 12)
    assert is_same(snapshots.load_newest(accept), 12)
    assert snapshots.last_epoch == 12
    assert sorted(path.name.split("-")[1] for path in tmp_path.iterdir()) == [
        "11",
        "12",
    ]  # by name, 9 would be the newest


def test_load_from_an_empty_folder_is_none(tmp_path: Path) -> None:
    assert Snapshots(tmp_path).load_newest(accept) is None
    assert Snapshots(tmp_path / "not there").last_epoch == 0


def name_of(content: bytes, epoch: int) -> str:
    return f"epoch-{epoch}-{hashlib.sha256(content).hexdigest()}.npz"


def repacked(metadata: object, *arrays: np.ndarray, save: Callable[..., None] = np.savez) -> bytes:
    file = io.BytesIO()
    packed = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    save(file, facts=packed, **{f"array-{number}": array for number, array in enumerate(arrays)})
    return file.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:],
        lambda content: content + b"more",
    ],
    ids=["truncated", "empty", "one bit flipped", "longer"],
)
def test_load_with_a_damaged_newest_snapshot_uses_the_one_before_and_warns(
    tmp_path: Path, damage: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    snapshots = write_snapshots(tmp_path, 3)
    (newest,) = tmp_path.glob("epoch-3-*")
    newest.write_bytes(damage(newest.read_bytes()))
    assert is_same(snapshots.load_newest(accept), 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("the snapshot of epoch 3 is unusable (damaged: the content does not match the SHA-256")
    assert snapshots.last_epoch == 2
    snapshots.write(snapshot(3))  # trained again
    assert is_same(snapshots.load_newest(accept), 3)


class Bomb:
    """An object whose unpickling makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_load_of_a_pickled_snapshot_runs_no_code(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    assert pickle.loads(pickle.dumps(Bomb(mark))) is None  # the bomb works
    mark.rmdir()
    folder = tmp_path / "snapshots"
    folder.mkdir()
    malicious = repacked({"format": FORMAT, "epoch": 9}, np.array([Bomb(mark)], dtype=object))
    (folder / name_of(malicious, 9)).write_bytes(malicious)
    pickled = pickle.dumps(Bomb(mark))
    (folder / name_of(pickled, 8)).write_bytes(pickled)
    assert Snapshots(folder).load_newest(accept) is None
    assert not mark.exists()


def test_load_of_a_compressed_snapshot_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    huge = repacked({"format": FORMAT, "epoch": 1}, np.zeros(10**6), save=np.savez_compressed)
    assert len(huge) < 10**5
    (tmp_path / name_of(huge, 1)).write_bytes(huge)
    assert Snapshots(tmp_path).load_newest(accept) is None
    assert "compressed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": FORMAT + 1, "epoch": 1}, f"format {FORMAT + 1} is unknown; known: {FORMAT}"),
        ({"format": FORMAT, "epoch": 2}, "the epoch differs from the name's"),
        ({}, "format"),
        ([], "the metadata have no format"),
    ],
)
def test_load_of_an_unknown_format_warns_with_the_reason(
    tmp_path: Path, metadata: object, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = repacked(metadata, np.zeros(2))
    (tmp_path / name_of(content, 1)).write_bytes(content)
    assert Snapshots(tmp_path).load_newest(accept) is None
    assert message in capsys.readouterr().err


def metadata_with(path: str, value: object) -> dict[str, object]:
    """Metadata with another value at a path."""
    metadata = json.loads(json.dumps(METADATA | {"format": FORMAT, "epoch": 2}))
    *parents, name = path.split(".")
    node = metadata
    for parent in parents:
        node = node[int(parent)] if isinstance(node, list) else node[parent]
    if isinstance(node, list):
        node[int(name)] = value
    elif value is None:
        del node[name]
    else:
        node[name] = value
    return metadata


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        *((path, None, path) for path in ("journal", "journal.bytes", "checkpoint.epoch", "random.numpy", "facts")),
        ("checkpoint", "x", "checkpoint.epoch"),
        ("checkpoint.epoch", "../../2", "checkpoint.epoch"),
        ("checkpoint.epoch", True, "checkpoint.epoch"),
        ("checkpoint.epoch", -1, "checkpoint.epoch"),
        ("checkpoint.epoch", 3, "a later epoch"),
        ("checkpoint.value", "0.5", "checkpoint.value"),
        ("checkpoint.sha256", 5, "checkpoint.sha256"),
        ("checkpoint.data", [], "checkpoint.data"),
        ("journal.bytes", 1.5, "journal.bytes"),
        ("journal.sha256", {}, "journal.sha256"),
        ("random.python", "x", "random.python"),
        ("random.python.0", 2, "random.python"),
        ("random.python.1.3", 2**32, "random.python"),
        ("random.python.1.624", 625, "random.python"),
        ("random.python.1", [1, 2], "random.python"),
        ("random.numpy.0", "PCG64", "random.numpy"),
        ("random.numpy.1.5", "x", "random.numpy"),
        ("random.numpy.2", 10**6, "random.numpy"),  # NumPy would read beyond its memory
        ("random.numpy.4", "x", "random.numpy"),
        ("facts.cpu", 2, "facts"),
    ],
)
def test_load_with_invalid_metadata_uses_the_snapshot_before(
    tmp_path: Path, path: str, value: object, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshots = write_snapshots(tmp_path, 1)
    content = repacked(metadata_with(path, value), np.zeros(2))
    (tmp_path / name_of(content, 2)).write_bytes(content)

    def use(loaded: Snapshot) -> None:
        assert loaded.epoch == 1, "the invalid snapshot was used"

    assert is_same(snapshots.load_newest(use), 1)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("the snapshot of epoch 2 is unusable (")
    assert reason.split(".")[0] in line


def test_load_with_additional_metadata_keeps_them(tmp_path: Path) -> None:
    content = repacked(metadata_with("more", "of a later version"), np.zeros(2))
    (tmp_path / name_of(content, 2)).write_bytes(content)
    loaded = Snapshots(tmp_path).load_newest(accept)
    assert loaded is not None
    assert loaded.metadata["more"] == "of a later version"


@pytest.mark.parametrize(
    "mistake", [TypeError("missing 1 required argument"), KeyError("val_loss"), AttributeError("no"), RuntimeError()]
)
def test_load_with_an_error_in_the_code_raises_it_and_moves_no_file(tmp_path: Path, mistake: Exception) -> None:
    snapshots = write_snapshots(tmp_path, 2)
    (tmp_path / "best-1.keras").write_text("the best")
    before = sorted(tmp_path.iterdir())

    def mistaken(loaded: Snapshot) -> None:
        if loaded.epoch == 2:
            raise ValueError("the state belongs to another network")
        raise mistake

    with pytest.raises(type(mistake)):
        snapshots.load_newest(mistaken)
    assert sorted(tmp_path.iterdir()) == before
    assert is_same(snapshots.load_newest(accept), 2)


@given(st.data())
def test_load_of_any_content_uses_the_snapshot_or_sets_it_aside(
    tmp_path_factory: pytest.TempPathFactory, data: Any
) -> None:
    """With the right name and checksums: damaged headers of arrays, members of other names."""
    folder, out = tmp_path_factory.mktemp("any"), io.BytesIO()
    whole = repacked(metadata_with("more", 1), np.zeros((3, 2)), np.array(5))
    with zipfile.ZipFile(io.BytesIO(whole)) as file, zipfile.ZipFile(out, "w") as copy:
        for member in file.infolist():
            content = bytearray(file.read(member))
            for _ in range(data.draw(st.integers(0, 2))):
                index, new = data.draw(st.integers(0, 127)), data.draw(st.binary(max_size=2))
                content[index : index + 1] = new
            copy.writestr(data.draw(st.sampled_from([member.filename, "array-7.npy"])), bytes(content))
    content = data.draw(st.sampled_from([out.getvalue(), whole[: data.draw(st.integers(0, len(whole)))]]))
    (folder / name_of(content, 2)).write_bytes(content)
    loaded = Snapshots(folder).load_newest(accept)
    assert (loaded is None) == (folder / "aside-1").exists()
    assert (loaded is not None) == (Snapshots(folder).last_epoch == 2)


def test_load_of_a_snapshot_that_does_not_fit_uses_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshots = write_snapshots(tmp_path, 2)

    def fits(loaded: Snapshot) -> None:
        if loaded.epoch == 2:
            raise ValueError("the state belongs to another network")

    assert is_same(snapshots.load_newest(fits), 1)
    assert "another network" in capsys.readouterr().err


def test_write_removes_files_that_no_kept_snapshot_needs(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path, lambda metadata: [f"best-{metadata['best']}.keras"])
    for name in ("best-7.keras", "partial-best-3.keras", "journal.jsonl", "lock", "rows.parquet"):
        (tmp_path / name).write_text("")
    for epoch, best in ((1, 1), (2, 2), (3, 2)):
        (tmp_path / f"best-{best}.keras").write_text("")
        snapshots.write(Snapshot(epoch, METADATA | {"best": best}, []))
        assert (tmp_path / "best-1.keras").exists() == (epoch < 3)
    rest = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("epoch-"))
    assert rest == ["best-2.keras", "journal.jsonl", "lock", "rows.parquet"]


def test_failed_write_leaves_the_earlier_snapshots_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshots = write_snapshots(tmp_path, 2)
    before = sorted(tmp_path.iterdir())

    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        snapshots.write(snapshot(3))
    assert sorted(tmp_path.iterdir()) == before
    assert is_same(snapshots.load_newest(accept), 2)


CALLS = ("fsync", "replace", "unlink", "rename", "open")


@pytest.mark.parametrize("moment", range(16))
def test_write_killed_at_any_call_leaves_complete_snapshots(tmp_path: Path, moment: int) -> None:
    """A child process writes the third snapshot and kills itself at its n-th call to the disk."""
    snapshots = write_snapshots(tmp_path, 2)
    child = os.fork()
    if child == 0:
        remaining = [moment]

        def kill_in_time(function: Callable[..., object]) -> Callable[..., object]:
            def wrapped(*arguments: object, **named: object) -> object:
                if remaining[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                remaining[0] -= 1
                return function(*arguments, **named)

            return wrapped

        for name in CALLS:
            setattr(os, name, kill_in_time(getattr(os, name)))
        io.open = kill_in_time(io.open)  # called by Path.write_bytes
        snapshots.write(snapshot(3))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    newest = Snapshots(tmp_path).load_newest(accept)
    assert newest is not None
    assert is_same(newest, newest.epoch)
    assert newest.epoch == 3 if os.WIFEXITED(status) else newest.epoch in (2, 3)


def test_kills_at_any_call_cover_the_whole_write(tmp_path: Path) -> None:
    """The last of the moments above is after the write's end: each of its calls was a moment."""
    snapshots, calls = write_snapshots(tmp_path, 2), []
    functions = {name: getattr(os, name) for name in CALLS}
    with pytest.MonkeyPatch.context() as patch:
        for name, function in functions.items():
            patch.setattr(
                os, name, lambda *a, function=function, name=name, **n: (calls.append(name), function(*a, **n))[1]
            )
        patch.setattr(io, "open", lambda *a, function=io.open, **n: (calls.append("io"), function(*a, **n))[1])
        snapshots.write(snapshot(3))
    assert 5 < len(calls) <= 15
    assert {"fsync", "replace", "unlink"} <= set(calls)


def test_safe_write_flushes_the_file_before_and_the_folder_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(os.fstat(fd).st_ino), fsync(fd))[1])
    monkeypatch.setattr(Path, "replace", lambda self, to: (calls.append("rename"), replace(self, to))[1])
    write_safely(tmp_path / "file", lambda path: path.write_text("content"))
    assert calls == [(tmp_path / "file").stat().st_ino, "rename", tmp_path.stat().st_ino]
    assert sha256_of(tmp_path / "file") == hashlib.sha256(b"content").hexdigest()


def test_snapshot_file_opens_with_numpy_alone(tmp_path: Path) -> None:
    write_snapshots(tmp_path, 1)
    (path,) = tmp_path.iterdir()
    with np.load(path, allow_pickle=False) as file:
        assert json.loads(file["facts"].tobytes())["epoch"] == 1
        assert np.array_equal(file["array-0"], snapshot(1).arrays[0])
    with zipfile.ZipFile(path) as file:
        assert {member.compress_type for member in file.infolist()} == {zipfile.ZIP_STORED}
    assert snapshot_file.NAME.match(path.name)


def test_load_of_an_array_longer_than_its_member_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """NumPy would allocate the claimed memory before it reaches the file's end."""
    content = repacked({"format": FORMAT, "epoch": 1}, np.zeros(1000))
    with zipfile.ZipFile(io.BytesIO(content)) as file, io.BytesIO() as out:
        with zipfile.ZipFile(out, "w") as copy:
            for member in file.infolist():
                copy.writestr(member.filename, file.read(member).replace(b"(1000,)", b"(9999,)"))
        longer = out.getvalue()
    (tmp_path / name_of(longer, 1)).write_bytes(longer)
    assert Snapshots(tmp_path).load_newest(accept) is None
    assert "an array's length differs from its header's" in capsys.readouterr().err


def test_snapshots_set_aside_are_usable_once_moved_back(tmp_path: Path) -> None:
    snapshots = write_snapshots(tmp_path, 3)
    (tmp_path / "best-2.keras").write_text("the best")
    (tmp_path / "journal.jsonl").write_text("the history")

    def other_code(loaded: Snapshot) -> None:
        raise ValueError("the state belongs to another network")

    assert snapshots.load_newest(other_code) is None
    assert snapshots.last_epoch == 0
    (aside,) = tmp_path.iterdir()
    assert {path.name.split("-")[0] for path in aside.iterdir()} == {"epoch", "best", "journal.jsonl"}
    for path in aside.iterdir():
        path.rename(tmp_path / path.name)
    assert is_same(Snapshots(tmp_path).load_newest(accept), 3)


def test_load_with_a_disk_error_raises_it_and_keeps_the_snapshots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots = write_snapshots(tmp_path, 2)

    def broken(path: Path) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", broken)
        with pytest.raises(OSError, match="Input/output"):
            snapshots.load_newest(accept)
    assert is_same(snapshots.load_newest(accept), 2)


def test_last_epoch_during_writes_of_another_process_is_read(tmp_path: Path) -> None:
    """The verb unfinished also reads the folders of running trainings."""
    child = os.fork()
    if child == 0:
        write_snapshots(tmp_path, 300)
        os._exit(0)
    epochs = set()
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        epochs.add(Snapshots(tmp_path).last_epoch)
    os.waitpid(child, 0)
    assert len(epochs) > 2
    assert Snapshots(tmp_path).last_epoch == 300


def test_write_after_damage_to_earlier_snapshots_succeeds(tmp_path: Path) -> None:
    snapshots = write_snapshots(tmp_path, 2)
    for path in tmp_path.glob("epoch-*"):
        path.write_bytes(b"damaged")
    snapshots.write(snapshot(3))
    assert is_same(snapshots.load_newest(accept), 3)


def test_write_to_a_full_disk_leaves_the_earlier_snapshots(tmp_path: Path) -> None:
    """A limit on the size of files stands for a disk that fills up within a file."""
    write_snapshots(tmp_path, 2)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        try:
            Snapshots(tmp_path).write(snapshot(3))
        except OSError as error:
            os._exit(7 if error.errno == errno.EFBIG else 8)
        os._exit(9)
    _, status = os.waitpid(child, 0)
    assert os.WEXITSTATUS(status) == 7
    assert is_same(Snapshots(tmp_path).load_newest(accept), 2)
    assert all(path.name.startswith("epoch-") for path in tmp_path.iterdir())


@pytest.mark.parametrize("ending", [".part", ".bak", "~", ".npz"])
def test_write_beside_a_file_that_only_begins_like_a_snapshot_keeps_two_snapshots(tmp_path: Path, ending: str) -> None:
    snapshots = write_snapshots(tmp_path, 2)
    (second,) = tmp_path.glob("epoch-2-*.npz")
    other = tmp_path / f"{second.name}{ending}"
    other.write_bytes(b"half a copy")
    snapshots.write(snapshot(3))
    assert second.exists()
    next(tmp_path.glob("epoch-3-*.npz")).write_bytes(b"damaged")
    assert is_same(Snapshots(tmp_path).load_newest(accept), 2)
    assert other.exists()
