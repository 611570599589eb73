"""Search files and the list of processes for passwords and tokens, in every form in which a program may leave them.

python tools/find_secrets.py mlruns ~/.local/state /tmp    # for the secrets in this environment's settings

Files are searched as bytes and, where they are packed, once more as what they hold: archives (such as a snapshot and a
model of Keras), gzip, the texts of a picture, tables of Parquet and SQLite. Prints each place, never the secret; exit
status 1 if there is one.
"""

import base64
import gzip
import html
import io
import json
import os
import sqlite3
import stat
import sys
import tarfile
import threading
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import quote, quote_plus

DEPTH = 5  # of archives in archives
SHORTEST = 8  # characters: others would be found everywhere


def make_forms(secret: str) -> dict[bytes, str]:
    """Make the byte strings that show a secret, with the name of each form."""
    plain = secret.encode(errors="surrogateescape")
    forms = {
        secret.encode("latin-1", "ignore"): "Latin-1", secret.encode("utf-16-le", "surrogatepass"): "UTF-16",
        secret.encode("utf-32-le", "surrogatepass"): "UTF-32", plain.hex().encode(): "hexadecimal",
        json.dumps(secret)[1:-1].encode(): "JSON", repr(secret)[1:-1].encode(errors="surrogateescape"): "escaped",
        quote(secret, safe="", errors="surrogateescape").encode(): "quoted",
        quote_plus(secret, errors="surrogateescape").encode(): "quoted",
        html.escape(secret).encode(errors="surrogateescape"): "HTML",
        plain: "plain",
    }  # fmt: skip
    for shift in range(3):  # wherever it begins within what is encoded, as after "Basic user:"
        whole = base64.b64encode(b"\0" * shift + plain)
        first, last = (0, 2, 3)[shift], -4 if (shift + len(plain)) % 3 else None  # without what its neighbours share
        forms |= dict.fromkeys(
            (whole[first:last], whole[first:last].translate(bytes.maketrans(b"+/", b"-_"))), "base64"
        )
    return {form: name for form, name in forms.items() if len(form) >= SHORTEST}


def unpack(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Give what packed bytes hold, with names; nothing if they are not packed, or damaged."""
    if content[:4] == b"PK\3\4":
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            yield from ((name, file.read(name)) for name in file.namelist())
    elif content[:2] == b"\x1f\x8b":
        yield "gzip", gzip.decompress(content)
    elif content[:8] == b"\x89PNG\r\n\x1a\n":
        place = 8
        while place < len(content):
            size, kind = int.from_bytes(content[place : place + 4], "big"), content[place + 4 : place + 8]
            if kind in (b"zTXt", b"iTXt"):
                text = content[place + 8 : place + 8 + size]
                yield kind.decode(), zlib.decompress(text[text.index(b"\x78") :])
            place += size + 12
    elif content[:4] == content[-4:] == b"PAR1":
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(io.BytesIO(content))
        yield "rows", f"{table.schema.metadata} {table.to_pydict()}".encode()
    elif content[:16] == b"SQLite format 3\0":
        with closing(sqlite3.connect(":memory:")) as database:
            database.deserialize(content[:18] + b"\1\1" + content[20:])  # not as one with a log beside it
            yield "rows", "\n".join(database.iterdump()).encode()
    elif content[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive.getmembers():
                if file := archive.extractfile(member):
                    yield member.name, file.read()


@dataclass
class Search:
    """A search for some secrets; ``files`` and ``bytes`` count what was read, ``found`` has the places."""

    secrets: Iterable[str]
    files: int = 0
    bytes: int = 0
    packed: int = 0
    found: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.forms = {form: name for secret in self.secrets for form, name in make_forms(secret).items()}

    def look_at(self, place: str, content: bytes, depth: int = 0) -> None:
        """Search bytes, and what they hold."""
        self.bytes += len(content)
        self.found += [f"{place} ({name})" for name in {name for form, name in self.forms.items() if form in content}]
        if depth < DEPTH:
            with suppress(
                OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile, tarfile.TarError, sqlite3.Error
            ):
                for name, part in unpack(content):
                    self.packed += 1
                    self.look_at(f"{place}:{name}", part, depth + 1)

    def look_below(self, *folders: Path, without: Iterable[Path] = ()) -> Self:
        """Search all files below folders, and their names."""
        left_out = {path.resolve() for path in without}
        for folder in folders:
            paths = sorted(folder.rglob("*")) if folder.is_dir() else [folder]
            for path in paths:
                self.look_at(f"the name of {path}", os.fsencode(path.name), DEPTH)
                with suppress(OSError):  # it has just gone, or is not readable
                    if stat.S_ISREG(path.lstat().st_mode) and path.resolve() not in left_out:
                        self.files += 1
                        self.look_at(str(path), path.read_bytes())
        return self

    def look_at_processes(self) -> None:
        """Search the commands of all processes, as every user of the machine can."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                self.look_at(f"process {path.parent.name}", path.read_bytes(), DEPTH)


class Watch(threading.Thread):
    """Search the list of processes again and again, until the block ends."""

    def __init__(self, search: Search, seconds: float = 0.05) -> None:
        super().__init__(daemon=True)
        self.search, self.seconds, self.looks, self._ended = search, seconds, 0, False

    def __enter__(self) -> Self:
        self.start()
        return self

    def run(self) -> None:
        while not self._ended:
            self.search.look_at_processes()
            self.looks += 1
            time.sleep(self.seconds)

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self.join()


def main(folders: list[str]) -> int:
    """Search the folders and the processes for the secrets in this environment."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
    from tracked.console.secrets import find_values

    search = Search([value for value in find_values() if len(value) >= SHORTEST])
    search.look_at_processes()
    search.look_below(*map(Path, folders))
    print("\n".join(sorted(set(search.found))))
    print(f"{len(search.found)} places; {search.files:,} files, {search.packed:,} packed parts, {search.bytes:,} bytes")
    return bool(search.found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
