"""Start a run: a new one, the one that ``mlflow run`` has created, or a resumed training's."""

import json
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.utils import name_utils
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE

from tracked import __version__
from tracked.console.errors import RunFailed, StoreFailed, UserError
from tracked.console.lines import one_line
from tracked.console.train_parameters import EVALUATE
from tracked.experiment import Experiment
from tracked.runs.connection import (
    RUN_ID_SETTING,
    forget_mlflow_run_id,
    mlflow_run_id,
    single_calls,
    tracking_uri,
)
from tracked.runs.credentials import explain_unreadable, is_denied
from tracked.runs.outbox import with_retries
from tracked.runs.queries import MlflowRun, is_made_for, is_own, owner_of
from tracked.runs.run_calls import set_tags
from tracked.runs.schema import CLOSED, ENTRY_POINT, EXPERIMENT, LAUNCH, TRACKED_VERSION, VERB, name_experiment
from tracked.training.run_folder_lock import RunFolderLock

RESUMED = {"train": "a training", "search": "a search", "predict": "a prediction"}  # verbs whose runs can be resumed


@dataclass(frozen=True)
class ResumableStart:
    """What the run of a training or a search starts with.

    Args:
        folder_lock: holds the run folder below ``root``.
        launch: the content of the tag ``launch``.
        run_id: the resumed run's id; empty for a new run.
        tags: further tags, set with it.
        keep_folder: whether the run folder stays when the run is FINISHED.
    """

    folder_lock: RunFolderLock
    root: Path
    launch: Mapping[str, object]
    run_id: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    keep_folder: bool = False


def require_own_run(owner: Experiment, verb: str) -> MlflowRun | None:
    """Require that the run of :func:`mlflow_run_id` may become a run of this verb; returns it, None if there is none.

    The run must be unused; train also takes a training, search a search. A refused run is not changed, but
    ``mlflow run --run-id`` sets its status to FAILED after an error.

    Raises:
        UserError: if the run does not exist, is another experiment's, another verb's or a used one of this verb.
        RunFailed: if the store keeps failing.
    """
    run_id = mlflow_run_id()
    if not run_id:
        return None
    run = read_run(run_id)
    used_by, entry_point = run.data.tags.get(VERB), run.data.tags.get(ENTRY_POINT)
    if used_by and not is_own(owner, run):
        of = name_experiment(owner_of(owner, run))
        raise UserError(f"{RUN_ID_SETTING}: run {run_id} is of {of}; allowed: a run of {owner.name!r}")
    foreign = set(run.data.params) - {EVALUATE, *owner.Parameters.model_fields}
    if not used_by and entry_point == "main" and verb == "train" and foreign and not is_made_for(owner, run):
        names = ", ".join(sorted(foreign))
        raise UserError(
            f"{RUN_ID_SETTING}: run {run_id} was made by mlflow run with another experiment's parameters ({names}); "
            f"allowed: a run of {owner.name!r}"
        )
    if used_by == verb in RESUMED or (not used_by and entry_point in (None, "main" if verb == "train" else verb)):
        return run
    what = f"is a run of {used_by}" if used_by else f"was made by mlflow run for {entry_point}"
    allowed = f"{RESUMED[verb]}, a run that nothing has begun" if verb in RESUMED else "a run that nothing has begun"
    raise UserError(
        f"{RUN_ID_SETTING}: run {run_id} {what} and cannot become one of {verb}; allowed: {allowed}, or no --run-id"
    )


def read_run(run_id: str) -> MlflowRun:
    """Read the run with this id.

    Raises:
        UserError: if the run does not exist, or is deleted.
        RunFailed: if the store keeps failing.
    """
    try:
        run = with_retries("finding the run", partial(mlflow.MlflowClient().get_run, run_id))
    except StoreFailed:
        raise
    except RunFailed as error:
        run = None
        if is_denied(error.__cause__):
            reason = explain_unreadable(RUN_ID_SETTING, f"run {run_id!r}", "a run", tracking_uri())
            raise UserError(reason) from None
    if run is None or run.info.lifecycle_stage != "active":
        fault = f"{RUN_ID_SETTING}: no run can begin, as there is no run {run_id!r}"
        raise UserError(f"{fault}; allowed: a run that exists and is not deleted")
    return run


