"""The schemas of stored names, compared with what runs of both experiments hold and with the code."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import Run
from mlflow.models import Model

import imdb_conv1d.schema
from diabetes import Diabetes
from helpers import SRC
from helpers.pages import literals
from helpers.resuming import break_off, resume
from helpers.reviews import TINY, make_reviews
from helpers.runs import artifacts
from helpers.stores import copied_store
from helpers.verbs import Verb
from imdb_conv1d.experiment import EXPERIMENT
from tracked.analysis.pruning import RULES
from tracked.console.signals import Signals
from tracked.experiment import Experiment
from tracked.runs import schema
from tracked.runs.schema import CONTENTS
from tracked.training import files, journal, run_folder, snapshot_file

TRAINING, EVALUATION = "The run of a training", "The run of an evaluation"
SECTIONS = {
    "train": TRAINING, "find_rate": "The run of a range test", "evaluate": EVALUATION, "replay": "The run of a replay",
    "compare": "The run of a comparison",
    "promote": "The run of a promotion or a rollback", "rollback": "The run of a promotion or a rollback",
    "tidy": "The run of a tidy",
}  # fmt: skip
OWN_VERB = "The run of a verb of the experiment's own"
OWN = {EXPERIMENT.name: imdb_conv1d.schema.CONTENTS, "diabetes": {}}
SCORES = {EXPERIMENT.name: list(imdb_conv1d.schema.SCORES), "diabetes": ["loss", "rmse", "r2"]}
MLFLOWS_OWN = {
    "mlflow.runName", "mlflow.user", "mlflow.source.name", "mlflow.source.type", "mlflow.source.git.commit",
    "mlflow.artifactLocation", "mlflow.rootRunId",
}  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[None]:
    """A store with runs of every verb of both experiments."""
    folder = tmp_path_factory.mktemp("schema")
    data = folder / "reviews.csv"
    make_reviews(200).to_csv(data, index=False)
    with pytest.MonkeyPatch.context() as patch, copied_store(empty_store, folder, patch):
        break_off(data, 1, "--patience=1", "--epochs=2")
        resume("--resume=latest", "--epochs=3")
        run_all_verbs(EXPERIMENT, [*TINY, f"--data={data}", "--epochs=2"], "--margin=5")
        run_all_verbs(Diabetes(), ["--patience=2", "--epochs=60", "--learning_rate=0.1"], "--margin=100")
        yield


def run_all_verbs(experiment: Experiment, flags: Sequence[str], margin: str) -> None:
    def run(verb: str, *arguments: str) -> None:
        Verb(verb, experiment).main(arguments, Signals())

    for number, seed in enumerate((1, 2), start=1):
        run("train", *flags, f"--seed={seed}")
        run("evaluate")
        run("promote", f"--model=models:/{experiment.name}/{number}", margin)
    own = ("--patience", "--epochs", "--learning_rate")
    run("find_rate", *(flag for flag in flags if not flag.startswith(own)))
    run("compare")
    run("replay")
    run("replay", "--run=all", "--patience=1", "--rules=median,asha")
    run("rollback")
    run("tidy", "--yes=true")
    for verb in experiment.own_verbs:
        run(verb, "--text=A warm film")


def runs(experiment: Experiment) -> dict[str, list[Run]]:
    """The runs of each verb, with all that a search leaves out."""
    condition = f"tags.experiment = '{experiment.name}'"
    found: dict[str, list[Run]] = {verb: [] for verb in (*SECTIONS, *experiment.own_verbs)}
    for run in mlflow.search_runs(filter_string=condition, output_format="list"):
        found[run.data.tags["verb"]].append(mlflow.get_run(run.info.run_id))
    return found


def names(title: str, kind: str, experiment: Experiment) -> set[str]:
    """The names of a section whose title begins so, with the experiment's words filled in."""
    parts: dict[str, Sequence[str]] = {
        "rows": [experiment.terms.rows],
        "loss": [experiment.terms.loss_key],
        "metric": [metric.name for metric in experiment.metrics],
        "score": SCORES[experiment.name],
        "headline": experiment.headline,
        "monitor": ["val_loss"],
        "inputs_switch": [experiment.inputs_switch],
        "baseline": list(experiment.baselines),
        "rule": RULES,
    }
    groups = [*CONTENTS[title].items(), *OWN[experiment.name].get(title, {}).items()]
    found: set[str] = set()
    for name in (name for group, own in groups if group.startswith(kind) for name in own):
        filled = {name}
        for part in re.findall(r"{(\w+)}", name):
            filled = {one.replace(f"{{{part}}}", value) for one in filled for value in parts[part]}
        found |= filled
    return found


