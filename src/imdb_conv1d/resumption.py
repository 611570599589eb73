"""Which training is to go on, and with what: found in the store, held, and checked against what is asked."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import mlflow
from pydantic import ValidationError

from imdb_conv1d import places, stands, trainings
from imdb_conv1d.beginnings import Beginning
from imdb_conv1d.config import TrainCommand, TrainParameters
from imdb_conv1d.console import UserError, one_line, say
from imdb_conv1d.delivery import persist
from imdb_conv1d.journal import Entry
from imdb_conv1d.parameters import refusal, spelled
from imdb_conv1d.places import Claim, HeldError
from imdb_conv1d.stores import refuses
from imdb_conv1d.trainings import RAISED, REGISTERED, RESUMED, VERB, Recorded

MAY_BE_RAISED = ("epochs", "patience")


@dataclass(frozen=True)
class Earlier:
    """A training that goes on: its run, its parameters, where its data came from, what its run has of each epoch."""

    run: Recorded
    parameters: TrainParameters
    source: str
    raised: dict[str, int]
    logged: dict[int, Entry] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self.run.info.run_id)

    @property
    def is_complete(self) -> bool:
        """Whether its version is registered with all that belongs to it: only the run's end is missing."""
        return REGISTERED in self.run.data.tags

    @property
    def has_begun(self) -> bool:
        """Whether the run was begun before; ``mlflow run`` makes one that has not."""
        return VERB in self.run.data.tags

    def tags(self, after: int) -> dict[str, str]:
        """What is to be noted at the run when it goes on after an epoch."""
        tags = self.run.data.tags
        noted = {RESUMED: ", ".join(filter(None, [tags.get(RESUMED, ""), f"after epoch {after}"]))}
        told = [f"{name} to {value} after epoch {after}" for name, value in self.raised.items()]
        return noted | ({RAISED: "; ".join(filter(None, [tags.get(RAISED, ""), *told]))} if told else {})


def find(command: TrainCommand, claim: Claim) -> Earlier | None:
    """The training that is to go on, held by ``claim``; None if a new one is to begin.

    Raises:
        UserError: if there is none, it cannot go on, another process holds it, or a parameter would have to change.
        RunFailed: if the store keeps failing.
    """
    made = os.environ.get("MLFLOW_RUN_ID")
    if made and command.resume != "no":
        raise refusal("resume", command.resume, "no under mlflow run: mlflow run . --run-id RUN_ID resumes a training")
    if made:
        run = _named(made)
    elif command.resume == "no":
        _require_place(places.root(mlflow.get_tracking_uri()))
        return None
    elif command.resume == "latest":
        run = _latest()
    else:
        run = trainings.named([command.resume], "resume").runs[0]
    why = stands.reason_against(run)
    if why and not (made and REGISTERED in run.data.tags):  # an error would mark what has finished as failed
        raise refusal("resume", run.info.run_id, f"a training that can go on: this one {why}")
    folder = stands.folder(run)
    _require_place(folder.parent)
    try:
        if starting := stands.starting(run):
            raise HeldError(str(starting))
        claim.take(folder)
    except HeldError as held:
        raise refusal("resume", run.info.run_id, f"a training that no process works on: {held} does") from None
    run = mlflow.MlflowClient().get_run(run.info.run_id)  # it may have gone on and finished until we held it
    recorded = _recorded(run)
    parameters, raised = _merged(run.info.run_id, recorded, command)
    source = stands.launch(run).get("source") or run.data.tags.get("data_source") or parameters.data
    return Earlier(run, parameters, str(source), raised, _logged(run))


def beginning(parameters: TrainParameters, source: str, claim: Claim, earlier: Earlier | None) -> Beginning:
    """How the training's run begins. What is noted with the run, in one piece, is all that beginning again takes."""
    root = places.root(mlflow.get_tracking_uri())
    launch = {"parameters": parameters.spelled(), "source": source, "snapshots": str(root)}
    return Beginning(claim, root, launch, earlier.id if earlier else "")


def _require_place(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise UserError(
            f"{places.SETTING}: {str(root)!r} cannot be written to ({one_line(error)}); allowed: a folder that can"
        ) from None


def _named(run_id: str) -> Recorded:
    try:
        run = persist("finding the run", partial(mlflow.MlflowClient().get_run, run_id), refuses)
    except Exception as error:
        raise UserError(
            f"MLFLOW_RUN_ID: no run can begin ({one_line(error)}); allowed: a run that exists and is not deleted"
        ) from None
    return run


def _latest() -> Recorded:
    experiment = trainings.experiment("auto")
    for stand in stands.unfinished(experiment.experiment_id):
        if not stand.against and not stand.holder:
            return stand.run
    raise UserError(
        f"resume: 'latest' finds no training to go on with in the experiment {experiment.name}; "
        "allowed: a run's id, or no for a new training"
    )


def _recorded(run: Recorded) -> dict[str, str]:
    """The parameters that a training has, with what it has been raised to."""
    found = (stands.launch(run).get("parameters") or trainings.parameters(run)) | trainings.raised(run)
    return {name: value for name, value in found.items() if name in TrainParameters.model_fields}


def _merged(run_id: str, recorded: Mapping[str, str], command: TrainCommand) -> tuple[TrainParameters, dict[str, int]]:
    """The run's parameters, with what is asked for where the run has none; and which of them are raised."""
    defaults = TrainParameters.model_fields
    given = {
        name: getattr(command, name)
        for name in command.model_fields_set & set(defaults)
        if getattr(command, name) != defaults[name].default
    }
    try:
        former = TrainParameters.model_validate(given | dict(recorded))
    except ValidationError as error:
        problem = error.errors()[0]
        told = ": ".join([*map(str, problem["loc"]), problem["msg"]])
        raise refusal("resume", run_id, f"a training with parameters of this project ({told})") from None
    raised: dict[str, int] = {}
    for name, value in given.items():
        before = getattr(former, name)
        if name in MAY_BE_RAISED and value > before:
            raised[name] = value
        elif value != before:
            more = " or more" if name in MAY_BE_RAISED else ""
            raise refusal(name, spelled(value), f"{spelled(before)}{more}, as run {run_id} has it")
    return former.model_copy(update=raised), raised


def _logged(run: Recorded) -> dict[int, Entry]:
    """What the store has of each epoch."""
    client, found = mlflow.MlflowClient(), dict[int, Entry]()
    for name in run.data.metrics:
        read = partial(client.get_metric_history, run.info.run_id, name)
        for point in persist(f"reading the epochs of run {run.info.run_id}", read, refuses):
            if point.step:
                entry = found.setdefault(point.step, Entry(point.step, point.timestamp, {}))
                entry.values.setdefault(name, point.value)
    return found


def finish(earlier: Earlier, claim: Claim) -> None:
    """End a run of which nothing but the end is missing."""
    claim.remove()
    tags = earlier.run.data.tags
    if earlier.run.info.status != "FINISHED":
        end = partial(mlflow.MlflowClient().set_terminated, earlier.id, "FINISHED")
        persist(f"ending run {earlier.id}", end, refuses)
    say(f"run {earlier.id} has finished: version {tags[REGISTERED]} of {earlier.parameters.model_name} is registered")
