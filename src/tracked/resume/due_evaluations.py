"""Find out which trainings are to evaluate their version, and have not."""

from collections.abc import Sequence

from tracked.console.parameters import refusal
from tracked.console.train_parameters import EVALUATE, TrainCommand
from tracked.experiment import Dataset, Experiment
from tracked.resume import training_status
from tracked.runs import evaluations, queries, registry, run_parameters, versions
from tracked.runs.connection import mlflow_run_id
from tracked.runs.queries import MlflowRun
from tracked.runs.registry import StoredModel
from tracked.runs.schema import DATA_DIGEST, MODEL_ID, MODEL_URI, REGISTERED, TRAINING_RUN_ID, VERB

FINISHED = f"tags.{VERB} = 'train' and tags.{REGISTERED} != '' and attributes.status = 'FINISHED'"


def wants_evaluation(command: TrainCommand, run: MlflowRun | None) -> bool:
    """Whether a training is to evaluate its version: as the command says, else as its run says.

    Under ``mlflow run``, which passes every default, false counts as not given.

    Args:
        run: the resumed one, or the one that ``mlflow run`` has made; None for a new training.
    """
    if run is None or command.evaluate or (EVALUATE in command.given and not mlflow_run_id()):
        return command.evaluate
    return run_parameters.read_evaluate(run)


def require_test_part(data: Dataset) -> None:
    """Require that the data have rows to evaluate a version on.

    Raises:
        UserError: if they have none.
    """
    if not data.counts.get("test"):
        raise refusal(EVALUATE, "true", f"false, since {data.source} has no rows in its test part")


def find_due(owner: Experiment, runs: Sequence[MlflowRun]) -> dict[str, StoredModel]:
    """Find the versions, by their training's run id, that no finished evaluation has scored on their own test part.

    A version that was deleted is left out.

    Raises:
        RunFailed: if the store keeps failing.
    """
    if not runs:
        return {}
    of_own_data = evaluations.search_verb(owner, "evaluate", evaluations.FINISHED, "params.data = 'auto'")
    scored = {
        (run.data.tags.get(TRAINING_RUN_ID), run.data.tags.get(DATA_DIGEST), model)
        for run in of_own_data
        for model in (run.data.tags.get(MODEL_ID), run.data.tags.get(MODEL_URI))
    }
    by_run = versions.find_versions_by_run([run.info.run_id for run in runs])
    due = dict[str, StoredModel]()
    for run in runs:
        for version in by_run[run.info.run_id]:
            located, ids = registry.locate_version(version), versions.model_ids([version])
            known = {(run.info.run_id, run.data.tags.get(DATA_DIGEST), model) for model in (located.uri, *ids)}
            if located.version == run.data.tags.get(REGISTERED) and not known & scored:
                due[run.info.run_id] = located
    return due


def find_latest(owner: Experiment, command: TrainCommand, experiment_id: str) -> MlflowRun | None:
    """Find the newest finished training that was to evaluate its version and has not, and whose process is dead.

    Raises:
        RunFailed: if the store keeps failing.
    """
    runs = [
        run
        for run in queries.search("reading the finished trainings", [experiment_id], FINISHED)
        if queries.is_own(owner, run)
        and run_parameters.read_evaluate(run)
        and wants_evaluation(command, run)
        and training_status.has_ended_here(owner, run)
    ]
    due = find_due(owner, runs)
    return next((run for run in runs if run.info.run_id in due), None)