def start(
    owner: Experiment,
    verb: str,
    name: str,
    experiment_id: str | None,
    launch: str,
    run_id: str,
    more_tags: Mapping[str, str],
) -> tuple[mlflow.ActiveRun, bool]:
    """Start the active run; returns it, and whether it is new.

    Args:
        owner: the run's experiment.
        launch: the tag ``launch``, set before any work: JSON with a unique ``token``.
        run_id: the resumed run's id; else empty.
        more_tags: set with it.

    Raises:
        UserError: if MLflow's settings name an experiment or a run that cannot be used.
        RunFailed: if the store keeps failing.
    """
    tags = _identify(owner, verb) | {LAUNCH: launch} | dict(more_tags)
    created = None if run_id else require_own_run(owner, verb)  # again: another process may have used it meanwhile
    try:
        existing = run_id or (
            created.info.run_id if created and experiment_id in (None, created.info.experiment_id) else ""
        )
        if existing:
            resume = partial(mlflow.start_run, run_id=existing)
            active = with_retries("starting the run", resume)
            forget_mlflow_run_id()
            try:
                set_tags("tagging the run", active.info.run_id, tags)
            except Exception:
                end_active_run("FAILED")
                raise
            return active, False
        forget_mlflow_run_id()
        active = _create(name, experiment_id, tags)
    except StoreFailed:
        raise  # it does not answer: not the user's mistake
    except (MlflowException, RunFailed) as error:
        raise UserError(
            f"MLFLOW_EXPERIMENT_NAME, MLFLOW_EXPERIMENT_ID or {RUN_ID_SETTING}: no run can begin ({one_line(error)}); "
            "allowed: an experiment or a run that exists and is not deleted"
        ) from None
    if created:
        where = f"#/experiments/{active.info.experiment_id}/runs/{active.info.run_id}"
        link = {MLFLOW_RUN_NAME: f"see {name}", MLFLOW_RUN_NOTE: f"Logged as [{name}]({where})."}
        set_tags("linking the run", created.info.run_id, _identify(owner, verb) | link)
    return active, True


def _identify(owner: Experiment, verb: str) -> dict[str, str]:
    """Give the tags that name a run's verb and experiment, and the version that runs it."""
    return {VERB: verb, EXPERIMENT: owner.name, TRACKED_VERSION: __version__}


def _create(name: str, experiment_id: str | None, tags: Mapping[str, str]) -> mlflow.ActiveRun:
    """Create a run with these tags.

    A run whose answer was lost is found by its token.
    """
    inside = mlflow.active_run() is not None
    tried: list[bool] = []

    def attempt() -> mlflow.ActiveRun:
        if tried:
            token = json.loads(tags[LAUNCH])["token"]
            matches = mlflow.search_runs(
                None if experiment_id is None else [experiment_id],
                f"tags.{LAUNCH} LIKE '%{token}%'",
                output_format="list",
                search_all_experiments=experiment_id is None,
            )
            for surplus in matches[:-1]:  # the newest first; a late answer may have created several
                _discard(surplus.info.run_id)
            if matches:
                return mlflow.start_run(run_id=matches[-1].info.run_id, nested=inside)
        tried.append(True)
        return mlflow.start_run(run_name=name, tags=dict(tags), experiment_id=experiment_id, nested=inside)

    with single_calls():
        return with_retries("creating a run", attempt)


def _discard(run_id: str) -> None:
    """Delete a run that a late answer has created, or end it as closed where this user may not delete."""
    client = mlflow.MlflowClient()
    try:
        client.delete_run(run_id)
    except MlflowException as error:
        if not is_denied(error):
            raise
        client.set_tag(run_id, CLOSED, "true")
        client.set_terminated(run_id, "KILLED")


def name_run(owner: Experiment, run: MlflowRun, verb: str) -> None:
    """Tag and name the run that ``mlflow run`` has created for a verb that has no run of its own.

    Raises:
        RunFailed: if the store keeps failing.
    """
    set_tags("naming the run", run.info.run_id, _identify(owner, verb) | {MLFLOW_RUN_NAME: verb})


def end_active_run(status: str) -> None:
    """End MLflow's active run, ignoring errors: left active, MLflow would set it to FINISHED at exit."""
    with suppress(Exception), redirect_stdout(StringIO()):  # MLflow would print the run's address again
        mlflow.end_run(status)


def is_made_up(name: str) -> bool:
    """Whether MLflow made the name up, such as gifted-crow-512; a name that a user chose is kept.

    MLflow's words are private to it: where they are not found, every name counts as chosen.
    """
    predicates, nouns = (getattr(name_utils, words, ()) for words in ("_GENERATOR_PREDICATES", "_GENERATOR_NOUNS"))
    predicate, _, rest = name.partition("-")
    noun, _, number = rest.partition("-")
    return predicate in predicates and noun in nouns and number.isdigit()
