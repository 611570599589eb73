"""What needs a training: a version, an alias, another record that names it, or people who have pinned it."""

from tracked.experiment import Experiment
from tracked.runs.queries import MlflowRun
from tracked.runs.schema import MODEL_VERSIONS, REGISTERED, STORED_BY
from tracked.runs.store_contents import MlflowModel, StoreContents, tags_of
from tracked.tidy import settled


def list_own_models(view: StoreContents, run: MlflowRun) -> list[MlflowModel]:
    """List the models that a training itself has stored; others may have logged more at its run."""
    run_id = run.info.run_id
    return [model for model in view.models_of(run_id) if tags_of(model).get(STORED_BY) == run_id]


def explain_version(view: StoreContents, run: MlflowRun) -> str:
    """Explain which version a training may have; empty if it is known to have none.

    A version that is not found was deleted, or is in another registry: nothing in a store tells which.
    """
    own = list_own_models(view, run)
    for one_id in (run.info.run_id, *(model.model_id for model in own)):
        if found := sorted(name for name in view.list_namers(one_id) if name.startswith("version ")):
            return f"{found[0]} needs it"
    if REGISTERED in run.data.tags:
        return "its version may be in another registry"
    if linked := [model.model_id for model in own if tags_of(model).get(MODEL_VERSIONS)]:
        return f"model {linked[0]} says that a version has it"
    return ""


def explain_need(owner: Experiment, view: StoreContents, run: MlflowRun, cutoff: int) -> str:
    """Explain why what a training has stored must stay; empty if nothing needs it."""
    if reason := settled.explain_unsettled(owner, view, run, cutoff) or settled.explain_pinned(view, run):
        return reason
    own, run_id = list_own_models(view, run), str(run.info.run_id)
    if reason := explain_version(view, run):
        return reason
    if strangers := {model.model_id for model in view.models_of(run_id)} - {model.model_id for model in own}:
        return f"model {min(strangers)}, which others have logged there, needs it"
    if pinned := [model.model_id for model in own if settled.is_pinned(dict(tags_of(model)))]:
        return f"its model {pinned[0]} is pinned"
    if young := [model.model_id for model in own if max(model.last_updated_timestamp, 0) > cutoff]:
        return f"its model {young[0]} was changed too recently"
    excused = {f"run {run_id}", *(f"model {model.model_id}" for model in own)}
    for one_id in (run_id, *(model.model_id for model in own)):
        if namers := sorted(view.list_namers(one_id) - excused):
            return f"{namers[0]} names it"
    return ""
