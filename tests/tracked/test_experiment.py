"""The rules for any experiment, each with a small experiment that breaks it."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from mlflow.entities import Run
from pydantic import Field

from helpers import SRC
from helpers.resuming import break_off, folder, last_epoch, metrics
from helpers.runs import SignalAfter, last_run
from helpers.verbs import Verb, train, unfinished
from tracked.console import parameters as console_parameters
from tracked.console import verb_parameters
from tracked.console.errors import Interrupted, RunFailed, UserError
from tracked.console.parameters import Finite
from tracked.console.signals import Signals
from tracked.console.train_parameters import TrainParameters, make_train_parameters
from tracked.experiment import Experiment, Metric, Package, require
from tracked.models.keras_package import package_keras
from tracked.runs import connection
from tracked.training import reproducibility
from tracked.training.journal import HistoryError
from tracked.training.keras_trainee import Arrays, Batches, KerasTrainee
from tracked.training.table_dataset import TableDataset
from tracked.verbs import command

from diabetes import Diabetes  # isort: skip  # its folder is on the path since verbs is imported

ROWS = pd.DataFrame(np.random.default_rng(1).normal(size=(64, 4)), columns=["a", "b", "c", "target"])
CHECKS = 7  # for signals in an epoch: after each of 6 batches and after the validation
VERBS = (
    "train",
    "find_rate",
    "search",
    "evaluate",
    "predict",
    "serve",
    "replay",
    "compare",
    "promote",
    "rollback",
    "unfinished",
    "tidy",
)


class Parameters(TrainParameters):
    """Train a network of a few units."""

    units: int = Field(3, ge=1, le=100, description="Units of the hidden layer")
    learning_rate: Finite = Field(0.01, ge=1e-30, le=1e30, description="Adam's step size")


class Tiny(Experiment):
    """A network of a few units on 64 random rows; an epoch takes about 50 ms."""

    name = "tiny"
    Parameters = Parameters
    metrics = (Metric("loss", "min"), Metric("error", "min"))
    advice = "a smaller learning_rate than {learning_rate} may help"
    compiled: ClassVar[list[str]] = ["error"]  # metrics of the network besides its loss

    def load(self, parameters: Parameters, source: str) -> Any:
        return TableDataset("made up", ROWS, "target")

    def build(
        self, parameters: Parameters, dataset: Any, folder: Path, resumed_tags: Mapping[str, str]
    ) -> KerasTrainee:
        layers = keras.layers
        network = keras.Sequential([
            keras.Input((3,)), layers.Dense(parameters.units, activation="relu"), layers.Dropout(0.2), layers.Dense(1),
        ])  # fmt: skip
        adam = keras.optimizers.Adam(parameters.learning_rate)
        measured = [keras.metrics.MeanAbsoluteError(name=name) for name in self.compiled]
        network.compile(optimizer=adam, loss="mean_squared_error", metrics=measured)
        validation = dataset.arrays("validation")
        learned = self.learned(dataset.arrays("train"), parameters.seed)
        return KerasTrainee(network, learned, validation, seed=parameters.seed, batch_size=8)

    def learned(self, rows: Arrays, seed: int) -> Arrays | Batches:
        return rows

    def package(self, parameters: Parameters, dataset: Any, folder: Path, checkpoint: Path) -> Package:
        validation = dataset.arrays("validation")
        return package_keras(checkpoint, validation, lambda target, output: (target - output) ** 2)


class InBatches(Tiny):
    """The same with its own batches of unknown number."""

    def learned(self, rows: Arrays, seed: int) -> Batches:
        inputs, targets = map(tf.constant, rows)

        def batches(epoch: tf.Variable) -> tf.data.Dataset:
            def order(_: tf.Tensor) -> tf.Tensor:
                key = tf.stack([epoch.read_value(), tf.constant(seed, tf.int64)])
                return tf.random.experimental.stateless_shuffle(tf.range(len(inputs)), key)

            chosen = tf.data.Dataset.from_tensors(0).map(order).unbatch().batch(8)
            return chosen.map(lambda some: (tf.gather(inputs, some), tf.gather(targets, some)))

        return batches


class Wider(Tiny):
    """The same name with another network, as after a change of the code."""

    def build(
        self, parameters: Parameters, dataset: Any, folder: Path, resumed_tags: Mapping[str, str]
    ) -> KerasTrainee:
        return super().build(parameters.model_copy(update={"units": 4}), dataset, folder, resumed_tags)


class OtherwiseSplit(Tiny):
    """The same name and rows with other parts, as after a change of the code."""

    def load(self, parameters: Parameters, source: str) -> Any:
        return TableDataset("made up", ROWS, "target", validation=0.3)


def fit(experiment: Experiment, *arguments: str, signals: Signals | None = None) -> Run:
    Verb("train", experiment).main(arguments, signals or Signals())
    return last_run()


def interrupt(experiment: Experiment, checks: int, *arguments: str) -> Run:
    """Interrupt a training after so many checks for signals; one more check precedes the work."""
    with pytest.raises(Interrupted):
        fit(experiment, *arguments, signals=SignalAfter(1 + checks))
    return last_run()


def now(run: Run) -> Run:
    return mlflow.get_run(run.info.run_id)


def everything(run: Run) -> str:
    """Read a run as text, since NaN is not equal to itself."""
    return json.dumps(now(run).to_dictionary(), sort_keys=True)


def runs() -> list[str]:
    return [everything(run) for run in mlflow.search_runs(["0"], output_format="list")]


def files(run: Run, experiment: str = "tiny") -> set[str]:
    return {path.name for path in folder(run, experiment).iterdir()}


def assert_nothing_is_registered() -> None:
    client = mlflow.MlflowClient()
    assert client.search_registered_models() == []
    assert client.search_model_versions() == []
    assert mlflow.search_logged_models(output_format="list") == []


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


# --- what an experiment must have -------------------------------------------------------------------------------------

PROGRAM = """
import sys
sys.path.insert(0, {src!r})
from tracked.console.train_parameters import TrainParameters
from tracked.experiment import Experiment, Metric
from tracked.verbs import command

