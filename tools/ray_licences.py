"""Print the table of docs/ray.md: the packages that Ray brings, with their licences, from what is installed.

make .venv/ready-ray
python tools/ray_licences.py
"""

import re
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
HEAD = ["| package | version | licence |", "| --- | --- | --- |"]
# As SPDX names them; packages write them in several ways.
NAMES = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "MIT License": "MIT",
    "GPLv2": "GPL-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD",
}


def read_pins(name: str) -> dict[str, str]:
    """Read the versions that a requirements file pins, by package."""
    return dict(PINNED.findall((ROOT / name).read_text()))


def read_licence(found: metadata.Distribution) -> str:
    """Read a package's licence: its expression, else its field, else its classifier."""
    fields = found.metadata
    classifiers = [line.rpartition(" :: ")[2] for line in fields.get_all("Classifier", []) if "License ::" in line]
    texts = fields.get("License-Expression"), fields.get("License"), *classifiers
    text = next((text.strip() for text in texts if text and len(text) < 60), "unknown")
    return NAMES.get(text, text)


def make_table() -> list[str]:
    """Make the table of the packages that requirements-ray.txt adds, as far as this platform has them."""
    own = read_pins("requirements.txt")
    added = [one for one in sorted(read_pins("requirements-ray.txt").items()) if one[0] not in own]
    rows = []
    for name, version in added:
        with suppress(metadata.PackageNotFoundError):  # of another platform
            rows.append(f"| {name} | {version} | {read_licence(metadata.distribution(name))} |")
    return [*HEAD, *rows]


def list_bundled() -> list[str]:
    """List the Python packages whose copies are within Ray's own."""
    spec = find_spec("ray")
    assert spec
    assert spec.origin
    folders = sorted({path.parent for path in Path(spec.origin).parent.rglob("thirdparty_files/*.dist-info")})
    found = [one for folder in folders for one in metadata.distributions(path=[str(folder)])]
    return sorted({f"{one.name} {one.version} ({read_licence(one)})" for one in found})


if __name__ == "__main__":
    print("\n".join(make_table()))
    print("\nWithin Ray's own package:", ", ".join(list_bundled()))
