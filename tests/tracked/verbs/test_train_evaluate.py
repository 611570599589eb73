"""The parameter ``evaluate`` of train, in this process: the evaluation after a training, and what goes wrong in it."""

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import Run

from diabetes import Diabetes
from helpers.evaluated import contents, runs
from helpers.recording import record
from helpers.resuming import folder
from helpers.reviews import TINY
from helpers.runs import SignalAfter
from helpers.verbs import Verb
from imdb_conv1d.experiment import EXPERIMENT
from tracked.console.errors import Interrupted, RunFailed, UserError
from tracked.console.search_parameters import make_search_parameters
from tracked.console.signals import Signals
from tracked.console.train_parameters import make_train_command
from tracked.experiment import Experiment
from tracked.models import evaluation, predictions, publisher
from tracked.reports.comparison_table import differing_parameters
from tracked.runs import commands, registry, rights, run_parameters
from tracked.training.holder import Holder

SHORT = ["--learning_rate=0.1", "--epochs=2"]
EVALUATED = [*SHORT, "--evaluate=true"]


def fit(*arguments: str, experiment: Experiment | None = None, signals: Signals | None = None) -> None:
    Verb("train", experiment or Diabetes()).main(arguments, signals or Signals())


def statuses(verb: str) -> list[str]:
    return [run.info.status for run in runs(verb)]


def count_versions() -> int:
    return len(mlflow.MlflowClient().search_model_versions())


def assert_trained_once() -> Run:
    """Assert that there is one complete training, whatever became of its evaluation."""
    (training,) = runs("train")
    assert (training.info.status, training.data.tags["registered_version"]) == ("FINISHED", "1")
    assert count_versions() == 1
    assert not folder(training, "diabetes").exists()
    assert mlflow.active_run() is None
    return training


@pytest.mark.slow
@pytest.mark.parametrize("name", ["diabetes", "imdb-conv1d"])
def test_train_with_evaluate_logs_what_the_verb_evaluate_logs(store: str, reviews_csv: Path, name: str) -> None:
    of: tuple[Experiment, Sequence[str]] = {
        "diabetes": (Diabetes(), EVALUATED),
        "imdb-conv1d": (EXPERIMENT, [*TINY, f"--data={reviews_csv}", "--epochs=2", "--evaluate=true"]),
    }[name]  # type: ignore[assignment]
    fit(*of[1], experiment=of[0])
    (training,), (within,) = runs("train"), runs("evaluate")
    assert (training.info.status, within.info.status) == ("FINISHED", "FINISHED")
    assert training.info.end_time <= within.info.start_time
    assert not folder(training, name).exists()
    assert training.data.params["evaluate"] == "true"
    assert "mlflow.parentRunId" not in within.data.tags
    assert within.data.tags["training_run_id"] == training.info.run_id
    assert within.data.params["model"] == f"models:/{name}/1"
    version = mlflow.MlflowClient().get_model_version(name, "1")
    assert version.tags["evaluation_run_id"] == within.info.run_id
    Verb("evaluate", of[0]).main([], Signals())
    alone, _ = runs("evaluate")
    assert contents(within) == contents(alone)
    assert "baselines.csv" in contents(within)["files"]
    assert mlflow.MlflowClient().get_model_version(name, "1").description == version.description


def test_train_without_evaluate_logs_no_evaluation(store: str) -> None:
    fit(*SHORT)
    assert (statuses("train"), statuses("evaluate")) == (["FINISHED"], [])
    assert runs("train")[0].data.params["evaluate"] == "false"


class NoScores(Diabetes):
    """An experiment whose trainings cannot be evaluated."""

    name = "no-scores"
    score = Experiment.score

    def load(self, parameters: Any, source: str) -> Any:
        raise AssertionError("the data are read")


class OwnEvaluate(Diabetes):
    name = "own-evaluate"

    class Parameters(Diabetes.Parameters):  # type: ignore[name-defined, misc]
        evaluate: int = 3


