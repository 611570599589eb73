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
from hypothesis import given, settings
from hypothesis import strategies as st

from tracked.training import reproducibility, snapshot_file
from tracked.training.files import sha256_of, write_safely
from tracked.training.snapshot_file import FORMAT, Snapshot
from tracked.training.snapshots import Snapshots

FACTS = {
    "journal": {"bytes": 10, "sha256": "0f"},
    "checkpoint": {"epoch": 1, "value": 0.5, "sha256": "0f", "data": ""},
    "random": reproducibility.get_random_states(),
    "facts": {"cpu": "one of 2 cores"},
}


def snapshot(epoch: int) -> Snapshot:
    arrays = [np.full((3, 2), epoch / 3, np.float32), np.array(epoch, np.int64), np.zeros((0,), np.uint32)]
    return Snapshot(epoch, FACTS, arrays)


def any_will_do(found: Snapshot) -> None:
    """Every snapshot is usable."""


def written(folder: Path, epochs: int) -> Snapshots:
    made = Snapshots(folder)
    for epoch in range(1, epochs + 1):
        made.write(snapshot(epoch))
    return made


def same(found: Snapshot | None, epoch: int) -> bool:
    wanted = snapshot(epoch)
    assert found is not None
    assert found.epoch == epoch
    assert found.metadata == json.loads(json.dumps(FACTS | {"format": FORMAT, "epoch": epoch}))
    return all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in zip(found.arrays, wanted.arrays, strict=True)
    )


def test_the_newest_comes_back_to_the_last_bit_and_the_two_newest_are_kept(tmp_path: Path) -> None:
    made = written(tmp_path, 12)
    assert same(made.load_newest(any_will_do), 12)
    assert made.last_epoch == 12
    assert sorted(path.name.split("-")[1] for path in tmp_path.iterdir()) == ["11", "12"]  # 9 would come after by name


def test_an_empty_folder_has_none(tmp_path: Path) -> None:
    assert Snapshots(tmp_path).load_newest(any_will_do) is None
    assert Snapshots(tmp_path / "not there").last_epoch == 0


def named(content: bytes, epoch: int) -> str:
    return f"epoch-{epoch}-{hashlib.sha256(content).hexdigest()}.npz"


