"""A model in a process beside this one answers as it does here, and its end is told in one line."""

import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature

from helpers import SRC
from tracked.console import entry
from tracked.console.errors import RunFailed
from tracked.models import loader, model_process
from tracked.models.model_process import ModelProcess

ROWS = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5, activation="relu"), keras.layers.Dense(1)])
    path: Path = tmp_path_factory.mktemp("model") / "stored"
    signature = infer_signature(ROWS, network.predict(ROWS))
    mlflow.tensorflow.save_model(network, str(path), pip_requirements=["keras"], signature=signature)
    return str(path)


@pytest.fixture(scope="module")
def remote(path: str) -> Iterator[ModelProcess]:
    with ModelProcess() as process:
        yield process.load(path)


def test_answers_of_many_threads_are_those_of_the_model_here(path: str, remote: ModelProcess) -> None:
    here = loader.load(path)
    pieces = [ROWS[start : start + 7] for start in range(0, len(ROWS), 7)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(remote.predict, pieces))
    for piece, answer in zip(pieces, answers, strict=True):
        np.testing.assert_array_equal(answer, here.predict(piece))


def test_error_of_the_model_is_raised_here_with_its_trace_and_ends_nothing(remote: ModelProcess) -> None:
    with pytest.raises(MlflowException, match="does not match expected shape") as raised:
        remote.predict(np.zeros((1, 4), np.float32))
    assert "_validate_prediction_input" in str(raised.value.__cause__)
    assert remote.predict(ROWS[:2]).shape == (2, 1)


def test_another_attribute_is_that_of_the_model_loaded_here(remote: ModelProcess) -> None:
    assert remote.metadata.flavors["python_function"]["loader_module"] == "mlflow.tensorflow"
    assert not hasattr(remote, "_private")


def test_model_that_cannot_be_loaded_raises_what_loading_raises(tmp_path: Path) -> None:
    with ModelProcess() as process, pytest.raises(MlflowException, match="MLmodel"):
        process.load(str(tmp_path))


def test_killed_process_ends_the_work_in_one_line_and_none_is_left(path: str) -> None:
    before = multiprocessing.active_children()
    with ModelProcess() as process:
        (child,) = set(multiprocessing.active_children()) - set(before)
        model = process.load(path)
        child.kill()
        for _ in range(5):  # more often than there are connections
            with pytest.raises(RunFailed, match=r"^the process that predicts was killed by SIGKILL$"):
                model.predict(ROWS)
    assert multiprocessing.active_children() == before


def test_process_ends_where_the_other_one_is_killed(path: str) -> None:
    code = (
        "import sys; from tracked.models.model_process import ModelProcess\n"
        "if __name__ == '__main__':\n    process = ModelProcess(); process.load(sys.argv[1])\n"
        "    print('loaded', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], cwd=SRC, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "loaded\n"
        process.kill()
        assert process.stdout.read() == ""  # at the end of all that hold it


@pytest.mark.parametrize("reason", ["one core", "no command", "TensorFlow imported"])
def test_model_is_loaded_here_where_a_process_saves_no_time(
    path: str, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    monkeypatch.setattr(entry, "is_command", reason != "no command")
    monkeypatch.setattr(model_process, "count_cores", lambda: 1 if reason == "one core" else 2)
    if reason != "TensorFlow imported":
        monkeypatch.delitem(sys.modules, "tensorflow")
    monkeypatch.setattr(model_process, "ModelProcess", lambda *_: pytest.fail("a process"))
    with model_process.beside(()) as load:
        monkeypatch.undo()  # the model needs TensorFlow
        model: Any = load(path)
    assert model.predict(ROWS).shape == (300, 1)