class X(Experiment):
    name, Parameters, metrics = "x", TrainParameters, (Metric("loss", "min"),)
    def {parts[0]}(self): ...
    def {parts[1]}(self): ...

try:
    command.run(X())
finally:
    heavy = {{"tensorflow", "keras", "mlflow", "pandas", "numpy", "sklearn", "matplotlib"}} & set(sys.modules)
    print(f"imported: {{sorted(heavy)}}")
"""
TRAIN, EVALUATE = "load, build, package", "load_part, predict, score"
LACKING = {
    ("train", "load"): f"load(parameters, source); this verb needs {TRAIN}",
    ("train", "build"): f"build(parameters, dataset, folder, resumed_tags); this verb needs {TRAIN}",
    ("train", "package"): f"package(parameters, dataset, folder, checkpoint); this verb needs {TRAIN}",
    ("evaluate", "load_part"): f"load_part(request); this verb needs {EVALUATE}",
    ("evaluate", "predict"): f"predict(model, part, trained_on); this verb needs {EVALUATE}",
    ("evaluate", "score"): f"score(predictions); this verb needs {EVALUATE}",
    ("promote", "score"): f"score(predictions); this verb needs {EVALUATE}",
}


@pytest.mark.parametrize(("verb", "part"), LACKING)
def test_verb_of_an_experiment_that_lacks_a_method_is_refused_before_slow_imports(
    verb: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # a request to it would fail
    needed = ("load", "build", "package") if verb == "train" else ("load_part", "predict", "score")
    program = PROGRAM.format(src=str(SRC), parts=[name for name in needed if name != part])
    found = subprocess.run([sys.executable, "-c", program, verb], capture_output=True, text=True)
    expected = f"error: experiment 'x' lacks {LACKING[verb, part]}\n"
    assert (found.returncode, found.stderr, found.stdout) == (2, expected, "imported: []\n")


def test_experiment_without_tables_and_figures_of_its_own_has_none() -> None:
    table = pd.DataFrame({"id": ["a"], "loss": [0.5]})
    assert (Tiny().tabulate(table, table), Tiny().draw(table, "")) == ({}, {})


def forbid_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked() -> None:
        raise AssertionError("a store was asked")

    monkeypatch.setattr(connection, "require_answers", asked)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("lacking", ["name", "Parameters", "metrics"])
def test_verb_of_an_experiment_that_lacks_an_attribute_is_refused(
    store: str, verb: str, lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_requests(monkeypatch)
    own = {"name": "tiny", "Parameters": Parameters, "metrics": Tiny.metrics}
    del own[lacking]
    experiment = type("Lacking", (Experiment,), own)()
    with pytest.raises(UserError) as error:
        Verb(verb, experiment).main([], Signals())
    name = "Lacking" if lacking == "name" else "tiny"
    assert one_line(error) == f"experiment {name!r} lacks {lacking}; it needs name, Parameters and metrics"
    assert runs() == []
    assert_nothing_is_registered()


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", ["Tiny", "tiny_1", "a/b", "../up", "tiny-", "-tiny", "a--b", "1st", "ä", "tiny\n"])
def test_verb_of_an_experiment_with_an_invalid_name_is_refused(
    verb: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_requests(monkeypatch)
    experiment = Tiny()
    experiment.name = name
    with pytest.raises(UserError) as error:
        Verb(verb, experiment).main([], Signals())
    assert one_line(error) == (
        f"experiment: {name!r} is not allowed; allowed: lowercase letters, digits and single hyphens"
    )


@pytest.mark.parametrize("name", ["tiny", "imdb-conv1d", "a", "a1-2b-3"])
def test_require_with_lowercase_letters_digits_and_single_hyphens_accepts_the_name(name: str) -> None:
    experiment = Tiny()
    experiment.name = name
    require(experiment, ("load", "build", "package"))


# --- verbs of its own -------------------------------------------------------------------------------------------------


class LookParameters(console_parameters.Parameters):
    """Look at something."""

    depth: int = Field(3, ge=1, le=9, description="How deep to look")


def make_looking(**own: Any) -> Experiment:
    """Make an experiment with a verb of its own."""
    attributes = {"own_verbs": {"look": "looking"}, "LookParameters": LookParameters} | own
    experiment: Experiment = type("Looking", (Tiny,), attributes)()
    return experiment


def run_command(monkeypatch: pytest.MonkeyPatch, experiment: Experiment, *words: str) -> object:
    """Run the command line in this process; return its exit status."""
    monkeypatch.setattr(sys, "argv", ["look.py", *words])
    monkeypatch.setattr(Signals, "install", lambda self: None)
    with pytest.raises(SystemExit) as ended:
        command.run(experiment)
    return ended.value.code


def test_own_verb_runs_its_module_with_the_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    def main(experiment: Experiment, argv: list[str], signals: Signals) -> int:
        called.append((experiment, verb_parameters.make_verb_parameters("look", experiment).parse(argv).depth))
        return 7

    module = ModuleType("looking")
    vars(module)["main"] = main
    monkeypatch.setitem(sys.modules, "looking", module)
    experiment = make_looking()
    assert run_command(monkeypatch, experiment, "look", "--depth=5") == 7
    assert called == [(experiment, 5)]
    assert run_command(monkeypatch, experiment, "look", "--depth=0") == 2
    assert len(called) == 1


def test_help_and_refusal_list_own_verbs_last(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    every = ", ".join(VERBS)
    assert run_command(monkeypatch, make_looking(), "--help") == 0
    assert capsys.readouterr().out == f"verbs of tiny: {every}, look; each has --help\n"
    assert run_command(monkeypatch, make_looking(), "lok") == 2
    assert capsys.readouterr().err == f"error: verb: 'lok' is not allowed; allowed: {every}, look\n"
    assert run_command(monkeypatch, Tiny(), "--help") == 0
    assert capsys.readouterr().out == f"verbs of tiny: {every}; each has --help\n"


@pytest.mark.parametrize("name", [*VERBS, "Look", "look-up", "", "-h"])
def test_own_verb_with_an_invalid_name_is_refused_for_every_verb(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run_command(monkeypatch, make_looking(own_verbs={name: "looking"}), "evaluate") == 2
    error = capsys.readouterr().err
    assert error.startswith(
        f"error: experiment 'tiny': own_verbs has {name!r}; allowed: lowercase letters, and no verb"
    )
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("attribute", "value", "allowed"),
    [
        ("end_modules", "imdb_conv1d.package", "a list or tuple of modules' names"),
        ("operation_threads", -3, "a whole number of 0 or more"),
        ("operation_threads", "1", "a whole number of 0 or more"),
    ],
)
def test_attribute_that_is_not_allowed_is_refused(attribute: str, value: object, allowed: str) -> None:
    with pytest.raises(UserError) as error:
        require(type("Wrong", (Tiny,), {attribute: value})())
    assert one_line(error) == f"experiment 'tiny': {attribute} is {value!r}; allowed: {allowed}"


def test_own_verb_without_parameters_is_refused() -> None:
    with pytest.raises(UserError) as error:
        verb_parameters.make_verb_parameters("look", make_looking(LookParameters=None))
    assert one_line(error) == "experiment 'tiny' lacks LookParameters; its verb 'look' needs a subclass of Parameters"


def test_find_source_files_of_an_interpreters_class_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typed", ModuleType("typed"))
    assert reproducibility.find_source_files(type("Typed", (Tiny,), {"__module__": "typed"})()) == []


def test_find_source_files_of_a_script_has_it_and_files_imported_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "__package__", "")  # a script is in no package
    files = reproducibility.find_source_files(Tiny())
    assert Path(__file__) in files
    assert {path.parent for path in files} == {Path(__file__).parent}
    ends = {"__module__": __name__, "end_modules": ["test_imports", "sklearn.metrics", "no_such_module"]}
    monkeypatch.delitem(sys.modules, "test_imports", raising=False)
    files = reproducibility.find_source_files(type("Ending", (Tiny,), ends)())
    assert Path(__file__).with_name("test_imports.py") in files


# --- what an epoch reports --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reports", "declares", "message"),
    [
        (
            ["error", "other"],
            ["loss", "error"],
            "epoch 1 reports the undeclared metric 'other' (declared: loss, error, ",
        ),
        (["error"], ["loss"], "epoch 1 reports the undeclared metric 'error' (declared: loss, val_loss)"),
        (["error"], ["loss", "error", "other"], "epoch 1 does not report the declared metric 'other' (declared: "),
        ([], ["loss", "error"], "epoch 1 does not report the declared metric 'error' (declared: loss, error, "),
    ],
)
def test_train_with_undeclared_metrics_fails_at_the_first_epoch(
    store: str, reports: list[str], declares: list[str], message: str
) -> None:
    declared = [Metric(name, "min") for name in declares]
    experiment = type("Other", (Tiny,), {"compiled": reports, "metrics": declared})()
    with pytest.raises(RunFailed) as error:
        fit(experiment, "--epochs=2")
    text = one_line(error)
    assert text.startswith(message)
    assert text.endswith("; the epoch is discarded; change the experiment's metrics")
    run = last_run()
    assert (run.info.status, run.data.tags["stop_reason"], run.data.tags["error"]) == ("FAILED", "error", text)
    assert run.data.metrics == {}
    assert last_epoch(run) == 0
    assert not [name for name in files(run) if name.startswith(("epoch-", "best-", "journal"))]
    assert_nothing_is_registered()
    # Once the experiment declares its metrics, the run resumes from the start.
    fit(Tiny(), "--resume", run.info.run_id)
    assert (now(run).info.status, set(metrics(now(run))["val_error"])) == ("FINISHED", {1, 2})


def test_experiment_with_an_attribute_of_a_former_name_is_refused() -> None:
    former = type("Former", (Tiny,), {"find_fault": lambda self, inputs: ""})()
    with pytest.raises(UserError) as error:
        fit(former, "--epochs=1")
    assert str(error.value) == "experiment 'tiny': find_fault is now called explain_mismatch; rename it"


# --- what there is to learn from --------------------------------------------------------------------------------------


class Unchecked(TableDataset):
    """A dataset that does not check its parts."""

    def __post_init__(self) -> None:
        pass


@pytest.mark.parametrize(("part", "share"), [("train", 1.0), ("validation", 0.0)])
@pytest.mark.parametrize(("kind", "more"), [(Unchecked, "with rows in each part"), (TableDataset, "with more rows")])
def test_train_on_data_with_an_empty_part_is_refused_without_a_run(
    store: str, kind: type[TableDataset], more: str, part: str, share: float
) -> None:
    class Empty(Tiny):
        def load(self, parameters: Parameters, source: str) -> TableDataset:
            return kind("made up", ROWS, "target", validation=share)

    with pytest.raises(UserError) as error:
        fit(Empty())
    assert one_line(error) == f"data: made up has no rows in its {part} part; allowed: data {more}"
    assert runs() == []
    assert list(Path("snapshots").glob("*")) == []
    assert_nothing_is_registered()


# --- what is resumed --------------------------------------------------------------------------------------------------


def weights(run: Run) -> list[bytes]:
    """The bytes of all weights of a run's version."""
    (version,) = mlflow.MlflowClient().search_model_versions(f"run_id = '{run.info.run_id}'")
    stored = mlflow.tensorflow.load_model(f"models:/{version.name}/{version.version}")
    return [np.asarray(variable).tobytes() for variable in stored.weights]


