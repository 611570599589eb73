"""The linear models' file in the run folder: complete or made anew."""

import errno
from pathlib import Path

import numpy as np
import pytest

from imdb_conv1d.ngram_model import ARRAYS, NgramModel, find, keep
from tracked.console.errors import RunFailed
from tracked.training import files


def make(seed: int = 0) -> NgramModel:
    chance = np.random.default_rng(seed)
    return NgramModel(
        np.array([3, 7, 40], np.int64),
        chance.normal(size=(6, 3)).astype(np.float32),
        chance.normal(size=(6, 3, 2)).astype(np.float32),
        chance.normal(size=(6, 2)).astype(np.float32),
    )


def never() -> NgramModel:
    raise AssertionError("made again")


def assert_equal(found: NgramModel, expected: NgramModel) -> None:
    for name in ARRAYS:
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)


def test_model_is_kept_once_and_read_again(tmp_path: Path) -> None:
    assert_equal(keep(tmp_path, make), make())
    (file,) = tmp_path.iterdir()
    assert file == find(tmp_path)
    assert file.read_bytes() == make().to_bytes()  # no time, no path: equal bytes of equal arrays
    assert_equal(keep(tmp_path, never), make())
    assert make().outputs == 2


@pytest.mark.parametrize("damage", ["cut", "changed", "partial"])
def test_damaged_file_is_not_taken_but_made_anew(tmp_path: Path, damage: str) -> None:
    keep(tmp_path, make)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        file.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    else:  # a training that was killed as it wrote
        file.rename(tmp_path / f"partial-{file.name}")
    with pytest.raises(FileNotFoundError, match="no complete n-grams"):
        find(tmp_path)
    made = []
    assert_equal(keep(tmp_path, lambda: made.append(1) or make()), make())  # type: ignore[func-returns-value]
    assert made == [1]
    assert find(tmp_path).read_bytes() == content


def test_full_disk_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write_safely", fail)
    message = f"the n-grams cannot be written to {tmp_path} (No space left on device); free or mend the disk"
    with pytest.raises(RunFailed) as failed:
        keep(tmp_path, make)
    assert str(failed.value) == message