def repacked(facts: object, *arrays: np.ndarray, save: Callable[..., None] = np.savez) -> bytes:
    file = io.BytesIO()
    told = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    save(file, facts=told, **{f"array-{number}": array for number, array in enumerate(arrays)})
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
def test_a_damaged_newest_one_falls_back_to_the_one_before_and_says_so(
    tmp_path: Path, damage: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    made = written(tmp_path, 3)
    (newest,) = tmp_path.glob("epoch-3-*")
    newest.write_bytes(damage(newest.read_bytes()))
    assert same(made.load_newest(any_will_do), 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("the snapshot of epoch 3 cannot be used (its content is not what its name says")
    assert made.last_epoch == 2
    made.write(snapshot(3))  # trained once more
    assert same(made.load_newest(any_will_do), 3)


class Bomb:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    mark = tmp_path / "it ran"
    assert pickle.loads(pickle.dumps(Bomb(mark))) is None  # it does work
    mark.rmdir()
    place = tmp_path / "snapshots"
    place.mkdir()
    malicious = repacked({"format": FORMAT, "epoch": 9}, np.array([Bomb(mark)], dtype=object))
    (place / named(malicious, 9)).write_bytes(malicious)
    pickled = pickle.dumps(Bomb(mark))
    (place / named(pickled, 8)).write_bytes(pickled)
    assert Snapshots(place).load_newest(any_will_do) is None
    assert not mark.exists()


def test_what_would_grow_when_unpacked_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    huge = repacked({"format": FORMAT, "epoch": 1}, np.zeros(10**6), save=np.savez_compressed)
    assert len(huge) < 10**5
    (tmp_path / named(huge, 1)).write_bytes(huge)
    assert Snapshots(tmp_path).load_newest(any_will_do) is None
    assert "compressed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"format": FORMAT + 1, "epoch": 1}, f"it has format {FORMAT + 1}, and here format {FORMAT} is known"),
        ({"format": FORMAT, "epoch": 2}, "it is of another epoch than its name says"),
        ({}, "format"),
        ([], "it does not say its format"),
    ],
)
def test_what_cannot_be_understood_is_said(
    tmp_path: Path, facts: object, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = repacked(facts, np.zeros(2))
    (tmp_path / named(content, 1)).write_bytes(content)
    assert Snapshots(tmp_path).load_newest(any_will_do) is None
    assert message in capsys.readouterr().err


def changed(path: str, value: object) -> dict[str, object]:
    """A training's facts with another value at a path."""
    facts = json.loads(json.dumps(FACTS | {"format": FORMAT, "epoch": 2}))
    *above, name = path.split(".")
    place = facts
    for one in above:
        place = place[int(one)] if isinstance(place, list) else place[one]
    if isinstance(place, list):
        place[int(name)] = value
    elif value is None:
        del place[name]
    else:
        place[name] = value
    return facts


@pytest.mark.parametrize(
    ("path", "value", "what"),
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
        ("random.numpy.2", 10**6, "random.numpy"),  # where NumPy would read memory that is not its own
        ("random.numpy.4", "x", "random.numpy"),
        ("facts.cpu", 2, "facts"),
    ],
)
def test_facts_that_are_not_those_of_the_format_make_a_snapshot_unusable(
    tmp_path: Path, path: str, value: object, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = written(tmp_path, 1)
    content = repacked(changed(path, value), np.zeros(2))
    (tmp_path / named(content, 2)).write_bytes(content)

    def use(found: Snapshot) -> None:
        assert found.epoch == 1, "it was used"

    assert same(made.load_newest(use), 1)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("the snapshot of epoch 2 cannot be used (its ")
    assert what.split(".")[0] in line


def test_more_facts_than_are_known_here_do_no_harm(tmp_path: Path) -> None:
    content = repacked(changed("more", "of a later version"), np.zeros(2))
    (tmp_path / named(content, 2)).write_bytes(content)
    found = Snapshots(tmp_path).load_newest(any_will_do)
    assert found is not None
    assert found.metadata["more"] == "of a later version"


@pytest.mark.parametrize(
    "mistake", [TypeError("missing 1 required argument"), KeyError("val_loss"), AttributeError("no"), RuntimeError()]
)
def test_a_mistake_in_the_code_is_no_damage_and_leaves_both_snapshots(tmp_path: Path, mistake: Exception) -> None:
    made = written(tmp_path, 2)
    (tmp_path / "best-1.keras").write_text("the best")
    before = sorted(tmp_path.iterdir())

    def mistaken(found: Snapshot) -> None:
        if found.epoch == 2:
            raise ValueError("it is the state of another network")
        raise mistake

    with pytest.raises(type(mistake)):
        made.load_newest(mistaken)
    assert sorted(tmp_path.iterdir()) == before
    assert same(made.load_newest(any_will_do), 2)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_a_file_holds_it_is_used_or_set_aside(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    """Rightly named, and with right checksums within: headers of arrays that are none, members of other names."""
    folder, out = tmp_path_factory.mktemp("any"), io.BytesIO()
    whole = repacked(changed("more", 1), np.zeros((3, 2)), np.array(5))
    with zipfile.ZipFile(io.BytesIO(whole)) as file, zipfile.ZipFile(out, "w") as copy:
        for member in file.infolist():
            content = bytearray(file.read(member))
            for _ in range(data.draw(st.integers(0, 2))):
                at, new = data.draw(st.integers(0, 127)), data.draw(st.binary(max_size=2))
                content[at : at + 1] = new
            copy.writestr(data.draw(st.sampled_from([member.filename, "array-7.npy"])), bytes(content))
    content = data.draw(st.sampled_from([out.getvalue(), whole[: data.draw(st.integers(0, len(whole)))]]))
    (folder / named(content, 2)).write_bytes(content)
    found = Snapshots(folder).load_newest(any_will_do)
    assert (found is None) == (folder / "aside-1").exists()
    assert (found is not None) == (Snapshots(folder).last_epoch == 2)


def test_one_that_does_not_fit_falls_back_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = written(tmp_path, 2)

    def fits(found: Snapshot) -> None:
        if found.epoch == 2:
            raise ValueError("it is the state of another network")

    assert same(made.load_newest(fits), 1)
    assert "the state of another network" in capsys.readouterr().err


def test_files_that_no_kept_snapshot_refers_to_are_removed(tmp_path: Path) -> None:
    made = Snapshots(tmp_path, lambda facts: [f"best-{facts['best']}.keras"])
    for name in ("best-7.keras", "partial-best-3.keras", "journal.jsonl", "lock", "rows.parquet"):
        (tmp_path / name).write_text("")
    for epoch, best in ((1, 1), (2, 2), (3, 2)):
        (tmp_path / f"best-{best}.keras").write_text("")
        made.write(Snapshot(epoch, FACTS | {"best": best}, []))
        assert (tmp_path / "best-1.keras").exists() == (epoch < 3)
    rest = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("epoch-"))
    assert rest == ["best-2.keras", "journal.jsonl", "lock", "rows.parquet"]


def test_a_write_that_fails_leaves_the_former_ones_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = written(tmp_path, 2)
    before = sorted(tmp_path.iterdir())

    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        made.write(snapshot(3))
    assert sorted(tmp_path.iterdir()) == before
    assert same(made.load_newest(any_will_do), 2)


CALLS = ("fsync", "replace", "unlink", "rename", "open")


@pytest.mark.parametrize("moment", range(16))
def test_a_kill_at_any_call_leaves_the_former_or_the_new_one_complete(tmp_path: Path, moment: int) -> None:
    """A child writes the third snapshot and kills itself at its n-th call that touches the disk."""
    made = written(tmp_path, 2)
    child = os.fork()
    if child == 0:
        left = [moment]

        def die_in_time(function: Callable[..., object]) -> Callable[..., object]:
            def wrapped(*arguments: object, **named: object) -> object:
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
                return function(*arguments, **named)

            return wrapped

        for name in CALLS:
            setattr(os, name, die_in_time(getattr(os, name)))
        io.open = die_in_time(io.open)  # what Path.write_bytes takes
        made.write(snapshot(3))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    newest = Snapshots(tmp_path).load_newest(any_will_do)
    assert newest is not None
    assert same(newest, newest.epoch)
    assert newest.epoch == 3 if os.WIFEXITED(status) else newest.epoch in (2, 3)


def test_the_kills_at_any_call_cover_the_whole_write(tmp_path: Path) -> None:
    """The last of the moments above is after the write's end, so all of its calls were met."""
    made, calls = written(tmp_path, 2), []
    counted = {name: getattr(os, name) for name in CALLS}
    with pytest.MonkeyPatch.context() as patch:
        for name, function in counted.items():
            patch.setattr(
                os, name, lambda *a, function=function, name=name, **n: (calls.append(name), function(*a, **n))[1]
            )
        patch.setattr(io, "open", lambda *a, function=io.open, **n: (calls.append("io"), function(*a, **n))[1])
        made.write(snapshot(3))
    assert 5 < len(calls) <= 15
    assert {"fsync", "replace", "unlink"} <= set(calls)


def test_a_file_is_flushed_before_it_is_renamed_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(os.fstat(fd).st_ino), fsync(fd))[1])
    monkeypatch.setattr(Path, "replace", lambda self, to: (calls.append("rename"), replace(self, to))[1])
    write_safely(tmp_path / "file", lambda path: path.write_text("content"))
    assert calls == [(tmp_path / "file").stat().st_ino, "rename", tmp_path.stat().st_ino]
    assert sha256_of(tmp_path / "file") == hashlib.sha256(b"content").hexdigest()