@pytest.mark.slow
@pytest.mark.parametrize("experiment", [Tiny(), InBatches()], ids=["arrays", "a function"])
def test_resume_at_any_check_gives_the_bits_of_the_uninterrupted_training(store: str, experiment: Tiny) -> None:
    uninterrupted = fit(experiment, "--epochs=5")
    for checks in (
        CHECKS * 2 + 1,
        CHECKS * 2 + 4,
        CHECKS * 3,
    ):  # at the first batch, between batches, after the validation
        run = interrupt(experiment, checks, "--epochs=5")
        assert last_epoch(run) == 2
        assert set(metrics(run)["val_loss"]) == {1, 2}
        fit(experiment, "--resume", run.info.run_id)
        found = now(run)
        assert (found.info.status, found.data.tags["resumed"]) == ("FINISHED", "after epoch 2")
        assert metrics(found) == metrics(uninterrupted)
        assert set(metrics(found)["val_error"]) == {1, 2, 3, 4, 5}
        assert weights(found) == weights(uninterrupted)
        assert not folder(run).exists()


@pytest.mark.parametrize("experiment", [Tiny(), InBatches()], ids=["arrays", "a function"])
def test_order_of_rows_depends_on_seed_and_epoch_alone(experiment: Tiny) -> None:
    rows = np.arange(40, dtype=np.float32)[:, None], np.arange(40, dtype=np.float32)[:, None]

    def order(seed: int, epoch: int) -> tuple[float, ...]:
        network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        trainee = KerasTrainee(network, experiment.learned(rows, seed), rows, seed, batch_size=8)
        batches = list(trainee.batches(tf.Variable(epoch, dtype=tf.int64)))
        assert [len(inputs) for inputs, _ in batches] == [8] * 5
        assert all(np.array_equal(inputs, targets) for inputs, targets in batches)
        return tuple(float(value) for inputs, _ in batches for value in inputs[:, 0])

    orders = [order(seed, epoch) for seed in (7, 8) for epoch in (1, 2)]
    assert len(set(orders)) == 4
    assert {tuple(sorted(found)) for found in orders} == {tuple(map(float, range(40)))}
    assert order(7, 2) == orders[1]


