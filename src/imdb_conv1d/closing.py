"""Trainings that did not come to their end: how each stands, and how one that nobody goes on with is closed."""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import mlflow
from mlflow.entities import Metric, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME

from imdb_conv1d import journal, merging, resumption, snapshots, stands
from imdb_conv1d.console import RunFailed, UserError, one_line
from imdb_conv1d.delivery import persist
from imdb_conv1d.parameters import refusal
from imdb_conv1d.places import Claim, HeldError
from imdb_conv1d.snapshots import Snapshots, require_checkpoint
from imdb_conv1d.stands import Unfinished
from imdb_conv1d.stopping import Rule
from imdb_conv1d.stores import refuses
from imdb_conv1d.trainings import CLOSED, REGISTERED, STOP_REASON, VERB, Recorded


def chosen(found: Sequence[Unfinished], close: str) -> list[Unfinished]:
    """The ones to close: none for no, those known to be dead for dead, else the one with that run id.

    Raises:
        UserError: if that one is not unfinished, or a process works on it.
    """
    if close in ("no", "dead"):
        return [one for one in found if one.is_dead and close == "dead"]
    one = next((one for one in found if one.id == close), None)
    if one is None:
        raise refusal("close", close, "no, dead, or the run id of an unfinished training of the experiment")
    if one.holder:
        raise refusal("close", close, f"a training that no process works on: {one.holder} does")
    return [one]


def close(found: Unfinished) -> str:
    """End a training's run for good; returns a line that says so, or why not.

    What its folder holds goes to the run first: epochs that the store lacks, the tables, the best checkpoint. Then the
    folder is removed. One whose version is registered is FINISHED, any other KILLED.

    Raises:
        RunFailed: if the store keeps failing, or the folder cannot be read; it stays then.
    """
    client, folder = mlflow.MlflowClient(), stands.folder(found.run)
    with Claim() as claim:
        try:
            claim.take(folder)
        except HeldError as held:
            return f"{found.id} is not closed: {held} works on it by now"
        except OSError as error:
            raise RunFailed(f"{folder} cannot be held ({one_line(error)})") from error
        run = persist("reading the run again", partial(client.get_run, found.id), refuses)
        if run.info.status == "FINISHED" and REGISTERED in run.data.tags:
            return f"{found.id} is not closed: it has finished by now"
        status = "FINISHED" if REGISTERED in run.data.tags else "KILLED"
        if status == "KILLED":
            try:
                _rescue(run, folder)
            except OSError as error:
                raise RunFailed(f"{folder} cannot be read ({one_line(error)})") from error
            tags = [RunTag(CLOSED, "true"), RunTag(STOP_REASON, run.data.tags.get(STOP_REASON, "killed"))]
            persist("saying that it is closed", partial(client.log_batch, found.id, tags=tags), refuses)
        persist(f"ending run {found.id}", partial(client.set_terminated, found.id, status), refuses)
        claim.remove()
    return f"closed {found.id} as {status}, after epoch {found.last_epoch}"


def _rescue(run: Recorded, folder: Path) -> None:
    """Store at its run what a training's folder has of it."""
    client, known = mlflow.MlflowClient(), resumption.logged(run)
    entries = journal.read(folder / "journal.jsonl")
    for entry in entries:
        new = journal.lacking(entry, known)
        points = [Metric(name, value, entry.time, entry.epoch) for name, value in new.items()]
        if points:
            send = partial(client.log_batch, run.info.run_id, metrics=points)
            persist(f"storing epoch {entry.epoch}", send, refuses)
    files: list[tuple[Path, str | None]] = []
    if entries and len(entries) >= max(known, default=0):  # else the run has better tables already
        with suppress(UserError, ValueError):  # recorded by somebody else, so that no rule is known
            own = merging.recorded(run)
            rule = Rule(own.direction, own.patience, own.min_delta)
            files += [(path, None) for path in journal.write_tables(entries, rule, own.monitor, folder)]
    snapshot = Snapshots(folder).newest(lambda found: require_checkpoint(folder, found.facts["checkpoint"]))
    for name in snapshots.files(snapshot.facts["checkpoint"]) if snapshot else []:
        (folder / "best.keras").unlink(missing_ok=True)  # perhaps another name of the same file
        files.append((Path(shutil.copyfile(folder / name, folder / "best.keras")), "checkpoint"))
    for path, place in files:
        upload = partial(client.log_artifact, run.info.run_id, str(path), place)
        persist(f"storing {path.name}", upload, refuses)


def table(found: Sequence[Unfinished]) -> str:
    """All of them, for a terminal."""
    return "\n".join(line for one in found for line in one.lines)


def name_own_run() -> None:
    """Where ``mlflow run`` has made a run for this verb, say at it what it is: else it would look like a training."""
    if made := os.environ.get("MLFLOW_RUN_ID"):
        tags = [RunTag(VERB, "unfinished"), RunTag(MLFLOW_RUN_NAME, "unfinished")]
        persist("naming the run", partial(mlflow.MlflowClient().log_batch, made, tags=tags), refuses)