def test_arrays_are_stored_as_they_are(tmp_path: Path) -> None:
    """Anybody can open a snapshot with NumPy alone."""
    written(tmp_path, 1)
    (path,) = tmp_path.iterdir()
    with np.load(path, allow_pickle=False) as file:
        assert json.loads(file["facts"].tobytes())["epoch"] == 1
        assert np.array_equal(file["array-0"], snapshot(1).arrays[0])
    with zipfile.ZipFile(path) as file:
        assert {member.compress_type for member in file.infolist()} == {zipfile.ZIP_STORED}
    assert snapshot_file.NAME.match(path.name)


def test_an_array_that_claims_to_be_longer_than_its_place_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """NumPy would ask for all of that memory before it sees that the file ends."""
    content = repacked({"format": FORMAT, "epoch": 1}, np.zeros(1000))
    with zipfile.ZipFile(io.BytesIO(content)) as file, io.BytesIO() as out:
        with zipfile.ZipFile(out, "w") as copy:
            for member in file.infolist():
                copy.writestr(member.filename, file.read(member).replace(b"(1000,)", b"(9999,)"))
        longer = out.getvalue()
    (tmp_path / named(longer, 1)).write_bytes(longer)
    assert Snapshots(tmp_path).load_newest(any_will_do) is None
    assert "an array that is not as long as it says" in capsys.readouterr().err