@pytest.mark.slow
def test_resume_with_another_network_is_refused_and_changes_nothing(store: str) -> None:
    whole = fit(Tiny(), "--epochs=4", "--model_name=whole")
    run = interrupt(Tiny(), CHECKS * 2 + 1, "--epochs=4")
    before, kept = metrics(run), files(run)
    for _ in range(2):
        with pytest.raises(HistoryError) as error:
            fit(Wider(), "--resume", run.info.run_id)
        assert one_line(error) == (
            "the snapshot of epoch 2 does not fit (the state belongs to another network ((3, 3) -> (3, 4))); "
            "the run keeps its epochs and its checkpoint; start a new training without --resume or --run-id"
        )
        assert not getattr(error.value, "__notes__", [])  # no resume command: it would fail in the same way
        found = now(run)
        assert (found.info.status, found.data.tags["stop_reason"]) == ("FAILED", "other_history")
        assert metrics(found) == before
        assert set(before["val_loss"]) == {1, 2}
        assert files(run) == kept
        assert mlflow.MlflowClient().search_model_versions("name = 'tiny'") == []
    advice = f"or restore the code, packages and machine of run {run.info.run_id} and resume that"
    with pytest.raises(UserError, match=rf"^resume: no resumable run in experiment .*, {advice}$"):
        fit(Wider(), "--resume=latest")
    fit(Tiny(), "--resume", run.info.run_id)  # the original network
    assert metrics(now(run)) == metrics(whole)
    assert now(run).info.status == "FINISHED"