@pytest.mark.parametrize(
    ("experiment", "line"),
    [
        (NoScores, r"evaluate: 'true' is not allowed; allowed: false, since experiment 'no-scores' lacks score\("),
        (OwnEvaluate, "experiment 'own-evaluate': evaluate is a parameter of train; rename the experiment's"),
    ],
)
def test_evaluate_of_an_experiment_that_cannot_is_refused_before_the_data_are_read(
    store: str, experiment: type[Experiment], line: str
) -> None:
    with pytest.raises(UserError, match=rf"^{line}[^\n]*$"):
        fit(*EVALUATED, experiment=experiment())
    assert runs("train") == []


@pytest.mark.slow
def test_evaluate_without_a_test_part_is_refused_before_the_run_is_made(store: str, reviews_csv: Path) -> None:
    arguments = [*TINY, f"--data={reviews_csv}", "--epochs=1", "--test_split=0"]
    with pytest.raises(
        UserError, match=r"^evaluate: 'true' is not allowed; allowed: false, since \S+ has no rows in its test part$"
    ):
        fit(*arguments, "--evaluate=true", experiment=EXPERIMENT)
    assert mlflow.search_runs(output_format="list") == []
    fit(*arguments, experiment=EXPERIMENT)
    assert statuses("train") == ["FINISHED"]


@pytest.mark.slow
def test_right_to_begin_the_evaluations_run_is_required_before_a_resumed_training_goes_on(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Interrupted):
        fit(*EVALUATED, signals=SignalAfter(3))
    refuse, asked = rights.require_run, []

    def require_run(run: Run | None = None, parameter: str = "MLFLOW_RUN_ID") -> rights.Place:
        asked.append(run)
        if run is None:
            raise UserError("MLFLOW_EXPERIMENT_NAME: no right (403)")
        return refuse(run, parameter)

    monkeypatch.setattr(rights, "require_run", require_run)
    with pytest.raises(UserError, match="no right"):
        fit("--resume=latest")
    assert (statuses("train"), count_versions()) == (["KILLED"], 0)
    asked.clear()
    fit("--resume=latest", "--evaluate=false")
    assert None not in asked


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--evaluate=true"], "evaluate: unknown parameter"),
        (["--space=evaluate=true,false"], "space: 'evaluate=true,false' is not allowed"),
    ],
)
def test_search_does_not_take_evaluate(arguments: list[str], line: str) -> None:
    with pytest.raises(UserError, match=f"^{line}"):
        make_search_parameters(Diabetes()).parse(arguments)


def fail(error: Exception) -> Any:
    def raising(*arguments: Any, **named: Any) -> None:
        raise error

    return raising


@pytest.mark.slow
@pytest.mark.parametrize("error", [RunFailed("no scores"), UserError("the data differ"), ZeroDivisionError("a bug")])
def test_failing_evaluation_leaves_the_training_complete_and_is_made_up_for_by_a_resume(
    store: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(predictions, "write", fail(error))
        kind = RunFailed if isinstance(error, UserError) else type(error)  # no mistake before any work: exit status 1
        with pytest.raises(kind, match=str(error)) as raised:
            fit(*EVALUATED)
    (note,) = raised.value.__notes__
    assert note.startswith("diabetes version 1 is registered; to evaluate it: ")
    assert note.endswith(" --model models:/diabetes/1")
    training = assert_trained_once()
    assert statuses("evaluate") == ["FAILED"]

    before = training.data.to_dictionary()
    fit("--resume=latest")
    training = assert_trained_once()
    assert training.data.to_dictionary() == before
    assert statuses("evaluate") == ["FINISHED", "FAILED"]
    with pytest.raises(UserError, match=r"^resume: no resumable run in experiment Default"):
        fit("--resume=latest")
    with pytest.raises(UserError, match="has finished"):
        fit(f"--resume={training.info.run_id}", "--evaluate=true")
    assert len(runs("evaluate")) == 2


class Kill(Signals):
    """Signals with the real handler of SIGTERM."""

    def __enter__(self) -> "Kill":
        self._before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        self.install()
        return self

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGTERM, self._before[0])
        signal.signal(signal.SIGINT, self._before[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "name", "evaluations"),
    [
        (publisher, "register", []),  # while signals are held back
        (registry, "find", []),  # before the evaluation's run
        (predictions, "write", ["KILLED"]),
    ],
)
def test_signal_ends_the_evaluation_and_not_the_training(
    store: str, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, evaluations: list[str]
) -> None:
    function = getattr(owner, name)

    def kill(*arguments: Any, **named: Any) -> Any:
        result = function(*arguments, **named)
        os.kill(os.getpid(), signal.SIGTERM)
        return result

    with monkeypatch.context() as patch, Kill() as signals:
        patch.setattr(owner, name, kill)
        with pytest.raises(Interrupted) as raised:
            fit(*EVALUATED, signals=signals)
    assert raised.value.signum == signal.SIGTERM
    assert "diabetes version 1 is registered; to evaluate it: " in "".join(raised.value.__notes__)
    assert_trained_once()
    assert statuses("evaluate") == evaluations
    fit("--resume=latest")
    assert_trained_once()
    assert statuses("evaluate") == ["FINISHED", *evaluations]


