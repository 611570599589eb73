"""Which run folders are in nobody's way: those of settled runs, whose last attempt signed them."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from tracked.console.lines import one_line
from tracked.experiment import Experiment
from tracked.runs import artifact_files
from tracked.runs.queries import MlflowRun
from tracked.runs.run_parameters import read_launch
from tracked.runs.schema import CHECKPOINT, REGISTERED, VERB
from tracked.runs.store_contents import StoreContents
from tracked.search.search_status import FILES
from tracked.tidy import needs, settled, trainings
from tracked.tidy.things import Thing, generalize
from tracked.training import run_folder
from tracked.training.files import BEST
from tracked.training.files import CHECKPOINT as NUMBERED


def file_patterns(owner: Experiment, run: MlflowRun) -> Sequence[str]:
    """Give the patterns of the files that a run folder may have beside every training's."""
    return FILES if run.data.tags.get(VERB) == "search" else owner.file_patterns


def explain_need(
    owner: Experiment, view: StoreContents, run: MlflowRun, folder: Path, beyond: Collection[str], cutoff: int
) -> str:
    """Explain why a run folder must stay; empty if nothing needs it. Whether a process holds it is not asked.

    The last attempt signs the folder before the run has its token: a folder with another last token is of an attempt
    that this store does not know of, such as one on another server with a copy of the run.

    Args:
        beyond: the trainings without a version that are not among the best.

    Raises:
        OSError: if the folder cannot be read.
        RunFailed: if the run's checkpoint cannot be read.
    """
    if reason := settled.explain_unsettled(owner, view, run, cutoff) or settled.explain_pinned(view, run):
        return reason
    attempts, token = run_folder.read_attempts(folder), read_launch(run).get("token")
    if folder.is_symlink() or not token or attempts[-1:] != [token]:
        return "its last attempt is not known to be this run's"
    if foreign := run_folder.list_foreign(folder, run_folder.compile_own_files(file_patterns(owner, run))):
        return f"it has files of others, such as {foreign[0]}"
    if REGISTERED in run.data.tags or not trainings.has_checkpoint(folder) or _is_stored(run, folder):
        return ""
    if run.info.run_id not in beyond:
        return "it has a checkpoint that its run lacks"
    return needs.explain_need(owner, view, run, cutoff)


def _is_stored(run: MlflowRun, folder: Path) -> bool:
    """Whether the run has the newest checkpoint of its folder, which is the best: each is better than those before."""
    paths = {
        int(match[1]): path
        for pattern in ("*", "aside-*/*")
        for path in sorted(folder.glob(pattern), reverse=True)
        if (match := NUMBERED.fullmatch(path.name)) and path.is_file() and not path.is_symlink()
    }
    newest = paths[max(paths)] if paths else folder / BEST
    stored = artifact_files.digest(run.info.artifact_uri, CHECKPOINT)
    return bool(stored) and newest.is_file() and artifact_files.digest_file(newest) == stored


def find_things(
    owner: Experiment,
    view: StoreContents,
    runs: Iterable[MlflowRun],
    root: Path,
    beyond: Collection[str],
    cutoff: int,
    names: Mapping[str, str],
    kept: Counter[str],
) -> list[Thing]:
    """Find the run folders that may go.

    Args:
        runs: the experiment's; a folder of a run that the store does not have is not looked at.
        root: of the run folders.
        beyond: the trainings without a version that are not among the best.
        names: the MLflow experiments', by id.
        kept: counts why others stay.
    """
    things = []
    for run in runs:
        folder = root / run.info.run_id
        try:
            if run.data.tags.get(VERB) not in ("train", "search") or not folder.is_dir():
                continue
            reason = explain_need(owner, view, run, folder, beyond, cutoff)
            if not reason and (holder := run_folder.find_holder(folder)):
                reason = f"{holder} holds it"
            size = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
        except OSError as error:
            reason, size = f"it cannot be read ({one_line(error)})", 0
        if reason:
            kept[f"run folder: {generalize(reason)}"] += 1
            continue
        title, place = str(run.info.run_name), names[run.info.experiment_id]
        why = f"snapshots of a run that is {'complete' if REGISTERED in run.data.tags else 'closed'}"
        things.append(Thing("run folder", run.info.run_id, title, str(folder), (), size, why, place))
    return things
