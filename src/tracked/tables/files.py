"""Find the files of a user's table: one, those of a folder, or those that a pattern matches."""

import fnmatch
import glob
import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tracked.console.errors import UserError
from tracked.console.lines import one_line
from tracked.tables.rows import is_unicode

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

    Of a folder, those of a known kind in it and below it. Names that begin with a dot or an underscore are left out,
    below the folder or the first part of a pattern that has a wildcard.

    Raises:
        UserError: if there is none, or one is met twice, as links can make it.
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
        return _sort([TableFile(path, path.name, kind)])
    if not glob.has_magic(data):
        raise UserError(
            f"data: {str(path)!r} does not exist; allowed: a file, a folder or a pattern such as rows/*.csv"
        )
    return _list_pattern(data)


def _list_pattern(pattern: str) -> list[TableFile]:
    root, rest = _split_pattern(pattern)
    names = {os.path.normpath(name) for name in glob.glob(rest, root_dir=root, recursive=True)}
    files = [root / name for name in sorted(names) if not any(part[0] in "._" for part in Path(name).parts)]
    files = [one for one in files if one.is_file()]
    if unknown := [one for one in files if not find_kind(one)]:
        raise UserError(f"data: {str(unknown[0])!r} has an unknown format; allowed: a pattern of {ENDINGS} files")
    if not files:
        raise UserError(f"data: no file is like {str(root / rest)!r}; allowed: a pattern that a file matches")
    return _sort(TableFile(one, one.relative_to(root).as_posix(), find_kind(one)) for one in files)


def _split_pattern(pattern: str) -> tuple[Path, str]:
    """Split a pattern into an absolute folder and the part that begins with the first wildcard."""
    parts = Path(pattern).expanduser().parts
    first = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first]).absolute(), os.path.join(*parts[first:])


def covers(data: str, folder: Path) -> bool:
    """Check whether the files of a folder would be among those of ``data``, or the other way round."""
    path, inner = Path(data).expanduser(), folder.resolve()
    is_pattern = not path.exists() and glob.has_magic(data)
    root, rest = _split_pattern(data) if is_pattern else (path, "")
    root = root.resolve()
    if root.is_relative_to(inner):
        return True
    if not inner.is_relative_to(root):
        return False
    if not is_pattern:
        return path.is_dir()
    wanted, found = Path(rest).parts, (inner / "*").relative_to(root).parts
    if "**" in wanted:
        return True
    return len(wanted) == len(found) and all(map(fnmatch.fnmatchcase, found[:-1], wanted[:-1]))


def _list_folder(folder: Path) -> list[TableFile]:
    found, known = [], set[str]()

    def fail(error: OSError) -> None:
        raise UserError(f"data: {str(folder)!r} cannot be read ({one_line(error)}); allowed: a readable folder")

    for parent, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        if (real := os.path.realpath(parent)) in known:  # by a link
            folders.clear()
            continue
        known.add(real)
        folders[:] = sorted(name for name in folders if name[0] not in "._")
        paths = [Path(parent, name) for name in names if name[0] not in "._"]
        found += [
            TableFile(path, path.relative_to(folder).as_posix(), find_kind(path)) for path in paths if find_kind(path)
        ]
    if not found:
        raise UserError(f"data: the folder {str(folder)!r} has no table; allowed: one with {ENDINGS} files")
    return _sort(found)


def _sort(files: Iterable[TableFile]) -> list[TableFile]:
    """Sort files by name.

    Raises:
        UserError: if two are the same, or a name is not UTF-8, so that no manifest can hold it.
    """
    ordered, known = sorted(files, key=lambda file: file.name), dict[object, TableFile]()
    for file in ordered:
        if not is_unicode(file.name):
            raise UserError(f"data: the name {file.name!a} is not UTF-8; rename the file")
        other = known.setdefault(_identify(file.path), file)
        if other is not file:
            raise UserError(f"data: {file.path} and {other.path} are the same file; allowed: each file once")
    return ordered


def _identify(path: Path) -> tuple[int, int] | str:
    """A file's number on its device, which all of its hard links have; its path if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino


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
        raise explain_unreadable(file, error) from None
    return Fingerprint(state[0], digest.hexdigest(), state)


def require_same(file: TableFile, fingerprint: Fingerprint) -> None:
    """Require that a file has not changed since it was digested, by its size and its times.

    Raises:
        UserError: if it has, or was removed.
    """
    try:
        state = _describe(file.path.stat())
    except OSError as error:
        raise explain_unreadable(file, error) from None
    if state != fingerprint.state:
        raise UserError(f"data: {file.path} was changed while it was being read; restore it")


def _describe(status: os.stat_result) -> tuple[int, ...]:
    """What changes with a file's content; only the last time cannot be set back, as rsync does with the first one."""
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns


def explain_unreadable(file: TableFile, error: OSError) -> UserError:
    """Make the error of a file that cannot be read."""
    return UserError(f"data: {file.path} cannot be read ({error.strerror or one_line(error)}); restore it")
