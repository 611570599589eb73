"""Remove a thing, after it was checked once more that nothing needs it."""

from collections.abc import Callable
from pathlib import Path

from tracked.console.errors import RunFailed
from tracked.console.lines import one_line
from tracked.runs import artifact_files
from tracked.runs.schema import CLOSED, PARENT_RUN_ID
from tracked.tidy import evaluations, folders, leftovers, needs
from tracked.tidy.plan import Plan
from tracked.tidy.things import Thing
from tracked.training.run_folder_lock import HeldError, RunFolderLock

REMOVED, GONE = "removed", "its run is gone"


def remove(plan: Plan, thing: Thing) -> str:
    """Remove a thing, unless something needs it by now; returns ``REMOVED``, or why it was kept.

    What others could still take is made unreachable first: a stored model's record goes before its files.

    Raises:
        RunFailed: if it cannot be checked or removed; what is left of it is found by the next tidy.
    """
    if thing.of and thing.kind != "leftover" and thing.of not in plan.view.runs:
        return GONE
    try:
        return REMOVERS[thing.kind](plan, thing) or REMOVED
    except HeldError as held:
        return f"{held} holds it"
    except OSError as error:
        raise RunFailed(f"{thing.uri} cannot be removed ({one_line(error)})") from error


def _remove_of_training(plan: Plan, thing: Thing) -> str:
    """Remove a stored model, a checkpoint or a table of rows of a training without a version."""
    if not thing.of:
        return _remove_leftover(plan, thing)
    run_id, view = thing.of, plan.view
    search = view.runs[run_id].data.tags.get(PARENT_RUN_ID)
    own = [model.model_id for model in needs.list_own_models(view, view.runs[run_id])]
    view.refresh(filter(None, (run_id, search)), {*own, *filter(None, [thing.model_id])})
    run = view.runs.get(run_id)
    if run is None:
        return GONE
    with RunFolderLock(plan.owner.file_patterns) as lock:
        if CLOSED in run.data.tags:  # it can be resumed: whoever does holds the folder first
            lock.take(plan.root / run_id)
        if reason := needs.explain_need(plan.owner, view, run, plan.cutoff):
            return reason
        if thing.kind != "stored model":
            for path in thing.paths:
                artifact_files.delete(thing.uri, path)
            return ""
        if not thing.uri.endswith(f"/{leftovers.MODELS}/{thing.model_id}/{leftovers.ARTIFACTS}"):
            return "its files are not where MLflow stores a model"
        artifact_files.delete_model(thing.model_id)
        artifact_files.delete(thing.uri.removesuffix(f"/{thing.model_id}/{leftovers.ARTIFACTS}"), thing.model_id)
        view.forget_model(thing.model_id)
    return ""


def _remove_evaluation(plan: Plan, thing: Thing) -> str:
    view = plan.view
    finished = evaluations.list_evaluations(plan.owner, view, [view.runs[thing.of].info.experiment_id])
    newer = evaluations.find_successor(view, view.runs[thing.of], finished)
    view.refresh([thing.of, *([newer.info.run_id] if newer else [])], [])
    run = view.runs.get(thing.of)
    if run is None:
        return GONE
    finished = evaluations.list_evaluations(plan.owner, view, [run.info.experiment_id])
    newer = evaluations.find_successor(view, run, finished)
    if reason := evaluations.explain_need(plan.owner, view, run, finished, plan.cutoff, newer):
        return reason
    if newer and not set(thing.paths) <= set(evaluations.list_files(plan.owner, newer)):
        return "the newer one does not hold the same files"
    for path in thing.paths:
        artifact_files.delete(thing.uri, path)
    return ""


def _remove_folder(plan: Plan, thing: Thing) -> str:
    folder, run = Path(thing.uri), plan.view.runs[thing.of]
    if not folder.is_dir():
        return ""
    with RunFolderLock(folders.file_patterns(plan.owner, run)) as lock:
        lock.take(folder)
        search = run.data.tags.get(PARENT_RUN_ID)
        plan.view.refresh(filter(None, (thing.of, search)), [])
        present = plan.view.runs.get(thing.of)
        if present is None:
            return GONE
        if reason := folders.explain_need(plan.owner, plan.view, present, folder, plan.beyond, plan.cutoff):
            return reason
        lock.remove()
    return ""


def _remove_leftover(plan: Plan, thing: Thing) -> str:
    one_id = thing.model_id or thing.of
    is_model = leftovers.MODEL.fullmatch(one_id) is not None
    plan.view.refresh([] if is_model else [one_id], [one_id] if is_model else [])
    if reason := leftovers.explain_need(plan.view, one_id):
        return reason
    for path in thing.paths:
        artifact_files.delete(thing.uri, path)
    return ""


REMOVERS: dict[str, Callable[[Plan, Thing], str]] = {
    "evaluation": _remove_evaluation,
    "stored model": _remove_of_training,
    "checkpoint": _remove_of_training,
    "rows": _remove_of_training,
    "run folder": _remove_folder,
    "leftover": _remove_leftover,
}
