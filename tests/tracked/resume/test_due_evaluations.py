"""A version is due to be evaluated until it has been: not another model of its training."""

from pathlib import Path

import mlflow
import pytest

from diabetes import Diabetes
from helpers.tidying import DIGEST, MadeUp
from tracked.resume.due_evaluations import find_due


@pytest.fixture
def made(store: str, tmp_path: Path) -> MadeUp:
    return MadeUp(tmp_path)


def is_due(training: str) -> bool:
    return training in find_due(Diabetes(), [mlflow.get_run(training)])


def test_evaluation_of_another_model_at_the_training_does_not_count(made: MadeUp) -> None:
    training, model, number = made.registered()
    made.tag(training, data_digest=DIGEST)
    assert is_due(training)
    made.evaluation(training, made.model(training))
    made.evaluation(training, "", {"model_uri": "models:/another/1"})
    made.evaluation(training, model, {"data_digest": "e" * 64})
    assert is_due(training)
    made.evaluation(training, model)
    assert not is_due(training)
    assert number == "1"


def test_evaluation_that_names_the_version_alone_counts(made: MadeUp) -> None:
    training, _, number = made.registered()
    made.tag(training, data_digest=DIGEST)
    made.evaluation(training, "", {"model_uri": f"models:/diabetes/{number}"})
    assert not is_due(training)
