"""Whether a run is settled: it has ended for good, and nothing that may still resume refers to it."""

from tracked.experiment import Experiment
from tracked.resume import training_status
from tracked.runs.queries import MlflowRun
from tracked.runs.schema import CLOSED, EXPERIMENT, PARENT_RUN_ID, PINNED, REGISTERED, VERB
from tracked.runs.store_contents import StoreContents

ENDED = ("FINISHED", "FAILED", "KILLED")
DAY = 24 * 3600 * 1000


def is_own(owner: Experiment, run: MlflowRun) -> bool:
    """Whether a run names this experiment: one from before experiments had names may be anybody's."""
    return run.data.tags.get(EXPERIMENT) == owner.name


def is_pinned(tags: dict[str, str]) -> bool:
    """Whether people have pinned something."""
    return tags.get(PINNED, "false").strip().lower() != "false"


def find_search(view: StoreContents, run: MlflowRun) -> MlflowRun | None:
    """Find the search that a training is of; None if the store does not have it."""
    return view.runs.get(run.data.tags.get(PARENT_RUN_ID, ""))


def explain_unsettled(owner: Experiment, view: StoreContents, run: MlflowRun, cutoff: int) -> str:
    """Explain why a training or a search is not settled, or has not been for long enough; empty if it is.

    A training of a search is settled once the search is, which alone resumes it.

    Args:
        cutoff: the milliseconds since 1970 before which it must have ended.
    """
    if run.info.lifecycle_stage != "active":
        return "its run is deleted, and may be restored"
    if not is_own(owner, run) or run.data.tags.get(VERB) not in ("train", "search"):
        return "it is no training or search of this experiment"
    if training_status.is_of_search(run):
        search = find_search(view, run)
        if search is None:
            return "its search is not in the store"
        if reason := explain_unsettled(owner, view, search, cutoff):
            return f"of its search: {reason}"
        if search.data.tags[VERB] != "search" or run.info.status not in ENDED:
            return "it is unfinished"
    elif not _has_ended(run):
        return "it is unfinished"
    if run.info.end_time is None or run.info.end_time > cutoff:
        return "it has ended too recently"
    return ""


def _has_ended(run: MlflowRun) -> bool:
    """Whether a training or a search is complete, or was closed and not resumed since."""
    tags, status = run.data.tags, run.info.status
    if REGISTERED in tags:
        return status == "FINISHED"
    return CLOSED in tags and status == "KILLED"


def explain_pinned(view: StoreContents, run: MlflowRun) -> str:
    """Explain who has pinned a run: itself, or the run that it is of; empty if nobody has."""
    if is_pinned(run.data.tags):
        return "its run is pinned"
    parent = find_search(view, run)
    return f"run {parent.info.run_id}, which it is of, is pinned" if parent and is_pinned(parent.data.tags) else ""