@pytest.mark.slow
@pytest.mark.parametrize("experiment", [EXPERIMENT, Diabetes()], ids=lambda one: one.name)
def test_every_name_in_a_run_is_in_the_schema(both: None, experiment: Experiment) -> None:
    for verb, found in runs(experiment).items():
        assert found, verb
        title = SECTIONS.get(verb, OWN_VERB)
        tags = names("Every run", "Tags", experiment) | MLFLOWS_OWN
        tags |= names(title, "Tags", experiment) if "Tags" in CONTENTS[title] else set()
        metrics = names(title, "Metrics", experiment)
        stored_files = names(title, "Files", experiment)
        for run in found:
            assert set(run.data.tags) - tags == set(), verb
            assert set(run.data.metrics) - metrics == set(), verb
            assert artifacts(run) - stored_files == set(), verb
    client = mlflow.MlflowClient()
    for version in client.search_model_versions(f"name = '{experiment.name}'"):
        assert set(version.tags) - names("The model version", "Tags", experiment) == set()
        model = client.get_logged_model(version.source.removeprefix("models:/"))
        assert set(model.tags) - names("The stored model", "Tags", experiment) - MLFLOWS_OWN == set()
        metadata = Model.load(version.source).metadata or {}
        assert set(metadata) - names("The stored model", "Metadata", experiment) == set()
    registered = client.get_registered_model(experiment.name)
    assert set(registered.tags) == names("The registered model", "Tags", experiment)
    assert set(registered.aliases) == names("The registered model", "Aliases", experiment)


def constants() -> dict[str, str]:
    """The name in the code of each stored name."""
    modules: list[Any] = [imdb_conv1d.schema, schema, files, journal, run_folder, snapshot_file]
    return {value: name for module in modules for name, value in vars(module).items() if isinstance(value, str)}


def listed() -> Iterator[tuple[str, str, str]]:
    """Section, group and name of each entry of both schemas."""
    contents: Sequence[Mapping[str, Mapping[str, Mapping[str, str]]]] = (CONTENTS, imdb_conv1d.schema.CONTENTS)
    for one in contents:
        for title, groups in one.items():
            for kind, group in groups.items():
                for name, meaning in group.items():
                    assert meaning, name
                    yield title, kind, name


def unused(source: str) -> set[str]:
    """The listed names that code does not use, where neither a constant's name nor the text stands."""
    known = constants()
    found = set()
    for _, kind, name in listed():
        bare = name.removeprefix("val_").removeprefix("test_")
        if kind.startswith("Columns"):
            used = rf"\b{name}\b"
        elif any(one in known for one in (name, bare)):
            used = rf"\b{known.get(name) or known[bare]}\b"
        else:  # it follows from the experiment alone, or from the file whose name it has
            used = {"{metric}": "list_epoch_metrics", "{inputs_switch}": "inputs_switch"}.get(bare, "extra_files")
        if not re.search(used, source):
            found.add(name)
    return found


def code() -> str:
    return "\n".join(path.read_text() for path in SRC.rglob("*.py") if path.name != "schema.py")


@pytest.mark.slow
def test_every_name_of_the_schema_is_used_by_the_code() -> None:
    assert len(list(listed())) > 120
    assert unused(code()) == set()


@pytest.mark.slow
def test_unused_name_is_found() -> None:
    text = code()
    assert unused(re.sub(r"\bDECIDING_DIGEST\b", "", text)) == {"deciding_digest"}
    assert unused(re.sub(r"\bROC_AUC\b", "", text)) == {"test_roc_auc"}


def written_again(folder: Path) -> list[str]:
    """The stored names that code spells out beside the schema.

    Words, which mean other things too, and names of parameters and of columns in memory do not count.
    """
    known = {name for _, kind, name in listed() if not kind.startswith("Columns") and re.search("[_./]", name)}
    known -= {"model_name", "learning_rate", *(f"val_{metric.name}" for metric in EXPERIMENT.metrics)}
    paths = [path for path in folder.rglob("*.py") if path.name != "schema.py"]
    return [f"{path.name}: {text}" for path in paths for text in literals(path.read_text()) if text in known]


@pytest.mark.parametrize("folder", ["runs", "models", "resume", "verbs", "../imdb_conv1d"])
def test_stored_names_are_written_once(folder: str) -> None:
    assert written_again(SRC / "tracked" / folder) == []


def test_name_that_is_written_again_is_found(tmp_path: Path) -> None:
    (tmp_path / "report.py").write_text("run.set_tags({'data_digest': digest})")
    assert written_again(tmp_path) == ["report.py: data_digest"]
