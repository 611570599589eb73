"""Trainings that did not come to their end: how each stands, and how one that nobody goes on with is closed."""

import os
from collections.abc import Sequence
from functools import partial

import mlflow
from mlflow.entities import RunTag
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME

from imdb_conv1d import journal, stands
from imdb_conv1d.console import UserError
from imdb_conv1d.delivery import persist
from imdb_conv1d.parameters import refusal
from imdb_conv1d.places import Claim, HeldError
from imdb_conv1d.stands import Stand
from imdb_conv1d.stores import refuses
from imdb_conv1d.trainings import CLOSED, REGISTERED, STOP_REASON, VERB


def chosen(found: Sequence[Stand], close: str) -> list[Stand]:
    """The ones to close: none for no, those known to be dead for dead, else the one with that run id.

    Raises:
        UserError: if that one is not unfinished, or a process works on it.
    """
    if close in ("no", "dead"):
        return [stand for stand in found if stand.is_dead and close == "dead"]
    one = next((stand for stand in found if stand.id == close), None)
    if one is None:
        raise refusal("close", close, "no, dead, or the run id of an unfinished training of the experiment")
    if one.holder:
        raise refusal("close", close, f"a training that no process works on: {one.holder} does")
    return [one]


def close(stand: Stand) -> str:
    """End a training's run for good; returns a line that says so.

    What its folder holds goes to the run first: its history and its best checkpoint. Then the folder is removed. One
    whose version is registered is FINISHED, any other KILLED.

    Raises:
        UserError: if a process has begun to work on it meanwhile.
        RunFailed: if the store keeps failing; the folder stays then.
    """
    client, run, folder = mlflow.MlflowClient(), stand.run, stands.folder(stand.run)
    status = "FINISHED" if REGISTERED in run.data.tags else "KILLED"
    with Claim() as claim:
        try:
            claim.take(folder)
        except HeldError as held:
            raise UserError(f"close: {stand.id!r} is held meanwhile by {held}; allowed: a dead training") from None
        if status == "KILLED":
            for path, place in journal.rescue(folder):
                persist(f"storing {path.name}", partial(client.log_artifact, stand.id, str(path), place), refuses)
            tags = [RunTag(STOP_REASON, CLOSED), RunTag("closed_from", stand.reason)]
            persist("saying that it is closed", partial(client.log_batch, stand.id, tags=tags), refuses)
        persist(f"ending run {stand.id}", partial(client.set_terminated, stand.id, status), refuses)
        claim.remove()
    return f"closed {stand.id} as {status}, after epoch {stand.last_epoch}"


def table(found: Sequence[Stand]) -> str:
    """All of them, for a terminal."""
    return "\n".join(line for stand in found for line in stand.lines)


def name_own_run() -> None:
    """Where ``mlflow run`` has made a run for this verb, say at it what it is: else it would look like a training."""
    if made := os.environ.get("MLFLOW_RUN_ID"):
        tags = [RunTag(VERB, "unfinished"), RunTag(MLFLOW_RUN_NAME, "unfinished")]
        persist("naming the run", partial(mlflow.MlflowClient().log_batch, made, tags=tags), refuses)
