"""Which evaluations are in nobody's way: a newer one holds the same, or nothing of their model is left."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from tracked.experiment import Experiment
from tracked.runs import artifact_files, evaluations, store_pages
from tracked.runs.queries import MlflowRun
from tracked.runs.schema import (
    BASELINE_KEY,
    BASELINE_PREDICTIONS,
    BASELINES_FOLDER,
    DATA_DIGEST,
    EVALUATION_FORMAT,
    LOSS_OF_ROWS,
    MISTAKES,
    MODEL_ID,
    PREDICTIONS,
    ROWS_DIGEST,
    TRAINING_RUN_ID,
    VERB,
)
from tracked.runs.store_contents import StoreContents
from tracked.tidy import settled
from tracked.tidy.things import Thing, generalize

# Two evaluations that are equal in these, and in their parameters, are interchangeable for every verb.
IDENTITY = (MODEL_ID, TRAINING_RUN_ID, ROWS_DIGEST, DATA_DIGEST, LOSS_OF_ROWS, EVALUATION_FORMAT)


def list_evaluations(owner: Experiment, view: StoreContents, experiment_ids: Collection[str]) -> list[MlflowRun]:
    """List an experiment's finished evaluations that are not deleted, the newest first."""
    found = [
        run
        for run in view.runs.values()
        if run.info.experiment_id in experiment_ids
        and run.data.tags.get(VERB) == "evaluate"
        and settled.is_own(owner, run)
        and run.info.lifecycle_stage == "active"
        and run.info.status == "FINISHED"
    ]
    return sorted(found, key=lambda run: (run.info.start_time, run.info.run_id), reverse=True)


def list_files(owner: Experiment, run: MlflowRun) -> dict[str, int]:
    """List the files of an evaluation that may go, with their sizes: predictions, the model's and the baselines'."""
    uri = run.info.artifact_uri
    own = {PREDICTIONS, MISTAKES, *(BASELINE_PREDICTIONS.format(baseline=name) for name in owner.baselines)}
    names = artifact_files.list_names(uri)
    if PREDICTIONS not in names and BASELINES_FOLDER not in names:
        return {}
    return {path: size for path, size in artifact_files.list_sizes(uri).items() if path in own}


def find_successor(view: StoreContents, run: MlflowRun, finished: Sequence[MlflowRun]) -> MlflowRun | None:
    """Find a newer evaluation that is equal in all that a verb may ask for; None if there is none.

    Args:
        finished: evaluations, the newest first.
    """
    identity = _identify(run)
    if identity is None:
        return None
    key = run.data.tags.get(BASELINE_KEY)
    for other in finished:
        is_newer = other.info.start_time > run.info.start_time and other.info.experiment_id == run.info.experiment_id
        if is_newer and _identify(other) == identity and key in (None, other.data.tags.get(BASELINE_KEY)):
            return other
    return None


def _identify(run: MlflowRun) -> tuple[object, ...] | None:
    """Give all that two evaluations must have in common; None if one of these is not known."""
    tags, parameters = run.data.tags, {**run.data.params}
    parameters.pop("model", None)  # by whichever name: its id tells
    values = [tags.get(name, "") for name in IDENTITY]
    if not all(values) or tags[EVALUATION_FORMAT] != evaluations.FORMAT:
        return None
    return (*values, *sorted(parameters.items()))


def explain_need(
    owner: Experiment,
    view: StoreContents,
    run: MlflowRun,
    finished: Sequence[MlflowRun],
    cutoff: int,
    newer: MlflowRun | None,
) -> str:
    """Explain why an evaluation's predictions must stay; empty if nothing needs them.

    Args:
        newer: what :func:`find_successor` finds.
    """
    info, tags = run.info, run.data.tags
    if info.lifecycle_stage != "active" or info.status != "FINISHED" or not settled.is_own(owner, run):
        return "its run is deleted, or another's"
    if info.end_time is None or info.end_time > cutoff:
        return "it has ended too recently"
    if reason := settled.explain_pinned(view, run):
        return reason
    if namers := sorted(view.list_namers(info.run_id)):
        return f"{namers[0]} names it"
    if newer:
        return ""
    if reason := explain_model(view, run):
        return reason
    if key := tags.get(BASELINE_KEY):
        newest = next(other for other in finished if other.data.tags.get(BASELINE_KEY) == key)
        if newest.info.run_id == info.run_id:
            return "later evaluations take the baselines' predictions from it"
    return ""


def explain_model(view: StoreContents, run: MlflowRun) -> str:
    """Explain what is left of an evaluation's model; empty if neither its training nor the model exists any more.

    As long as the training's run exists, also as a deleted one, a comparison may use the evaluation.
    """
    training, model_id = run.data.tags.get(TRAINING_RUN_ID, ""), run.data.tags.get(MODEL_ID, "")
    if not training or not model_id:
        return "it does not name its training and its model"
    others = [view.list_namers(one) for one in (training, model_id)]
    if any(name.startswith("version ") for names in others for name in names):
        return "a version of its model exists"
    if training in view.runs or model_id in view.models:
        return "its training or its model exists"
    if store_pages.exists(run_id=training) or store_pages.exists(model_id=model_id):
        return "its training or its model exists"
    return ""


def find_things(
    owner: Experiment,
    view: StoreContents,
    experiment_ids: Collection[str],
    compared: Collection[str],
    cutoff: int,
    names: Mapping[str, str],
    kept: Counter[str],
) -> list[Thing]:
    """Find what may go of evaluations.

    Args:
        compared: the evaluations that comparisons have used.
        names: the MLflow experiments', by id.
        kept: counts why others stay.
    """
    finished, things = list_evaluations(owner, view, experiment_ids), list[Thing]()
    alike: dict[object, list[MlflowRun]] = {}  # few of them: a comparison of each with all takes minutes
    for run in finished:
        alike.setdefault(_identify(run), []).append(run)
    for run in finished:
        run_id = str(run.info.run_id)
        reason = "a comparison has used it" if run_id in compared else ""
        newer = find_successor(view, run, alike[_identify(run)])
        reason = reason or explain_need(owner, view, run, finished, cutoff, newer)
        files = {} if reason else list_files(owner, run)
        if newer and not reason and not set(files) <= set(list_files(owner, newer)):
            reason = "the newer one does not hold the same files"
        if reason:
            kept[f"evaluation: {generalize(reason)}"] += 1
        elif files:
            why = f"evaluation {newer.info.run_id} holds the same" if newer else "its training and its model are gone"
            size = sum(files.values())
            title, place = str(run.info.run_name), names[run.info.experiment_id]
            things.append(Thing("evaluation", run_id, title, run.info.artifact_uri, tuple(files), size, why, place))
    return things
