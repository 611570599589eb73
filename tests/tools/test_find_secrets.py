"""The search for secrets finds one in each place and form, and nothing else."""

import base64
import gzip
import io
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from find_secrets import Search, Watch, main

pytestmark = pytest.mark.unit

SECRET = "tr0ub4dor&/3=ü"


def write_arrays(path: Path) -> None:
    np.savez_compressed(path.with_suffix(".npz"), told=np.array([f"to ann:{SECRET}@host"]))


def write_archive_in_archive(path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("config.json", f"aaaaaaaa {SECRET}")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("model.keras", inner.getvalue())


def write_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("create table tags (value text)")
        # Longer than a page, so that its bytes do not stand together in the file.
        database.executemany(
            "insert into tags values (?)", [(("-" * number) + SECRET,) for number in range(4060, 4090)]
        )


def write_picture(path: Path) -> None:
    Figure().savefig(path, format="png", metadata={"Title": f"{'x' * 3000}{SECRET}"})


def write_tar(path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        archive.add(gzip.__file__, "other.py")
        member = tarfile.TarInfo("log")
        member.size = len(SECRET.encode())
        archive.addfile(member, io.BytesIO(SECRET.encode()))


WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text(f"error: http://ann:{SECRET}@host"),
    "gzip": lambda path: path.write_bytes(gzip.compress(SECRET.encode())),
    "header": lambda path: path.write_bytes(b"Basic " + base64.b64encode(f"ann:{SECRET}".encode())),
    "header of another user": lambda path: path.write_bytes(base64.urlsafe_b64encode(f"robert:{SECRET}".encode())),
    "address": lambda path: path.write_text("http://ann:tr0ub4dor%26%2F3%3D%C3%BC@host"),
    "json": lambda path: path.write_text(r'{"password": "tr0ub4dor&/3=\u00fc"}'),
    "parquet": lambda path: pd.DataFrame({"text": ["a", SECRET]}).to_parquet(path),
    "arrays": write_arrays, "archives": write_archive_in_archive, "sqlite": write_table, "png": write_picture,
    "tar": write_tar,
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_planted_secret_is_found(kind: str, tmp_path: Path) -> None:
    WRITERS[kind](tmp_path / "planted")
    assert Search(["another password", SECRET]).look_below(tmp_path).found


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_files_without_the_secret_have_none(kind: str, tmp_path: Path) -> None:
    WRITERS[kind](tmp_path / "planted")
    search = Search(["another password"]).look_below(tmp_path)
    assert not search.found
    assert search.files == 1
    assert search.bytes > 0


def test_secret_in_a_files_name_is_found(tmp_path: Path) -> None:
    (tmp_path / "http:ann:hunter2-hunter2@host").mkdir()
    assert Search(["hunter2-hunter2"]).look_below(tmp_path).found


def test_damaged_archives_are_searched_as_bytes(tmp_path: Path) -> None:
    for name, begin in {"zip": b"PK\3\4", "gzip": b"\x1f\x8b", "sqlite": b"SQLite format 3\0"}.items():
        (tmp_path / name).write_bytes(begin + b"damaged, with " + SECRET.encode())
    assert len(Search([SECRET]).look_below(tmp_path).found) == 3


def test_secret_of_a_command_is_found_while_it_runs() -> None:
    with Watch(Search([SECRET])) as watch:
        subprocess.run([sys.executable, "-c", "import time; time.sleep(1)", f"--data=http://a:{SECRET}@h"], check=True)
    assert watch.search.found
    assert watch.looks > 5
    with Watch(Search([SECRET])) as after:
        pass
    assert not after.search.found


def test_tool_tells_the_place_and_not_the_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    (tmp_path / "log").write_text("all is well")
    assert main([str(tmp_path)]) == 0
    (tmp_path / "log").write_text(f"it was {SECRET}")
    assert main([str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert str(tmp_path / "log") in said
    assert SECRET not in said