def test_interrupted_training_is_resumed_and_evaluated(store: str) -> None:
    with pytest.raises(Interrupted):
        fit(*EVALUATED, signals=SignalAfter(3))
    assert (statuses("train"), statuses("evaluate")) == (["KILLED"], [])
    fit("--resume=latest")
    assert_trained_once()
    assert statuses("evaluate") == ["FINISHED"]


@pytest.mark.slow
def test_evaluate_may_change_at_a_resume(store: str) -> None:
    """What the last attempt was told counts, as a run's parameters stay those of its first."""
    with pytest.raises(Interrupted):
        fit(*SHORT, signals=SignalAfter(3))
    with pytest.raises(Interrupted):
        fit("--resume=latest", "--evaluate=true", signals=SignalAfter(2))
    (training,) = runs("train")
    assert (training.data.params["evaluate"], run_parameters.read_evaluate(training)) == ("false", True)
    with pytest.raises(Interrupted):
        fit("--resume=latest", "--evaluate=false", signals=SignalAfter(2))
    fit("--resume=latest")
    assert_trained_once()
    assert runs("evaluate") == []


def test_registered_training_is_evaluated_once_if_asked_by_its_id(store: str) -> None:
    fit(*SHORT)
    (training,) = runs("train")
    with pytest.raises(UserError, match="no resumable run"):  # it was not to be evaluated
        fit("--resume=latest", "--evaluate=true")
    fit(f"--resume={training.info.run_id}", "--evaluate=true")
    assert_trained_once()
    with pytest.raises(UserError, match="has finished"):
        fit(f"--resume={training.info.run_id}", "--evaluate=true")
    assert statuses("evaluate") == ["FINISHED"]