@pytest.mark.slow
def test_resume_with_another_split_is_refused_and_changes_nothing(store: str) -> None:
    whole = fit(Tiny(), "--epochs=4", "--model_name=whole")
    run = interrupt(Tiny(), CHECKS * 2 + 1, "--epochs=4")
    before, kept = everything(run), files(run)
    with pytest.raises(UserError) as error:
        fit(OtherwiseSplit(), "--resume", run.info.run_id)
    assert str(error.value) == (
        f"data: made up is split otherwise than when run {run.info.run_id} was trained on it "
        "(41 train, 10 validation -> 36 train, 15 validation); "
        "restore the split, or start a new training without --resume or --run-id"
    )
    assert (everything(run), files(run)) == (before, kept)
    fit(Tiny(), "--resume", run.info.run_id)
    assert metrics(now(run)) == metrics(whole)


def test_restore_of_a_state_with_other_types_names_the_types() -> None:
    def trainee(dtype: str) -> KerasTrainee:
        network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype=dtype)])
        network.compile(keras.optimizers.SGD(), "mean_squared_error")
        rows = np.zeros((2, 3), np.float32), np.zeros((2, 2), np.float32)
        return KerasTrainee(network, rows, rows, seed=0)

    with pytest.raises(ValueError, match=r"another network \(float64 -> float32\)$"):
        trainee("float32").restore(trainee("float64").state())
    with pytest.raises(ValueError, match=r"another network \(\d -> \d variables\)$"):
        trainee("float32").restore(trainee("float32").state()[:-1])