def test_what_cannot_be_used_is_set_aside_and_can_be_put_back(tmp_path: Path) -> None:
    made = written(tmp_path, 3)
    (tmp_path / "best-2.keras").write_text("the best")
    (tmp_path / "journal.jsonl").write_text("the history")

    def other_code(found: Snapshot) -> None:
        raise ValueError("it is the state of another network")

    assert made.load_newest(other_code) is None
    assert made.last_epoch == 0
    (aside,) = tmp_path.iterdir()
    assert {path.name.split("-")[0] for path in aside.iterdir()} == {"epoch", "best", "journal.jsonl"}
    for path in aside.iterdir():
        path.rename(tmp_path / path.name)
    assert same(Snapshots(tmp_path).load_newest(any_will_do), 3)


def test_a_disk_that_cannot_be_read_just_now_says_nothing_against_a_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = written(tmp_path, 2)

    def broken(path: Path) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", broken)
        with pytest.raises(OSError, match="Input/output"):
            made.load_newest(any_will_do)
    assert same(made.load_newest(any_will_do), 2)


def test_snapshots_that_come_and_go_do_not_disturb_who_lists_them(tmp_path: Path) -> None:
    """The verb unfinished looks at trainings that are alive, too."""
    child = os.fork()
    if child == 0:
        written(tmp_path, 300)
        os._exit(0)
    seen = set()
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        seen.add(Snapshots(tmp_path).last_epoch)
    os.waitpid(child, 0)
    assert len(seen) > 2
    assert Snapshots(tmp_path).last_epoch == 300


def test_a_former_one_that_is_damaged_meanwhile_ends_nothing(tmp_path: Path) -> None:
    made = written(tmp_path, 2)
    for path in tmp_path.glob("epoch-*"):
        path.write_bytes(b"damaged")
    made.write(snapshot(3))
    assert same(made.load_newest(any_will_do), 3)


def test_a_full_disk_leaves_the_former_ones(tmp_path: Path) -> None:
    """A limit on the size of files, as a disk that has no room left within a file."""
    written(tmp_path, 2)
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
    assert same(Snapshots(tmp_path).load_newest(any_will_do), 2)
    assert all(path.name.startswith("epoch-") for path in tmp_path.iterdir())
