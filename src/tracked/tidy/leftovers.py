"""Folders below an experiment's root of artifacts whose run or stored model the store does not have any more.

``mlflow gc`` forgets a run, and may leave its files. A store cannot tell whether another one writes below the same
root: what looks left over may be that one's.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping

from tracked.runs import artifact_files, store_pages
from tracked.runs.store_contents import StoreContents
from tracked.tidy.things import Thing, generalize

RUN, MODEL = re.compile("[0-9a-f]{32}"), re.compile("m-[0-9a-f]{32}")
MODELS, ARTIFACTS = "models", "artifacts"
BEGUN = "an earlier tidy has begun to remove it"


def list_folders(roots: Mapping[str, str]) -> dict[str, list[str]]:
    """List the folders that are named like runs and stored models, by experiment. To be called before a store is read.

    A run is in the store before it has a folder: what is listed here and not in the store then is left over.

    Args:
        roots: the roots of artifacts by the experiment's id.

    Raises:
        RunFailed: if they cannot be listed.
    """
    found: dict[str, list[str]] = {}
    for experiment_id, root in roots.items():
        paths = [path for path in artifact_files.list_folders(root) if RUN.fullmatch(path)]
        models = artifact_files.list_folders(root, MODELS)
        paths += [path for path in models if MODEL.fullmatch(path.removeprefix(f"{MODELS}/"))]
        found[experiment_id] = paths
    return found


def explain_need(view: StoreContents, one_id: str) -> str:
    """Explain why the folder of a run or a stored model must stay; empty if the store has neither it nor its name.

    Raises:
        RunFailed: if the store does not tell.
    """
    if one_id in view.runs or one_id in view.models:
        return "the store has it"
    if namers := sorted(view.list_namers(one_id)):
        return f"{namers[0]} names it"
    is_model = MODEL.fullmatch(one_id) is not None
    return "the store has it" if store_pages.exists("" if is_model else one_id, one_id if is_model else "") else ""


def find_things(
    view: StoreContents,
    folders: Mapping[str, list[str]],
    begun: Collection[str],
    names: Mapping[str, str],
    kept: Counter[str],
) -> list[Thing]:
    """Find what is left over.

    Args:
        folders: as :func:`list_folders` returns them.
        begun: the stored models that an earlier tidy has begun to remove: these are known to be this store's.
        names: the MLflow experiments', by id.
        kept: counts why others stay.
    """
    things = []
    for experiment_id, paths in folders.items():
        root = str(view.experiments[experiment_id].artifact_location)
        for path in paths:
            one_id = path.rpartition("/")[2]
            if reason := explain_need(view, one_id):
                if reason != "the store has it":
                    kept[f"leftover: {generalize(reason)}"] += 1
                continue
            # A store of files keeps its runs below such a root, with other files beside their artifacts.
            if not set(artifact_files.list_names(root, path)) <= {ARTIFACTS}:
                kept["leftover: it holds more than artifacts"] += 1
                continue
            size = sum(artifact_files.list_sizes(root, path).values())
            kind, place = "model" if MODEL.fullmatch(one_id) else "run", names[experiment_id]
            if one_id in begun:
                things.append(Thing("stored model", "", "", root, (path,), size, BEGUN, place, one_id))
            else:
                why = f"the store has no such {kind}"
                things.append(Thing("leftover", one_id, path, root, (path,), size, why, place))
    return things