def without_evaluation(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Train as a process that dies before its evaluation."""
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "find_subject", fail(RunFailed("dead")))
        with pytest.raises(RunFailed):
            fit(*EVALUATED)
    assert runs("evaluate") == []
    return runs("train")[0]


@pytest.mark.slow
def test_training_that_died_before_its_runs_end_is_ended_and_evaluated(
    store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    training = without_evaluation(monkeypatch)
    mlflow.MlflowClient().update_run(training.info.run_id, status="RUNNING")
    fit("--resume=latest")
    assert "has finished: version 1 of diabetes is registered" in capsys.readouterr().out
    assert_trained_once()
    assert statuses("evaluate") == ["FINISHED"]


@pytest.mark.slow
def test_unfinished_trainings_are_resumed_before_evaluations_are_made_up_for(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Interrupted):
        fit(*SHORT, signals=SignalAfter(3))
    without_evaluation(monkeypatch)
    with pytest.raises(Interrupted):
        fit(*SHORT, signals=SignalAfter(3))
    fit("--resume=latest")
    assert (statuses("train"), statuses("evaluate")) == (["FINISHED", "FINISHED", "KILLED"], [])
    fit("--resume=latest")
    assert (statuses("train"), statuses("evaluate")) == (["FINISHED"] * 3, [])
    fit("--resume=latest")
    assert (statuses("train"), statuses("evaluate")) == (["FINISHED"] * 3, ["FINISHED"])


@pytest.mark.slow
@pytest.mark.parametrize("reason", ["evaluated by the verb", "version deleted", "evaluate=false"])
def test_training_without_need_of_an_evaluation_is_not_resumed(
    store: str, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    without_evaluation(monkeypatch)
    if reason == "evaluated by the verb":
        Verb("evaluate", Diabetes()).main([], Signals())
    if reason == "version deleted":
        mlflow.MlflowClient().delete_model_version("diabetes", "1")
    more = ["--evaluate=false"] if reason == "evaluate=false" else []
    with pytest.raises(UserError, match="no resumable run"):
        fit("--resume=latest", *more)


@pytest.mark.slow
def test_training_whose_process_still_evaluates_is_not_resumed(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    training = without_evaluation(monkeypatch)
    launch = run_parameters.read_launch(training)
    alive = {"pid": os.getppid(), "start": ""}
    mlflow.MlflowClient().set_tag(training.info.run_id, "launch", json.dumps(launch | alive))
    assert not Holder(os.getppid(), launch["host"], "", "", launch["system"]).is_dead
    with pytest.raises(UserError, match="no resumable run"):
        fit("--resume=latest")
    with pytest.raises(UserError, match=f"is held by process {os.getppid()} on host"):
        fit(f"--resume={training.info.run_id}")
    mlflow.MlflowClient().set_tag(training.info.run_id, "launch", json.dumps(launch | alive | {"host": "gone"}))
    with pytest.raises(UserError, match="no resumable run"):
        fit("--resume=latest")
    fit(f"--resume={training.info.run_id}")
    assert statuses("evaluate") == ["FINISHED"]


@pytest.mark.slow
def test_training_of_a_version_without_evaluate_is_resumed(store: str) -> None:
    with pytest.raises(Interrupted):
        fit(*SHORT, signals=SignalAfter(3))
    (training,) = runs("train")
    launch = run_parameters.read_launch(training)
    del launch["evaluate"]
    mlflow.MlflowClient().set_tag(training.info.run_id, "launch", json.dumps(launch))
    fit("--resume=latest")
    assert_trained_once()
    assert runs("evaluate") == []


@pytest.mark.slow
def test_evaluation_does_not_take_the_run_of_mlflow_run(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = mlflow.MlflowClient()
    made = client.create_run("0", tags={"mlflow.project.entryPoint": "main"}).info.run_id
    for name, value in make_train_command(Diabetes()).parse(EVALUATED).as_strings().items():
        if name != "resume":
            client.log_param(made, name, value)
    monkeypatch.setenv("MLFLOW_RUN_ID", made)
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "find_subject", fail(RunFailed("dead")))
        with pytest.raises(RunFailed) as raised:
            fit(*EVALUATED)
    assert f"mlflow run {Path.cwd()} -e evaluate --env-manager local -P model=models:/diabetes/1" in str(
        raised.value.__notes__
    )
    assert assert_trained_once().info.run_id == made
    client.set_terminated(made, "FAILED")  # as mlflow run does
    monkeypatch.setenv("MLFLOW_RUN_ID", made)
    fit("--evaluate=false")  # as mlflow run --run-id passes it
    assert assert_trained_once().info.run_id == made
    (within,) = runs("evaluate")
    assert (within.info.status, "mlflow.project.entryPoint" in within.data.tags) == ("FINISHED", False)


def test_evaluate_makes_no_difference_between_trainings(store: str) -> None:
    evaluated, other, older = (
        record([0.5], params, {"verb": "train"})
        for params in ({"patience": "3", "evaluate": "true"}, {"patience": "3", "evaluate": "false"}, {"patience": "3"})
    )
    assert differing_parameters([mlflow.get_run(run) for run in (evaluated, other, older)]) == {}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["src/train.py", "--evaluate=true"], "src/evaluate.py --model models:/a/1"),
        (["one.py", "train"], "one.py evaluate --model models:/a/1"),
    ],
)
def test_command_that_evaluates_follows_from_that_of_the_training(
    monkeypatch: pytest.MonkeyPatch, words: list[str], expected: str
) -> None:
    monkeypatch.setattr(sys, "argv", words)
    assert commands.evaluate_command("models:/a/1", {}).endswith(f" {expected}")
