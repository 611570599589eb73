"""The commands that a line gives a user to go on with, by ``mlflow run`` or a script, as this process was started."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from mlflow.utils.mlflow_tags import MLFLOW_PROJECT_ENV

from tracked.runs.schema import ENTRY_POINT


def resume_command(run_id: str, tags: Mapping[str, str], name: str = "") -> str:
    """Make the command that resumes a training or a search, for this process's working directory.

    Args:
        tags: the run's.
        name: for the registered model, in place of the run's.
    """
    if ENTRY_POINT in tags:
        more = ["-P", f"model_name={name}"] if name else []
        return _run_project(tags[ENTRY_POINT], ["--run-id", run_id], tags, more)
    verb = sys.argv[1:2] if sys.argv[1:2] in (["train"], ["search"]) else []  # where one script has all verbs
    more = ["--model_name", name] if name else []
    return _run_script(Path(sys.argv[0]), [*verb, "--resume", run_id, *more])


def evaluate_command(uri: str, tags: Mapping[str, str]) -> str:
    """Make the command that evaluates a version, in a process of ``train``.

    Args:
        tags: those of the training's run that ``mlflow run`` has set, if it did.
    """
    if ENTRY_POINT in tags:
        return _run_project("evaluate", [], tags, ["-P", f"model={uri}"])
    if sys.argv[1:2] == ["train"]:  # one script has all verbs
        return _run_script(Path(sys.argv[0]), ["evaluate", "--model", uri])
    return _run_script(Path(sys.argv[0]).with_name("evaluate.py"), ["--model", uri])


def _run_project(entry_point: str, run: list[str], tags: Mapping[str, str], more: list[str]) -> str:
    manager = tags.get(MLFLOW_PROJECT_ENV, "local")  # the only one without a tag
    options = [] if manager == "conda" else ["--env-manager", manager]
    entry = [] if entry_point == "main" else ["-e", entry_point]
    return shlex.join(["mlflow", "run", str(Path.cwd()), *entry, *run, *options, *more])


def _run_script(script: Path, arguments: list[str]) -> str:
    here = Path.cwd()
    words = (
        str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
        for path in (Path(sys.executable), script.absolute())
    )
    return shlex.join([*words, *arguments])
