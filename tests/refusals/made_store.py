"""The store that the commands of the tables find: the runs and models of ``store.toml``.

Its trainings, its search and its prediction are real ones that are broken off before their work, as it needs
TensorFlow; of models, there is no more than what is read before they are loaded.
"""

import gc
import importlib
import os
import shutil
import signal
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import alembic.command
import git
import mlflow.store.model_registry.sqlalchemy_workspace_store
import mlflow.store.tracking.sqlalchemy_workspace_store
import numpy as np
import pyarrow.pandas_compat
import sklearn.datasets
from mlflow.models import Model, infer_signature
from scripts import fill, find

import imdb_conv1d.explain_page
import imdb_conv1d.explain_texts
import imdb_conv1d.texts_part
import tracked.models.promotion
import tracked.reports.comparison_report
import tracked.reports.replay_report
import tracked.serve.server
import tracked.tidy.tracked_tidy
from helpers import forked
from helpers.tidying import MadeUp
from tracked.console.errors import Interrupted
from tracked.console.signals import Signals
from tracked.predict import tracked_prediction
from tracked.predict.journal import JOURNAL, Journal
from tracked.predict.tasks import Part
from tracked.resume import tracked_training
from tracked.search import tracked_search
from tracked.training import reproducibility
from tracked.training.run_folder_lock import RunFolderLock
from tracked.verbs import command

HERE = Path(__file__).parent
IMPORTED = (alembic, git, imdb_conv1d, mlflow, pyarrow, sklearn, tracked)  # all that commands import on demand


def prepare(folder: Path, held: ExitStack) -> Mapping[str, str]:
    """Make the store that MLflow's settings name, and warm MLflow up; returns the runs' ids by name.

    MLflow keeps its store objects, which take most of a command's time: this process makes them and closes their
    connections, so that a fork has none, nor a thread.

    Args:
        held: what some runs are held by.
    """
    names: Mapping[str, str] = forked.in_child(build, folder)
    for place in (f"snapshots/{names['held']}", f"snapshots/{names['held-search']}", "held/work"):
        held.enter_context(RunFolderLock()).take(folder / place)
    client = mlflow.MlflowClient()
    client.search_runs(["0"])
    client.search_model_versions()
    for store in (client._tracking_client.store, client._get_registry_client().store):
        store.engine.dispose()
    gc.collect()
    gc.freeze()  # so that a collection in a forked process copies no page of this one
    return names


def build(folder: Path) -> Mapping[str, str]:
    """Make the store, with its files in a folder."""
    shutil.copytree(HERE / "data", folder, dirs_exist_ok=True)
    os.chdir(folder)
    reproducibility.make_repeatable = tracked_training._import_training_code = lambda *_: None
    tracked_training.auto_rate.resolve = break_off
    tracked_search._choose_workers = tracked_prediction.choose_workers = lambda parameters: break_off
    made, content, names = MadeUp(folder), tomllib.loads((HERE / "store.toml").read_text()), dict[str, str]()
    for name, run in content["runs"].items():
        tags = {tag: fill(value, names) for tag, value in run.pop("tags", {}).items()}
        names[name] = copy(made, names[run.pop("copy")], tags, **run) if "copy" in run else begin(made, **run)
    for name, versions in content["models"].items():
        for version in versions:
            add_version(made, name, names[version.pop("run")], **version)
    begin(made, "diabetes.py predict --model=models:/diabetes/1 --data=patients.csv --output=begun")
    journal = Journal(folder / "begun" / "work" / JOURNAL)
    journal.note(part=asdict(Part(0, "part-00000.parquet", "", 3, 3, 0, "", "", {}, {})))  # else it would begin anew
    made.client.create_experiment("empty")
    made.client.delete_experiment(made.client.create_experiment("gone"))
    names["other-place"] = made.client.create_run(made.client.create_experiment("other")).info.run_id
    made.client.set_registered_model_tag("withdrawn", "champions", '["1", "2"]')
    return names


def break_off(*_: object) -> NoReturn:
    """End a verb's work before it begins, as SIGTERM does."""
    raise Interrupted(signal.SIGTERM)


def begin(made: MadeUp, command_line: str) -> str:
    """Run a verb until it is broken off; returns its run's id."""
    script, *arguments = command_line.split()
    experiment, verb = find(script)
    module = importlib.import_module(command.find_modules(experiment)[verb or arguments.pop(0)])
    with suppress(Interrupted):
        module.main(experiment, arguments, Signals())
    return str(made.client.search_runs(["0"], max_results=1)[0].info.run_id)


def copy(
    made: MadeUp, run_id: str, tags: Mapping[str, str], metrics: Mapping[str, Sequence[float]] = {},
    files: Mapping[str, str] = {}, params: Mapping[str, str] = {}, status: str = "KILLED",
) -> str:  # fmt: skip
    """Copy a run's tags with others, of which an empty one is taken away; returns the copy's id."""
    contents = {path: text.encode() for path, text in files.items()}
    copied = made.run("", made.client.get_run(run_id).data.tags | tags, params, metrics, contents, status)
    for tag in [tag for tag, value in tags.items() if not value]:
        made.client.delete_tag(copied, tag)
    return copied


def add_version(
    made: MadeUp, name: str, run_id: str, metadata: Mapping[str, Any] = {}, loader: str = "mlflow.tensorflow",
    file: str = "notes.txt", tags: Mapping[str, str] = {}, *, takes_text: bool = True, is_champion: bool = False,
    is_evaluated: bool = False,
) -> None:  # fmt: skip
    """Register a model with its metadata, its loader and a file; an empty value of the metadata is taken away."""
    of_run = made.client.get_run(run_id).data.tags
    known = {tag: of_run[tag] for tag in ("data_source", "data_digest", "experiment")} | metadata
    known = {tag: value for tag, value in known.items() if value}
    model_id, signature = made.model(run_id), infer_signature(np.array(["a text"])) if takes_text else None
    described = Model(run_id=run_id, model_id=model_id, metadata=known, signature=signature)
    described.add_flavor("python_function", loader_module=loader)
    described.save("MLmodel")
    Path(file).write_text("{")
    for path in ("MLmodel", file):
        made.client.log_model_artifact(model_id, path)
    of_version = {tag: str(value) for tag, value in known.items()} | {"best_epoch": "1"} | tags
    number = made.version(run_id, f"models:/{model_id}", name, of_version)
    for alias in ("candidate", "champion") if is_champion else ("candidate",):
        made.client.set_registered_model_alias(name, alias, number)
    if is_evaluated:
        made.evaluation(run_id, model_id)
