"""Trainings with learning_rate=auto: the bits of the number, resumes, the run."""

from typing import Any

import mlflow
import pytest

from diabetes import Diabetes
from helpers import reuse
from helpers.resuming import folder, metrics
from helpers.runs import SignalAfter, artifacts, last_run
from helpers.trainings import Trainings
from helpers.verbs import Verb
from tracked.console.errors import Interrupted, RunFailed, UserError
from tracked.console.signals import Signals
from tracked.training import range_test

AUTO = ["--learning_rate=auto", "--epochs=3"]
STEPS = 200
of_both = pytest.mark.parametrize("trainings", ["imdb", "diabetes"], indirect=True)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(range_test.measure, "__defaults__", (1e-6, 10.0, STEPS))


def forget() -> None:
    """A new process builds its networks anew."""
    reuse._built.clear()


def train(trainings: Trainings, *flags: str, signals: SignalAfter | None = None) -> mlflow.entities.Run:
    forget()
    trainings.train(*flags, signals=signals)
    return last_run()


@pytest.mark.slow
@of_both
def test_training_with_auto_has_the_bits_of_one_with_the_number(store: str, trainings: Trainings) -> None:
    auto = train(trainings, *AUTO)
    rate = auto.data.tags["suggested_rate"]
    given = train(trainings, f"--learning_rate={rate}", "--epochs=3")
    assert metrics(auto) == metrics(given)
    assert "suggested_rate" not in given.data.tags
    assert artifacts(auto) - artifacts(given) == {"rate_range.csv", "rate_range.png"}
    assert auto.data.metrics["learning_rate"] == pytest.approx(float(rate), rel=1e-6)
    assert auto.data.params["learning_rate"] == "auto"
    assert "learning_rate=auto" in auto.info.run_name
    assert not folder(auto, trainings.name).exists()
    (version,) = mlflow.MlflowClient().search_model_versions(f"run_id = '{auto.info.run_id}'")
    model = mlflow.MlflowClient().get_logged_model(version.source.removeprefix("models:/"))
    assert model.params["learning_rate"] == "auto"


@pytest.mark.slow
@of_both
def test_resume_of_a_training_with_auto_takes_the_number_from_the_run(
    store: str, trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninterrupted = metrics(train(trainings, *AUTO))
    forget()
    with pytest.raises(Interrupted):  # the range test may end before its last step: count the checks after it
        trainings.train(*AUTO, signals=SignalAfterTest(2 + trainings.checks, monkeypatch))
    run = last_run()
    assert set(metrics(run)["val_loss"]) == {1}
    forget()
    monkeypatch.setattr(range_test, "measure", None)  # would fail
    trainings.resume("--resume", run.info.run_id)
    assert metrics(mlflow.get_run(run.info.run_id)) == uninterrupted


class SignalAfterTest(SignalAfter):
    """Signals that arrive so many checks after the range test."""

    def __init__(self, checks: int, patch: pytest.MonkeyPatch) -> None:
        super().__init__(0)
        measure = range_test.measure

        def measured(*arguments: object) -> object:
            result = measure(*arguments)
            self.left = checks - 1  # one check comes before the test
            return result

        patch.setattr(range_test, "measure", measured)


@pytest.mark.slow
@of_both
def test_training_that_is_killed_in_its_range_test_tests_again(store: str, trainings: Trainings) -> None:
    uninterrupted = train(trainings, *AUTO)
    forget()
    with pytest.raises(Interrupted):
        trainings.train(*AUTO, signals=SignalAfter(30))
    run = last_run()
    assert (run.info.status, run.data.tags["stop_reason"]) == ("KILLED", "interrupted")
    assert "suggested_rate" not in run.data.tags
    assert not run.data.metrics
    forget()
    trainings.resume("--resume", run.info.run_id)
    run = mlflow.get_run(run.info.run_id)
    assert run.data.tags["suggested_rate"] == uninterrupted.data.tags["suggested_rate"]
    assert metrics(run) == metrics(uninterrupted)


def test_resume_of_auto_with_a_number_is_refused(store: str, diabetes: Trainings) -> None:
    with pytest.raises(Interrupted):
        diabetes.train(*AUTO, signals=SignalAfter(30))
    run = last_run()
    with pytest.raises(UserError, match=r"learning_rate: '0.1' is not allowed; allowed: auto, as run \w+ has it"):
        diabetes.resume("--resume", run.info.run_id, "--learning_rate=0.1")


def test_training_without_a_suggestion_ends_before_its_first_epoch(
    store: str, diabetes: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(range_test.measure, "__defaults__", (1e-20, 1e-10, 60))
    with pytest.raises(RunFailed, match=r"learning_rate=auto: the loss never falls .*; or start a new tr") as failed:
        diabetes.train(*AUTO)
    assert not getattr(failed.value, "__notes__", [])  # it cannot be resumed
    run = last_run()
    assert (run.info.status, run.data.tags["stop_reason"]) == ("FAILED", "no_rate")
    assert not run.data.metrics
    assert artifacts(run) == {"rate_range.csv", "rate_range.png"}
    assert run.data.tags["data_digest"]
    assert not mlflow.search_registered_models()
    with pytest.raises(UserError, match=r"resume: run \w+ found no learning rate to suggest; start a new training"):
        diabetes.resume("--resume", run.info.run_id)


def test_trainee_without_a_sweep_ends_the_training_before_its_first_epoch(store: str) -> None:
    class Fixed(Diabetes):
        def build(self, *arguments: Any) -> Any:
            return object()

    with pytest.raises(RunFailed, match=r"its trainee lacks sweep\(rates\), .*; give learning_rate a number"):
        Verb("train", Fixed()).main(AUTO, Signals())
    assert not last_run().data.metrics


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["plateau", "cosine"])
def test_auto_with_a_schedule_begins_with_the_number(store: str, diabetes: Trainings, schedule: str) -> None:
    flags = [f"--schedule={schedule}", "--warmup_steps=3"]
    auto = train(diabetes, *AUTO, *flags)
    given = train(diabetes, f"--learning_rate={auto.data.tags['suggested_rate']}", "--epochs=3", *flags)
    assert metrics(auto) == metrics(given)
