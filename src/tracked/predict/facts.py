"""What the bytes of a prediction depend on: the model, the code, the parameters, the input."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tracked.console.errors import UserError
from tracked.console.parameters import as_string
from tracked.experiment import Experiment
from tracked.tables.files import Fingerprint, TableFile
from tracked.training import reproducibility
from tracked.training.files import sha256_of

# They change where and when rows are answered, not what the answers are, or they are compared by digest.
CHANGEABLE = ("model", "data", "output", "workers", "executor", "address", "max_rejected", "fresh")
OF_REGISTRY = "registered_model_meta"  # a file that names the version


def describe(
    owner: Experiment,
    title: str,
    version: str,
    model: Path,
    parameters: Any,
    files: Sequence[TableFile],
    fingerprints: Sequence[Fingerprint],
) -> dict[str, Any]:
    """Describe all that the answers depend on, as JSON.

    Args:
        title: the model's, for people; ``version``: what the answers call it; ``model``: its folder.
    """
    read = [
        {"file": file.name, "size": one.size, "sha256": one.sha256}
        for file, one in zip(files, fingerprints, strict=True)
    ]
    return {
        "model": {"name": title, "version": version, "digest": digest_folder(model)},
        "code": digest_code(owner),
        "parameters": {name: text for name, text in parameters.as_strings().items() if name not in CHANGEABLE},
        "input": {"digest": _digest("\n".join(f"{one['file']} {one['sha256']}" for one in read)), "files": read},
    }


def describe_environment() -> dict[str, str]:
    """Describe what else the last bits of an answer depend on: versions, the machine."""
    return reproducibility.package_versions() | reproducibility.describe_host()


def compare_environments(former: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Describe each change of the environment, for people."""
    return [
        f"{name} changed since the last attempt ({former[name]!r} -> {value!r})"
        for name, value in now.items()
        if former.get(name, value) != value
    ]


def require_same(output: Path, former: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Require that a prediction would go on as it began.

    Raises:
        UserError: naming the first that differs.
    """
    for what, change in find_changes(former, now):
        restore = f"restore {what}" if what in now["parameters"] else f"restore the {what}"
        raise UserError(
            f"output: {output} holds a prediction with another {what} ({change}); {restore}, or give another output, "
            "or fresh=true to begin anew"
        )


def find_changes(former: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Find what differs: its name and the change, for people."""
    changes = []
    models = former["model"], now["model"]
    if models[0]["digest"] != models[1]["digest"] or models[0]["version"] != models[1]["version"]:
        named = [f"{one['name']}, digest {one['digest'][:12]}" for one in models]
        changes.append(("model", " -> ".join(named)))
    if former["code"] != now["code"]:
        changes.append(("code", f"digest {former['code']} -> {now['code']}"))
    for name, value in now["parameters"].items():
        before = former["parameters"].get(name, "none")
        if before != value:
            changes.append((name, f"{before} -> {as_string(value)}"))
    if former["input"]["digest"] != now["input"]["digest"]:
        changes.append(("input", _compare_files(former["input"]["files"], now["input"]["files"])))
    return changes


def _compare_files(former: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> str:
    before, after = ({one["file"]: one["sha256"] for one in files} for files in (former, now))
    for name in sorted({*before, *after}):
        if name not in after:
            return f"{name} is gone"
        if name not in before:
            return f"{name} is new"
        if before[name] != after[name]:
            return f"{name}, digest {before[name][:12]} -> {after[name][:12]}"
    return "the order of its files"


def digest_folder(folder: Path) -> str:
    """Digest a model's files and their names."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != OF_REGISTRY)
    return _digest("\n".join(f"{path.relative_to(folder).as_posix()} {sha256_of(path)}" for path in paths))


def digest_code(owner: Experiment) -> str:
    """Digest the code that an answer depends on: the experiment's, the reading and the writing."""
    here = Path(__file__).parent
    own = [here, here.with_name("tables"), here.with_name("analysis") / "observations.py"]
    return reproducibility.digest_programs([*own, *reproducibility.find_source_files(owner)])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
