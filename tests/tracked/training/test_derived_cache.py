"""The cache of what trainings derive: what is found again, what is never read, what goes, and what a kill leaves."""

import json
import os
import random
import resource
import subprocess
import sys
import textwrap
import time
from collections import namedtuple
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from pydantic import Field

from helpers import SRC
from tracked.console.errors import UserError
from tracked.console.parameters import Switch
from tracked.console.train_parameters import TrainParameters
from tracked.experiment import Experiment, Metric
from tracked.training import array_file, derived_cache
from tracked.training.dataset_cache import DatasetCache
from tracked.training.derived_cache import DerivedCache
from tracked.training.table_dataset import TableDataset

pytestmark = pytest.mark.unit

KEY = {"what": "squares", "data": "ab12", "parameters": {"power": 2}}
ARRAYS = {
    "numbers": np.arange(100, dtype=np.uint16) ** 2, "grid": np.arange(6, dtype=np.int64).reshape(2, 3),
    "names": np.array([b"a", b"bcd"]), "none": np.zeros((0, 3), np.float32), "bytes": np.frombuffer(b"text", np.uint8),
}  # fmt: skip


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DerivedCache:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setenv("SQUARES_CACHE_GB", "1")
    return DerivedCache("squares")


def entries(cache: DerivedCache) -> list[Path]:
    return sorted(cache.folder.iterdir())


def keep(cache: DerivedCache, key: dict[str, Any] = KEY) -> Path:
    """Keep the arrays; returns the entry's file."""
    before = set(entries(cache)) if cache.folder.exists() else set()
    cache.keep(key, "squares", ARRAYS)
    (path,) = set(entries(cache)) - before
    return path


def assert_equal(found: Any) -> None:
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert np.array_equal(found[name], array)