@pytest.mark.parametrize(
    ("advice", "expected_advice"),
    [(Tiny.advice, "a smaller learning_rate than 1e+30 may help; "), ("", ""), ("ask Ann", "ask Ann; ")],
)
def test_train_with_a_loss_of_nan_fails_and_cannot_be_resumed(store: str, advice: str, expected_advice: str) -> None:
    experiment = type("Advising", (Tiny,), {"advice": advice})()
    with pytest.raises(RunFailed) as error:
        fit(experiment, "--learning_rate=1e30")
    run = last_run()
    losses = metrics(run)["val_loss"]
    assert one_line(error) == (
        f"epoch {max(losses)}: a loss is not a finite number; {expected_advice}nothing is registered"
    )
    assert not getattr(error.value, "__notes__", [])  # such as a command that resumes
    assert (run.info.status, run.data.tags["stop_reason"]) == ("FAILED", "not_a_number")
    assert_nothing_is_registered()
    before = runs()
    with pytest.raises(UserError, match=r"ended on a loss that is not a finite number; start a new training$"):
        fit(experiment, "--resume", run.info.run_id)
    with pytest.raises(UserError, match=r"^resume: no resumable run in experiment"):
        fit(experiment, "--resume=latest")
    assert runs() == before
    assert_nothing_is_registered()


