import inspect
import re
import shlex

import keras
import pytest
import yaml

from helpers import ROOT
from helpers.projects import DIABETES, IMDB, VERBS, Project
from tracked.console.errors import UserError
from tracked.console.metric_direction import infer_mode
from tracked.console.parameters import as_string, describe_allowed
from tracked.console.verb_parameters import ReplayParameters

TrainParameters, EvaluateParameters = IMDB.parameters("main"), IMDB.parameters("evaluate")
of_both = pytest.mark.parametrize("project", [IMDB, DIABETES], ids=lambda project: project.experiment.name)
of_every_entry = pytest.mark.parametrize(
    ("project", "entry"),
    [pytest.param(project, entry, id=f"{project.experiment.name}-{entry}")
     for project in (IMDB, DIABETES) for entry in project.verbs],
)  # fmt: skip
ARTICLE = {
    "patience": 30, "min_delta": 0.0001, "monitor": "val_loss", "mode": "min", "epochs": 200000, "batch_size": 32,
    "validation_split": 0.2, "max_features": 5000, "maxlen": 400, "embedding_dims": 50, "filters": 250,
    "kernel_size": 3, "hidden_dims": 250, "learning_rate": 0.001, "seed": 7,
}  # fmt: skip


def test_defaults_of_train_are_the_articles() -> None:
    defaults = TrainParameters().model_dump()
    assert {name: defaults[name] for name in ARTICLE} == ARTICLE
    rest = {name: value for name, value in defaults.items() if name not in ARTICLE}
    of_the_data = {"data": "auto", "text_column": "text", "label_column": "label", "encoding": "utf-8"}
    of_the_task = {"positive_label": "auto", "tokens": "words", "test_split": 0.2, "class_weight": "none"}
    ours = {"model_name": "imdb-conv1d", "log_texts": True, "fused": True, "preset": "article"}
    no_schedule = {
        "schedule": "constant",
        "decay_factor": 0.1,
        "decay_epochs": 10,
        "decay_patience": 5,
        "warmup_steps": 0,
    }
    of_gated = {"network": "conv", "ngrams": 3, "members": 1, "dropout": 0.2, "word_dropout": 0.0}
    of_the_command = {"evaluate": False, "resume": "no"}
    assert rest == of_the_data | of_the_task | ours | no_schedule | of_gated | of_the_command


@of_both
def test_mlproject_of_each_experiment_has_an_entry_point_for_every_verb(project: Project) -> None:
    declared = yaml.safe_load((project.folder / "MLproject").read_text())
    assert set(declared["entry_points"]) == set(project.verbs)
    assert declared["name"] == project.experiment.name


@of_every_entry
def test_mlproject_of_each_entry_point_declares_the_verbs_parameters(project: Project, entry: str) -> None:
    declared = project.entry_point(entry).parameters
    fields = project.parameters(entry).model_fields
    assert list(declared) == project.declared(entry)
    for name in declared:
        field = fields[name]
        assert str(declared[name].default) == as_string(field.default), name
        assert declared[name].type == ("float" if field.annotation in (int, float) else "string"), name


@of_every_entry
def test_mlproject_command_with_quoted_values_passes_every_parameter_unchanged(project: Project, entry: str) -> None:
    cls, begins = project.parameters(entry), project.script.format(project.verbs[entry]).split()
    texts = {**dict.fromkeys(("data", "output", "run", "experiment"), "my texts/a 'b'.csv"), "model_name": "x"}
    given = {name: text for name, text in texts.items() if name in cls.model_fields}  # of diabetes, find_rate has none
    words = shlex.split(project.entry_point(entry).compute_command(given, None))
    assert words[: len(begins)] == begins
    assert [word.partition("=")[0] for word in words[len(begins) :]] == [
        f"--{name}" for name in project.declared(entry)
    ]
    assert cls.parse(words[len(begins) :]) == cls(**given)


@pytest.mark.parametrize("entry", IMDB.verbs)
def test_parameter_table_of_each_verb_equals_the_code(entry: str) -> None:
    assert _rows(f"Parameters of `{entry}`") == _described(IMDB, entry)


def test_parameter_table_of_the_second_experiment_has_its_differences() -> None:
    page = {(entry, name): rest for entry in VERBS for name, rest in _rows("Parameters of diabetes", entry).items()}
    differing = {
        (entry, name): rest
        for entry in VERBS
        for name, rest in _described(DIABETES, entry).items()
        if _described(IMDB, entry).get(name) != rest
    }
    assert page == differing
    assert ("main", "hidden_units") in differing
    lacking = {f"`{name}`" for name in _described(IMDB, "main")} - {
        f"`{name}`" for name in _described(DIABETES, "main")
    }
    assert set(re.findall("`.+?`", _section("Parameters of diabetes").rpartition("It has no")[2])) == lacking