def test_arrays_are_found_again_aligned_and_writable_without_a_change_of_the_file(
    cache: DerivedCache, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cache.find(KEY, "squares") is None
    content = keep(cache).read_bytes()
    for _ in range(2):
        found = cache.find(KEY, "squares")
        assert_equal(found)
        for array in found.values():
            assert array.flags.writeable
            assert array.ctypes.data % 64 == 0 or not array.size
        found["numbers"][:] = 7
    assert entries(cache)[0].read_bytes() == content
    assert capsys.readouterr() == ("", "")


def test_take_makes_arrays_once_and_says_when_they_were_not_made(
    cache: DerivedCache, capsys: pytest.CaptureFixture[str]
) -> None:
    made = []
    for _ in range(2):
        assert_equal(cache.take(KEY, "squares", lambda: made.append(1) or ARRAYS))
    assert made == [1]
    assert capsys.readouterr() == (f"squares: taken from an earlier training ({cache.folder})\n", "")
    cache.take(KEY, "squares", dict, is_told=False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "other",
    [
        {**KEY, "data": "ab13"}, {**KEY, "parameters": {"power": 3}}, {**KEY, "parameters": {"power": "2"}},
        {**KEY, "more": None}, {"what": "squares"},
    ],
)  # fmt: skip
def test_another_key_finds_nothing(cache: DerivedCache, other: dict[str, Any]) -> None:
    keep(cache)
    assert cache.find(other, "squares") is None
    assert_equal(cache.find(dict(reversed(KEY.items())), "squares"))


def test_another_format_finds_nothing(cache: DerivedCache, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(cache)
    monkeypatch.setattr(array_file, "FORMAT", 2)
    assert cache.find(KEY, "squares") is None


def test_entry_under_the_name_of_another_is_not_used(cache: DerivedCache, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = keep(cache), keep(cache, {**KEY, "data": "other"})
    second.replace(first)
    assert cache.find(KEY, "squares") is None
    assert "is of something else" in capsys.readouterr().err


def test_any_flipped_bit_and_any_length_is_found_and_the_entry_removed_with_a_line(
    cache: DerivedCache, capsys: pytest.CaptureFixture[str]
) -> None:
    path = keep(cache)
    content, chance = path.read_bytes(), random.Random(1)
    damages = [content[:length] for length in range(0, len(content), 7)] + [content + b"\0", b""]
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << chance.randrange(8)
        damages.append(bytes(flipped))
    for damage in damages:
        path.write_bytes(damage)
        path.chmod(0o600)
        assert cache.find(KEY, "squares") is None
        assert not path.exists()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"squares: what was kept is not used, as {path} is damaged"] * len(damages)
    assert_equal(cache.take(KEY, "squares", lambda: ARRAYS))
    assert_equal(cache.find(KEY, "squares"))


def open_file(path: Path) -> None:
    path.chmod(0o640)


def open_folder(path: Path) -> None:
    path.parent.chmod(0o750)


def give_file_away(path: Path) -> None:
    os.chown(path, 65534, -1)


def give_folder_away(path: Path) -> None:
    os.chown(path.parent, 65534, -1)


def make_link(path: Path) -> None:
    path.symlink_to(path.rename(path.with_name("elsewhere")))


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir(mode=0o700)


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize(
    ("spoil", "lines", "is_kept_again"),
    [
        (open_file, ["squares: what was kept is not used, as {path} is open to others"], True),
        (open_folder, ["squares: what was kept is not used, as {folder} is open to others"], True),
        (give_file_away, ["squares: what was kept is not used, as {path} is not this user's own"], True),
        (
            give_folder_away,
            ["squares: not kept for later trainings ({folder} belongs to another user; remove it)"],
            False,
        ),
        (
            make_link,
            ["squares: what was kept is not used, as [Errno 40] Too many levels of symbolic links: '{path}'"],
            True,
        ),
        (make_pipe, ["squares: what was kept is not used, as {path} is not this user's own"], True),
    ],
)
def test_entry_that_others_may_have_written_is_not_used(
    cache: DerivedCache, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None], lines: list[str],
    is_kept_again: bool,
) -> None:  # fmt: skip
    path = keep(cache)
    if "give" in spoil.__name__ and os.getuid():
        pytest.skip("only root can give files away")
    spoil(path)
    made = []
    assert_equal(cache.take(KEY, "squares", lambda: made.append(1) or ARRAYS))
    assert made == [1]
    expected = [line.format(path=path, folder=cache.folder) for line in lines]
    assert capsys.readouterr().err.splitlines() == expected
    assert (cache.find(KEY, "squares") is not None) == is_kept_again
    if is_kept_again:
        assert (cache.folder.stat().st_mode & 0o777, path.lstat().st_mode & 0o777) == (0o700, 0o600)


def test_folder_in_an_entrys_place_stays_and_the_training_goes_on(
    cache: DerivedCache, capsys: pytest.CaptureFixture[str]
) -> None:
    make_folder(keep(cache))
    assert_equal(cache.take(KEY, "squares", lambda: ARRAYS))
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert len(entries(cache)) == 1


def test_files_are_their_owners_alone_whatever_the_mask(cache: DerivedCache) -> None:
    former = os.umask(0)
    try:
        path = keep(cache)
    finally:
        os.umask(former)
    assert (cache.folder.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)


def size_in_gigabytes(*paths: Path) -> str:
    return repr(sum(path.stat().st_size for path in paths) / 1e9)


def test_least_recently_used_goes_first(cache: DerivedCache, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [keep(cache, {"n": n}) for n in range(3)]
    for age, path in enumerate(paths):
        os.utime(path, (time.time() - 100 + age,) * 2)
    assert_equal(cache.find({"n": 0}, "squares"))  # used
    foreign = cache.folder / "notes.txt"
    foreign.write_text("mine")
    monkeypatch.setenv("SQUARES_CACHE_GB", size_in_gigabytes(*paths))
    fourth = keep(DerivedCache("squares"), {"n": 3})
    assert entries(cache) == sorted([paths[0], paths[2], fourth, foreign])


def test_entry_that_is_mapped_stays_and_what_finds_no_room_is_not_kept(
    cache: DerivedCache, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = keep(cache)
    monkeypatch.setenv("SQUARES_CACHE_GB", size_in_gigabytes(path))
    small, found = DerivedCache("squares"), cache.find(KEY, "squares")
    small.keep({"n": 1}, "squares", ARRAYS)
    assert entries(cache) == [path]
    assert capsys.readouterr().err == (
        "squares: not kept for later trainings (what is in use leaves no room for 0.00 GB)\n"
    )
    assert_equal(found)
    del found
    small.keep({"n": 1}, "squares", ARRAYS)
    assert len(entries(cache)) == 1
    assert not path.exists()


def test_arrays_above_the_limit_or_half_of_the_free_disk_are_not_kept(
    cache: DerivedCache, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SQUARES_CACHE_GB", "1e-9")
    DerivedCache("squares").keep(KEY, "squares", ARRAYS)
    assert not cache.folder.exists()
    usage = namedtuple("usage", ["total", "used", "free"])
    monkeypatch.setattr(derived_cache.shutil, "disk_usage", lambda folder: usage(900, 400, 500))
    cache.keep(KEY, "squares", ARRAYS)
    assert entries(cache) == []
    begin = "squares: not kept for later trainings (0.00 GB are more than "
    assert capsys.readouterr().err == (f"{begin}SQUARES_CACHE_GB allows)\n{begin}half of the 0.00 GB that are free)\n")


def test_full_disk_leaves_nothing_and_is_told_in_one_line(
    cache: DerivedCache, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, limits[1]))
    try:
        cache.keep(KEY, "squares", ARRAYS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert entries(cache) == []
    assert capsys.readouterr().err == "squares: not kept for later trainings ([Errno 27] File too large)\n"


def test_place_that_cannot_be_written_is_told_in_one_line(
    cache: DerivedCache, capsys: pytest.CaptureFixture[str]
) -> None:
    (place := cache.folder.parents[1]).touch()
    assert_equal(cache.take(KEY, "squares", lambda: ARRAYS))
    found, expected = capsys.readouterr(), f"Not a directory: '{cache.folder}'"
    assert (found.out, len(found.err.splitlines())) == ("", 1), found.err
    assert expected in found.err
    assert place.is_file()


def test_user_without_a_home_has_no_cache(cache: DerivedCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", fail)
    assert_equal(DerivedCache("squares").take(KEY, "squares", lambda: ARRAYS))


CHILD = """
import os, sys
import numpy as np
from tracked.training import array_file, derived_cache
cache = derived_cache.DerivedCache("squares")
def end(*given):
    os.kill(os.getpid(), 9)
"""


def start(code: str) -> "subprocess.Popen[bytes]":
    program = f"import sys; sys.path.insert(0, {str(SRC)!r})\n{CHILD}{textwrap.dedent(code)}"
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.parametrize(
    ("code", "left"),
    [
        ("array_file.flush = end", 1),
        ("array_file.os.fsync = end", 1),
        ("array_file.Path.replace = end", 1),
        ("array_file.fcntl.flock = end", 1),
    ],
)
def test_kill_while_an_entry_is_written_leaves_nothing_that_is_read(
    cache: DerivedCache, code: str, left: int, capsys: pytest.CaptureFixture[str]
) -> None:
    process = start(f"{code}\ncache.keep({KEY!r}, 'squares', dict(numbers=np.arange(100)))")
    assert process.wait() == -9
    assert len(entries(cache)) == left
    assert cache.find(KEY, "squares") is None
    path = keep(cache)
    assert entries(cache) == [path]  # what the kill has left is removed
    assert_equal(cache.find(KEY, "squares"))
    assert capsys.readouterr().err == ""


REPEAT = """
n = 0
print("ready", flush=True)
while True:
    n += 1
    cache.keep({"n": n % 4}, "squares", {"numbers": np.full(30_000, n % 4)})
"""


def test_kills_at_any_moment_leave_whole_entries_alone(cache: DerivedCache, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(2)
    for _ in range(4):
        process = start(REPEAT)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(chance.uniform(0, 0.05))
        process.kill()
        assert process.communicate()[0] == b""
        for n in range(4):
            found = cache.find({"n": n}, "squares")
            assert found is None or np.array_equal(found["numbers"], np.full(30_000, n))
    keep(cache)
    assert all(path.name.endswith(".arrays") and not path.name.startswith("partial") for path in entries(cache))
    assert capsys.readouterr().err == ""


TAKE = """
for n in range(200):
    key = n % 7
    found = cache.take({"n": key}, "squares", lambda: {"numbers": np.full(9_000, key)}, is_told=False)
    assert np.array_equal(found["numbers"], np.full(9_000, key))
    del found
"""


def test_processes_at_once_get_whole_arrays_while_entries_are_pruned(
    cache: DerivedCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQUARES_CACHE_GB", "0.0004")  # of five or six of seven entries
    processes = [start(TAKE) for _ in range(3)]
    said = [process.communicate()[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    # An entry that another process has mapped at the moment may leave no room; nothing is ever damaged.
    assert all("in use leaves no room" in line for line in "".join(said).splitlines()), said
    assert not [path for path in entries(cache) if path.name.startswith("partial")]


@pytest.mark.parametrize("value", ["two", "-1", "nan", "inf", "2 GB"])
def test_wrong_setting_is_refused_before_data_are_read_and_is_no_cache_elsewhere(
    cache: DerivedCache, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("SQUARES_CACHE_GB", value)
    with pytest.raises(UserError) as refused:
        DatasetCache(Squares()).load(Parameters(), "")
    allowed = "allowed: a number of gigabytes, 0 for no cache"
    assert str(refused.value) == f"SQUARES_CACHE_GB: {value!r} is not allowed; {allowed}"
    assert_equal(DerivedCache("squares").take(KEY, "squares", lambda: ARRAYS))
    assert not cache.folder.exists()


def test_limit_is_two_gigabytes_unless_set_and_zero_reads_and_writes_nothing(
    cache: DerivedCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(cache)
    monkeypatch.setenv("SQUARES_CACHE_GB", "0")
    off = DerivedCache("squares")
    assert off.find(KEY, "squares") is None
    off.keep({"n": 1}, "squares", ARRAYS)
    assert len(entries(cache)) == 1
    monkeypatch.setenv("SQUARES_CACHE_GB", "0.5")
    assert derived_cache.read_limit("squares") == 5e8
    monkeypatch.delenv("SQUARES_CACHE_GB")
    assert derived_cache.read_limit("squares") == 2e9


def test_folder_is_beside_the_users_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert DerivedCache("my-squares").folder == tmp_path / ".cache" / "my-squares" / "derived"


class Parameters(TrainParameters):
    """Train on squares."""

    power: int = Field(2, ge=1, le=9, description="Power")
    log_rows: Switch = Field(True, description="Whether rows may be stored")


class Squares(Experiment):
    """A small experiment that derives an array of its rows, slowly."""

    name = "squares"
    Parameters = Parameters
    metrics = (Metric("loss", "min"),)
    inputs_switch = "log_rows"
    data_parameters: ClassVar[Sequence[str]] = ()

    def __init__(self) -> None:
        self.derived: list[int] = []

    def load(self, parameters: Parameters, source: str) -> Any:
        return TableDataset("made up", pd.DataFrame({"a": range(50), "b": range(50)}), "b")

    def build(self, parameters: Parameters, dataset: Any, folder: Path, resumed_tags: Any) -> Any:
        def derive() -> dict[str, np.ndarray]:
            self.derived.append(parameters.power)
            return {"powers": dataset.table["a"].to_numpy() ** parameters.power}

        key = {"data": dataset.digest, "power": parameters.power}
        return DerivedCache.of(self, parameters).take(key, "powers", derive)["powers"]


def test_experiment_derives_once_for_equal_data_and_parameters(cache: DerivedCache, tmp_path: Path) -> None:
    experiment = Squares()
    dataset = experiment.load(Parameters(), "")
    for power, seed in ((2, 1), (2, 2), (3, 1), (2, 3)):
        built = experiment.build(Parameters(power=power, seed=seed), dataset, tmp_path, {})
        assert np.array_equal(built, np.arange(50) ** power)
    assert experiment.derived == [2, 3]


def test_inputs_that_may_not_be_stored_are_neither_written_nor_read(cache: DerivedCache, tmp_path: Path) -> None:
    experiment, private = Squares(), Parameters(log_rows=False)
    dataset = experiment.load(private, "")
    experiment.build(private, dataset, tmp_path, {})
    assert not cache.folder.exists()
    experiment.build(Parameters(), dataset, tmp_path, {})
    (path,) = entries(cache)
    read = path.stat()
    experiment.build(private, dataset, tmp_path, {})
    assert (path.stat().st_mtime_ns, path.stat().st_atime_ns) == (read.st_mtime_ns, read.st_atime_ns)
    assert experiment.derived == [2, 2, 2]


def test_key_is_written_in_the_entry_for_people(cache: DerivedCache) -> None:
    _, _, rest = keep(cache).read_bytes().partition(b"{")
    assert json.loads(b"{" + rest.partition(b"\n")[0])["key"] == KEY