# --- two experiments in one store -------------------------------------------------------------------------------------

DIABETES = Diabetes()
FEW = ["--epochs=2", "--hidden_units=4"]
NAMES = ("imdb-conv1d", "diabetes")


@pytest.fixture
def both(store: str, noisy: Path) -> dict[str, Run]:
    """A training of each experiment, interrupted in its second epoch; diabetes's is newer."""
    imdb = break_off(noisy, 1, "--epochs=2")
    return {"imdb-conv1d": imdb, "diabetes": interrupt(DIABETES, 10, *FEW)}


def verb(name: str, of: str) -> Verb:
    return Verb(name, DIABETES) if of == "diabetes" else {"train": train, "unfinished": unfinished}[name]


def other(name: str) -> str:
    return NAMES[1 - NAMES.index(name)]


def list_unfinished(capsys: pytest.CaptureFixture[str], of: str, *arguments: str) -> str:
    capsys.readouterr()
    verb("unfinished", of).main(arguments, Signals())
    return capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("own", NAMES)
def test_resume_latest_in_a_shared_store_resumes_the_own_experiments_newest(both: dict[str, Run], own: str) -> None:
    theirs, kept = everything(both[other(own)]), files(both[other(own)])
    verb("train", own).main(["--resume=latest"], Signals())
    found = now(both[own])
    assert (found.info.status, found.data.tags["resumed"]) == ("FINISHED", "after epoch 1")
    assert found.data.tags["experiment"] == own
    with pytest.raises(UserError, match=r"^resume: no resumable run in experiment Default; start one"):
        verb("train", own).main(["--resume=latest"], Signals())
    assert everything(both[other(own)]) == theirs
    assert files(both[other(own)]) == kept
    (version,) = mlflow.MlflowClient().search_model_versions()
    assert (version.name, version.run_id) == (own, found.info.run_id)