def test_page_has_of_a_search_what_it_does_not_share_with_a_training() -> None:
    assert set(_rows("Parameters of `search`")) == {
        "seed", "trials", "workers", "sampler", "space", "prune", "confirm", "keep", "executor", "address", "resume",
    }  # fmt: skip
    text = " ".join(_section("Parameters of `search`").split())
    assert "It takes every parameter of `main` but `evaluate`, too, which then holds for all trials." in text
    for project in (IMDB, DIABETES):
        assert f"`{project.experiment.space}`" in text


def _described(project: Project, entry: str) -> dict[str, str]:
    described = {
        name: f"{as_string(field.default)} | {field.description} | {describe_allowed(field)}"
        for name, field in project.parameters(entry).model_fields.items()
        if (entry, name) != ("main", "resume")  # has a table of its own
    }
    if entry != "search":
        return described
    training = _described(project, "main")
    return {name: text for name, text in described.items() if training.get(name) != text}


def _rows(title: str, entry: str = "") -> dict[str, str]:
    first = rf"`{entry}` \| " if entry else ""
    return dict(re.findall(rf"^\| {first}`(\w+)` \| (.+) \|$", _section(title), re.MULTILINE))


def _section(title: str) -> str:
    text = (ROOT / "docs" / "parameters.md").read_text()
    return text.split(f"\n## {title}", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--patience -1", "patience: '-1' is not allowed; allowed: a whole number from 0 to 2147483647"),
        ("--patience 1.5", "patience: '1.5' is not allowed; allowed: a whole number from 0 to 2147483647"),
        ("--patience abc", "patience: 'abc' is not allowed; allowed: a whole number from 0 to 2147483647"),
        ("--min_delta nan", "min_delta: 'nan' is not allowed; allowed: a finite number, 0 or more"),
        ("--min_delta -0.1", "min_delta: '-0.1' is not allowed; allowed: a finite number, 0 or more"),
        ("--monitor f1", "monitor: 'f1' is not allowed; allowed: loss, accuracy, val_loss or val_accuracy"),
        ("--mode up", "mode: 'up' is not allowed; allowed: min, max or auto"),
        ("--monitor val_accuracy", "mode: 'min' is not allowed; allowed: max or auto with monitor=val_accuracy"),
        ("--mode max", "mode: 'max' is not allowed; allowed: min or auto with monitor=val_loss"),
        ("--validation_split 0", "validation_split: '0' is not allowed; allowed: a finite number, more than 0, less"),
        ("--validation_split 1", "validation_split: '1' is not allowed; allowed: a finite number, more than 0, less"),
        ("--validation_split nan", "validation_split: 'nan' is not allowed; allowed: a finite number, more than 0"),
        ("--epochs 0", "epochs: '0' is not allowed; allowed: a whole number from 1 to 2147483647"),
        ("--batch_size 0", "batch_size: '0' is not allowed; allowed: a whole number from 1 to 2147483647"),
        (
            "--learning_rate 0",
            "learning_rate: '0' is not allowed; allowed: auto, or a finite number from 1e-30 to 1e+30",
        ),
        ("--learning_rate inf", "learning_rate: 'inf' is not allowed; allowed: auto, or a finite number from 1e-30"),
        ("--learning_rate -inf", "learning_rate: '-inf' is not allowed; allowed: auto, or a finite number from 1e-30"),
        ("--learning_rate nan", "learning_rate: 'nan' is not allowed; allowed: auto, or a finite number from 1e-30"),
        ("--learning_rate fast", "learning_rate: 'fast' is not allowed; allowed: auto, or a finite number from 1e-30"),
        ("--schedule linear", "schedule: 'linear' is not allowed; allowed: constant, plateau, exponential or cosine"),
        ("--decay_factor 0", "decay_factor: '0' is not allowed; allowed: a finite number, more than 0, less than 1"),
        ("--decay_factor 1", "decay_factor: '1' is not allowed; allowed: a finite number, more than 0, less than 1"),
        ("--decay_factor nan", "decay_factor: 'nan' is not allowed; allowed: a finite number, more than 0"),
        ("--decay_epochs 0", "decay_epochs: '0' is not allowed; allowed: a whole number from 1 to 2147483647"),
        ("--decay_epochs 1.5", "decay_epochs: '1.5' is not allowed; allowed: a whole number from 1 to 2147483647"),
        ("--decay_patience 0", "decay_patience: '0' is not allowed; allowed: a whole number from 1 to 2147483647"),
        ("--warmup_steps -1", "warmup_steps: '-1' is not allowed; allowed: a whole number from 0 to 2147483647"),
        (
            "--schedule plateau --patience 5",
            "decay_patience: '5' is not allowed; allowed: less than patience, which is 5",
        ),
        ("--kernel_size 5 --maxlen 4", "kernel_size: '5' is not allowed; allowed: at most maxlen, which is 4"),
        ("--max_features 3", "max_features: '3' is not allowed; allowed: a whole number from 4 to 2147483647"),
        ("--seed 4294967296", "seed: '4294967296' is not allowed; allowed: a whole number from 0 to 4294967295"),
        ("--model_name a/b", "model_name: 'a/b' is not allowed; allowed: a name of at most 256"),
        ("--model_name ..", "model_name: '..' is not allowed; allowed: a name of at most 256"),
        ("--model_name a@b", "model_name: 'a@b' is not allowed; allowed: a name of at most 256"),
        ("--epochs 99999999999999999999", "epochs: '99999999999999999999' is not allowed; allowed: a whole number"),
        ("--log_texts False", "log_texts: 'False' is not allowed; allowed: true or false"),
        ("--log_texts maybe", "log_texts: 'maybe' is not allowed; allowed: true or false"),
        ("--data=", "data: '' is not allowed; allowed: auto, imdb, reviews, or the path"),
        ("--patiense 3", "patiense: unknown parameter (given '3'); allowed: patience, min_delta"),
        ("--patiense=3", "did you mean patience?"),
        ("--pat 3", "pat: unknown parameter"),
        ("--patience", "patience: expected one argument"),
        ("3", "3: unknown parameter"),
    ],
)
def test_parse_of_an_invalid_value_is_refused_with_the_allowed_ones(arguments: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        TrainParameters.parse(arguments.split())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", ["imdb-conv1d", "models:/", "file:/x", ""])
def test_parse_of_a_model_without_uri_is_refused(model: str) -> None:
    with pytest.raises(UserError, match=r"model: '.*' is not allowed; allowed: models:/NAME@ALIAS"):
        EvaluateParameters.parse([f"--model={model}"])


def test_parse_of_both_flag_forms_gives_the_same_parameters() -> None:
    assert TrainParameters.parse(["--patience", "3"]) == TrainParameters.parse(["--patience=3"])
    assert TrainParameters.parse(["--patience=3"]).patience == 3


def test_parse_of_a_long_model_name_of_an_earlier_training_is_allowed() -> None:
    assert TrainParameters.parse(["--model_name", "x" * 300]).model_name == "x" * 300


def test_direction_with_mode_auto_follows_the_monitor() -> None:
    assert TrainParameters.parse(["--monitor=val_accuracy", "--mode=auto"]).direction == "max"
    assert TrainParameters.parse(["--monitor=loss", "--mode=auto"]).direction == "min"


def test_infer_mode_of_keras_metrics_agrees_with_keras() -> None:
    directions = {"up": "max", "down": "min", None: None}
    seen = set()
    for cls in filter(inspect.isclass, vars(keras.metrics).values()):
        for arguments in ((), (0.5,), (2,), (2, [0])):
            try:
                metric = cls(*arguments)
            except Exception:
                continue
            expected = directions[getattr(metric, "_direction", None)]
            assert (infer_mode(metric.name), infer_mode(f"val_{metric.name}")) == (expected, expected), metric.name
            seen.add(metric.name)
    assert len(seen) > 40
    assert infer_mode("val_loss") == "min"
    assert infer_mode("val_size") is None


def test_parse_of_number_lists_gives_sorted_distinct_numbers_or_is_refused() -> None:
    assert ReplayParameters.parse(["--patience=5, 1-3,2"]).patiences == [1, 2, 3, 5]
    assert ReplayParameters.parse(["--min_delta=0.1,0"]).min_deltas == [0.0, 0.1]
    assert ReplayParameters().patiences == ReplayParameters().min_deltas == []
    for wrong in ("", ",", "1,", "-1", "1.5", "a", "3-1", "1-2-3", "²", "1-999999", "0-9999,20000"):
        with pytest.raises(UserError, match=f"patience: '{re.escape(wrong)}' is not allowed; allowed: auto, or whole"):
            ReplayParameters.parse([f"--patience={wrong}"])


def test_assignment_to_a_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match="frozen"):
        TrainParameters().patience = 3  # type: ignore[misc]


