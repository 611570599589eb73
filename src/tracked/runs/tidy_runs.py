"""What the runs of other verbs hold that a tidy must know: former plans, and what comparisons have used."""

import json
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import mlflow

from tracked.runs import artifact_files, run_calls
from tracked.runs.outbox import with_retries
from tracked.runs.queries import MlflowRun
from tracked.runs.schema import COMPARISON_TABLE, CONTINUED_BY, TIDY_PLAN, VERB
from tracked.runs.store_contents import NAME


def read_text(run: MlflowRun, name: str) -> str:
    """Read an artifact of a run; empty if it has none of this name.

    Raises:
        RunFailed: if it cannot be read.
    """
    if name not in artifact_files.list_names(run.info.artifact_uri):
        return ""
    with tempfile.TemporaryDirectory(prefix="tidy-") as folder:
        read = partial(mlflow.artifacts.download_artifacts, run_id=run.info.run_id, artifact_path=name, dst_path=folder)
        return Path(with_retries(f"reading {name} of run {run.info.run_id}", read)).read_text(encoding="utf-8")


def list_compared(runs: Iterable[MlflowRun]) -> set[str]:
    """List the ids in the tables of comparisons: the trainings, and the evaluations that they have used.

    Raises:
        RunFailed: if a table cannot be read.
    """
    tables = (read_text(run, COMPARISON_TABLE) for run in runs if run.data.tags.get(VERB) == "compare")
    return {found for table in tables for found in NAME.findall(table)}


def list_cut_off(runs: Iterable[MlflowRun]) -> list[MlflowRun]:
    """List the runs of tidies that have not ended by themselves, and that no later one has completed."""
    return [
        run
        for run in runs
        if run.data.tags.get(VERB) == "tidy" and run.info.status != "FINISHED" and CONTINUED_BY not in run.data.tags
    ]


def read_plan(run: MlflowRun) -> list[dict[str, Any]]:
    """Read what a tidy was about to remove, a dictionary per thing; empty if it had not begun.

    Raises:
        RunFailed: if it cannot be read.
    """
    try:
        table = json.loads(read_text(run, TIDY_PLAN) or "{}")
        return [dict(zip(table["columns"], row, strict=True)) for row in table.get("data", [])]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


def mark_continued(runs: Iterable[MlflowRun], by: str) -> None:
    """Mark former tidies as completed by a later one.

    Raises:
        RunFailed: if the store keeps failing.
    """
    for run in runs:
        run_calls.set_tags("tagging the former tidy", run.info.run_id, {CONTINUED_BY: by})