@pytest.mark.parametrize("own", NAMES)
def test_unfinished_in_a_shared_store_lists_and_closes_own_trainings_only(
    both: dict[str, Run], own: str, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, kept = everything(both[other(own)]), files(both[other(own)])
    text = list_unfinished(capsys, own)
    assert text.count("\n") == 3
    assert both[own].info.run_id in text
    with pytest.raises(UserError, match="allowed: no, dead, or the run id of an unfinished training"):
        list_unfinished(capsys, own, "--close", both[other(own)].info.run_id)
    assert f"closed {both[own].info.run_id} as KILLED, after epoch 1" in list_unfinished(capsys, own, "--close=dead")
    assert list_unfinished(capsys, own, "--close=dead") == "no unfinished training in experiment Default\n"
    assert everything(both[other(own)]) == theirs
    assert files(both[other(own)]) == kept
    assert not folder(both[own]).exists()
    assert both[other(own)].info.run_id in list_unfinished(capsys, other(own))


@pytest.mark.parametrize("own", NAMES)
def test_resume_of_the_other_experiments_run_is_refused_by_name(
    both: dict[str, Run], own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, theirs = runs(), both[other(own)]
    run_id, kept = theirs.info.run_id, files(theirs)
    with pytest.raises(UserError) as error:
        verb("train", own).main(["--resume", run_id], Signals())
    assert one_line(error) == (
        f"resume: {run_id!r} is not allowed; allowed: a run of experiment {own!r}; "
        f"this one is of experiment {other(own)!r}"
    )
    for name in ("train", "unfinished"):
        monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
        with pytest.raises(UserError) as error:
            verb(name, own).main([], Signals())
        assert one_line(error) == (
            f"MLFLOW_RUN_ID: run {run_id} is of experiment {other(own)!r}; allowed: a run of {own!r}"
        )
    assert runs() == before
    assert files(theirs) == kept
    assert_nothing_is_registered()


@pytest.mark.slow
def test_resume_of_an_untagged_run_is_allowed_to_the_first_experiment_only(
    both: dict[str, Run], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Make a run as earlier versions did, before experiments had names."""
    run = both["imdb-conv1d"]
    run_id = run.info.run_id
    mlflow.MlflowClient().delete_tag(run_id, "experiment")
    assert run_id in list_unfinished(capsys, "imdb-conv1d")
    assert run_id not in list_unfinished(capsys, "diabetes")
    with pytest.raises(UserError) as error:
        fit(DIABETES, "--resume", run_id)
    assert one_line(error) == (
        f"resume: {run_id!r} is not allowed; allowed: a run of experiment 'diabetes'; "
        "this one is of another experiment, which has not named itself"
    )
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_RUN_ID", run_id)
        with pytest.raises(
            UserError,
            match=f"^MLFLOW_RUN_ID: run {run_id} is of another experiment, which has not named itself; allowed",
        ):
            fit(DIABETES)
    assert "experiment" not in now(run).data.tags
    train.main(["--resume=latest"], Signals())
    assert (now(run).info.status, now(run).data.tags["experiment"]) == ("FINISHED", "imdb-conv1d")
    fit(DIABETES, "--resume=latest")
    assert now(both["diabetes"]).info.status == "FINISHED"


def made_by_mlflow_run(of: str, **given: str) -> Run:
    """Create a run as ``mlflow run`` does: with all parameters, before it makes the environment."""
    experiment = verb("train", of).experiment
    client = mlflow.MlflowClient()
    made = client.create_run("0", tags={"mlflow.project.entryPoint": "main"})
    for name, value in (make_train_parameters(experiment)().as_strings() | given).items():
        client.log_param(made.info.run_id, name, value)
    return made


@pytest.mark.parametrize("own", NAMES)
def test_train_into_mlflow_runs_run_of_the_other_experiment_is_refused(
    store: str, own: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = made_by_mlflow_run(other(own))
    run_id = made.info.run_id
    before = runs()
    for arguments in ([], ["--close=dead"]):
        assert list_unfinished(capsys, own, *arguments) == "no unfinished training in experiment Default\n"
    with pytest.raises(UserError, match="allowed: no, dead, or the run id of an unfinished training"):
        list_unfinished(capsys, own, "--close", run_id)
    with pytest.raises(UserError, match=r"^resume: no resumable run in experiment"):
        verb("train", own).main(["--resume=latest"], Signals())
    with pytest.raises(UserError, match=f"^resume: run {run_id} is not a training of this project$"):
        verb("train", own).main(["--resume", run_id], Signals())
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)  # mlflow run --run-id passes any run on to any project
    with pytest.raises(UserError) as error:
        verb("train", own).main([], Signals())
    begin = f"MLFLOW_RUN_ID: run {run_id} was made by mlflow run with another experiment's parameters ("
    assert one_line(error).startswith(begin)
    assert one_line(error).endswith(f"); allowed: a run of {own!r}")
    assert runs() == before
    assert not Path("snapshots").exists() or not list(Path("snapshots").iterdir())
    assert_nothing_is_registered()
    monkeypatch.delenv("MLFLOW_RUN_ID")
    text = list_unfinished(capsys, other(own))
    assert run_id in text
    assert "unknown here whether alive" in text


def test_train_into_mlflow_runs_own_run_uses_it(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = made_by_mlflow_run("diabetes", epochs="2", hidden_units="4")
    monkeypatch.setenv("MLFLOW_RUN_ID", made.info.run_id)
    fit(DIABETES)
    found = now(made)
    assert (found.info.status, found.data.tags["experiment"]) == ("FINISHED", "diabetes")
    assert json.loads(found.data.tags["launch"])["parameters"]["hidden_units"] == "4"
    assert set(metrics(found)["val_loss"]) == {1, 2}


@pytest.fixture(autouse=True)
def _no_run_is_left_active() -> Iterator[None]:
    yield
    assert mlflow.active_run() is None
