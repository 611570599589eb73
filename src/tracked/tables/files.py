"""Find the files of a user's table: one, those of a folder, or those that a pattern matches."""

import glob
import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tracked.console.errors import UserError
from tracked.console.lines import one_line

KINDS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
ENDINGS = f"{', '.join(KINDS[:-1])} or {KINDS[-1]}, packed (.gz) or not"
CHUNK = 1 << 20


@dataclass(frozen=True)
class TableFile:
    """A file of a table.

    Args:
        name: relative to what the user named, with slashes: the same wherever the table is moved to.
        kind: one of ``KINDS``.
    """

    path: Path
    name: str
    kind: str


@dataclass(frozen=True)
class Fingerprint:
    """A file's content, and its state on the disk: while that is the same, the content counts as the same."""

    size: int
    sha256: str
    state: tuple[int, ...]


def find_files(data: str) -> list[TableFile]:
    """Find the files of a table, in the order in which they are read: that of their names.

    Of a folder, those of a known kind in it and below it; names that begin with a dot or an underscore are left out.

    Raises:
        UserError: if there is none.
    """
    try:
        path = Path(data).expanduser().absolute()
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"data: {data[:200]!r} is not a valid path ({reason}); allowed: a path that exists") from None
    if is_folder:
        return _list_folder(path)
    if exists:
        if not (kind := find_kind(path)):
            raise UserError(f"data: {data!r} has an unknown format; allowed: a {ENDINGS} file")
        return [TableFile(path, path.name, kind)]
    if not glob.has_magic(str(path)):
        raise UserError(
            f"data: {str(path)!r} does not exist; allowed: a file, a folder or a pattern such as rows/*.csv"
        )
    found = sorted(Path(one) for one in glob.glob(str(path), recursive=True))
    files = [one for one in found if one.is_file()]
    if unknown := [one for one in files if not find_kind(one)]:
        raise UserError(f"data: {str(unknown[0])!r} has an unknown format; allowed: a pattern of {ENDINGS} files")
    if not files:
        raise UserError(f"data: no file is like {str(path)!r}; allowed: a pattern that a file matches")
    root = Path(os.path.dirname(str(path)[: min(str(path).find(mark) % (1 << 30) for mark in "*?[")]))
    return _sort(TableFile(one, one.relative_to(root).as_posix(), find_kind(one)) for one in files)


def _list_folder(folder: Path) -> list[TableFile]:
    found = []

    def fail(error: OSError) -> None:
        raise UserError(f"data: {str(folder)!r} cannot be read ({one_line(error)}); allowed: a readable folder")

    for parent, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if name[0] not in "._"]
        paths = [Path(parent, name) for name in names if name[0] not in "._"]
        found += [
            TableFile(path, path.relative_to(folder).as_posix(), find_kind(path)) for path in paths if find_kind(path)
        ]
    if not found:
        raise UserError(f"data: the folder {str(folder)!r} has no table; allowed: one with {ENDINGS} files")
    return _sort(found)


def _sort(files: Iterable[TableFile]) -> list[TableFile]:
    return sorted(files, key=lambda file: file.name)


def find_kind(path: Path) -> str:
    """Find a file's kind by its name; empty if it is unknown."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in KINDS else ""


def read_fingerprint(file: TableFile, advance: Callable[[int], None] = lambda count: None) -> Fingerprint:
    """Read a file and digest it.

    Args:
        advance: called with the number of bytes of each piece.

    Raises:
        UserError: if it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with file.path.open("rb") as stream:
            state = _describe(os.fstat(stream.fileno()))
            while piece := stream.read(CHUNK):
                digest.update(piece)
                advance(len(piece))
    except OSError as error:
        raise _unreadable(file, error) from None
    return Fingerprint(state[0], digest.hexdigest(), state)


def require_same(file: TableFile, fingerprint: Fingerprint) -> None:
    """Require that a file has not changed since it was digested, by its size and its times.

    Raises:
        UserError: if it has, or was removed.
    """
    try:
        state = _describe(file.path.stat())
    except OSError as error:
        raise _unreadable(file, error) from None
    if state != fingerprint.state:
        raise UserError(f"data: {file.path} was changed while it was being read; restore it")


def _describe(status: os.stat_result) -> tuple[int, ...]:
    return status.st_size, status.st_mtime_ns, status.st_ino


def _unreadable(file: TableFile, error: OSError) -> UserError:
    return UserError(f"data: {file.path} cannot be read ({error.strerror or one_line(error)}); restore it")