def test_run_name_has_patience_seed_and_changed_parameters() -> None:
    assert TrainParameters().run_name == "patience=30 seed=7"
    special = TrainParameters.parse(["--seed=8", "--filters=100", "--data=/a/b.csv", "--model_name=x"])
    assert special.run_name == "patience=30 seed=8 filters=100 data=b.csv"


@pytest.mark.parametrize(
    ("arguments", "idle"),
    [
        ("", []),
        ("--decay_factor=0.1 --decay_epochs=10 --decay_patience=5 --warmup_steps=9", []),
        ("--decay_factor=0.5 --decay_epochs=3", ["decay_factor=0.5", "decay_epochs=3"]),
        ("--schedule=plateau --decay_factor=0.5 --decay_epochs=3 --decay_patience=2", ["decay_epochs=3"]),
        ("--schedule=cosine --decay_factor=0.5 --decay_epochs=3 --decay_patience=2", ["decay_patience=2"]),
        ("--schedule=exponential --decay_factor=0.5 --decay_epochs=3 --decay_patience=40", ["decay_patience=40"]),
    ],
)  # fmt: skip
def test_parameters_of_another_schedule_are_listed_as_idle(arguments: str, idle: list[str]) -> None:
    """A value equal to its default counts as not given, since mlflow run passes every default."""
    parameters = TrainParameters.parse(arguments.split())
    assert parameters.list_idle() == [f"{one} with schedule={parameters.schedule}" for one in idle]
