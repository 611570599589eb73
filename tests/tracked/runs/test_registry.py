from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

from imdb_conv1d import predict
from imdb_conv1d.experiment import EXPERIMENT
from imdb_conv1d.labels import ZERO_ONE, Classes
from tracked.console.errors import RunFailed, UserError
from tracked.models import loader
from tracked.runs import registry

TEXT = ModelSignature(inputs=Schema([TensorSpec(np.dtype(object), (-1,))]))


class Lengths(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.strings.length(texts), tf.float32) / 10


class Pickled(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[str]) -> list[float]:
        return [0.5 for _ in model_input]


def log_lengths(signature: ModelSignature = TEXT, **rest: object) -> str:
    """A harmless model of somebody else's; returns its run's id."""
    with mlflow.start_run() as run:
        mlflow.tensorflow.log_model(
            Lengths(),
            name="model",
            signature=signature,
            pip_requirements=["tensorflow"],
            registered_model_name="m",
            **rest,
        )
    return str(run.info.run_id)


def test_find_by_every_uri_gives_the_same_model(store: str) -> None:
    run_id, client = log_lengths(), mlflow.MlflowClient()
    client.set_registered_model_alias("m", "champion", "1")
    model_id = mlflow.models.get_model_info("models:/m/1").model_id
    named = [registry.find(uri) for uri in ("models:/m/1", "models:/m@champion", "models:/m/latest")]
    assert named == [registry.StoredModel("models:/m/1", "m", "1", model_id, run_id)] * 3
    assert named[0].title == "m version 1"
    for uri in (f"models:/{model_id}", f"runs:/{run_id}/model"):
        stored = registry.find(uri)
        assert (stored.model_id, stored.run_id, stored.title) == (model_id, run_id, uri)


def test_alias_that_moves_meanwhile_changes_nothing(store: str, tmp_path: Path) -> None:
    log_lengths()
    log_lengths()
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("m", "candidate", "1")
    stored = registry.find("models:/m@candidate")
    client.set_registered_model_alias("m", "candidate", "2")
    fetched = loader.download(EXPERIMENT, stored, tmp_path / "m")
    assert mlflow.models.Model.load(str(fetched.path)).model_id == stored.model_id
    assert registry.find("models:/m/1") == stored


@pytest.mark.parametrize(
    "uri",
    [
        "models:/none@candidate",
        "models:/none/1",
        "models:/none/latest",
        "models:/m@none",
        "models:/m/7",
        "models:/m/latest-of-all",
        f"models:/m-{'0' * 32}",
        f"runs:/{'0' * 32}/model",
    ],
)
def test_missing_model_is_named(store: str, uri: str) -> None:
    log_lengths()
    with pytest.raises(UserError, match=f"^model: '{uri}' cannot be found .*; allowed: one that exists") as caught:
        registry.find(uri)
    assert "\n" not in str(caught.value)


def fetch(folder: Path, uri: str = "models:/m/1") -> Path:
    folder.mkdir()
    return loader.download(EXPERIMENT, registry.find(uri), folder).path


def test_harmless_model_is_downloaded_and_scores(store: str, tmp_path: Path) -> None:
    log_lengths()
    model = loader.load(str(fetch(tmp_path / "m")))
    found = predict.predict_probabilities(model, pd.Series(["a", "ab"], index=[5, 9]), Classes(ZERO_ONE))
    assert found.tolist() == pytest.approx([0.1, 0.2])


def test_pickled_model_is_refused(store: str, tmp_path: Path) -> None:
    with mlflow.start_run():
        mlflow.pyfunc.log_model(
            name="model", python_model=Pickled(), pip_requirements=["mlflow"], registered_model_name="m"
        )
    with pytest.raises(UserError, match=r"is loaded by mlflow\.pyfunc\.model, which may run code from the model's"):
        fetch(tmp_path / "m")


@pytest.mark.parametrize("name", ["custom_objects.cloudpickle", "helper.py", "weights.pkl"])
def test_model_with_files_of_code_is_refused(store: str, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("boom")
    log_lengths(extra_files=[str(tmp_path / name)])
    with pytest.raises(UserError, match=f"holds extra_files/{name}, which may run code when loaded; allowed"):
        fetch(tmp_path / "m")


def test_model_with_code_paths_is_refused(store: str, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("boom = 1\n")
    log_lengths(code_paths=[str(tmp_path / "helper.py")])
    with pytest.raises(UserError, match="may run code when loaded"):
        fetch(tmp_path / "m")


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([TensorSpec(np.dtype(np.int32), (-1, 400))], "Tensor"),
        ([TensorSpec(np.dtype(object), (-1,), "a"), TensorSpec(np.dtype(object), (-1,), "b")], "Tensor"),
    ],
)
def test_model_without_text_input_is_refused(
    store: str, tmp_path: Path, inputs: list[TensorSpec | ColSpec], said: str
) -> None:
    log_lengths(ModelSignature(inputs=Schema(inputs)))
    with pytest.raises(UserError, match=f"takes no text but .*{said}.*; allowed: a model with one text as its input"):
        fetch(tmp_path / "m")


def test_foreign_model_has_no_metadata(store: str, tmp_path: Path) -> None:
    log_lengths()
    stored = registry.find("models:/m/1")
    assert loader.download(EXPERIMENT, stored, tmp_path / "m").metadata is None
    assert loader.read_training_rows(stored, tmp_path) is None


def test_prediction_outside_0_to_1_is_refused(store: str, tmp_path: Path) -> None:
    log_lengths()
    model = loader.load(str(fetch(tmp_path / "m")))
    with pytest.raises(RunFailed, match="does not give a probability between 0 and 1 for each text"):
        predict.predict_probabilities(model, pd.Series(["a text of more than ten letters"]), Classes(ZERO_ONE))


def test_model_that_names_a_module_is_refused(store: str, tmp_path: Path) -> None:
    (tmp_path / "keras_module.txt").write_text("antigravity")
    log_lengths(extra_files=[str(tmp_path / "keras_module.txt")])
    with pytest.raises(UserError, match=r"holds extra_files/keras_module\.txt, which may run code when loaded"):
        fetch(tmp_path / "m")
