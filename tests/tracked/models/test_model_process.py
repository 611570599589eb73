"""A model in a process beside this one answers as it does here, and its end is told in one line."""

import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
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


@pytest.mark.slow
def test_answers_of_many_threads_are_those_of_the_model_here(path: str, remote: ModelProcess) -> None:
    here = loader.load(path)
    pieces = [ROWS[start : start + 7] for start in range(0, len(ROWS), 7)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(remote.predict, pieces))
    for piece, answer in zip(pieces, answers, strict=True):
        np.testing.assert_array_equal(answer, here.predict(piece))
    np.testing.assert_array_equal(remote.predict(data=ROWS[:2], params={}), here.predict(data=ROWS[:2], params={}))


def test_error_of_the_model_is_raised_here_with_its_trace_and_ends_nothing(remote: ModelProcess) -> None:
    with pytest.raises(MlflowException, match="does not match expected shape") as raised:
        remote.predict(np.zeros((1, 4), np.float32))
    assert "_validate_prediction_input" in str(raised.value.__cause__)
    assert remote.predict(ROWS[:2]).shape == (2, 1)


class Trap:
    """Data whose reading runs code."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> Any:
        return exec, (self.code,)


AWKWARD = """
class Awkward(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} {two}")
raise Awkward("one", "two")
"""


def test_data_that_cannot_be_sent_or_read_are_an_error_each_time(remote: ModelProcess) -> None:
    for _ in range(5):  # more often than there are connections
        with pytest.raises((AttributeError, pickle.PicklingError)):
            remote.predict(lambda: None)
        with pytest.raises(ZeroDivisionError):
            remote.predict(Trap("1 / 0"))
        with pytest.raises(RuntimeError, match=r"^Awkward: one two$"):  # an error that cannot be sent as it is
            remote.predict(Trap(AWKWARD))
    assert remote.predict(ROWS[:2]).shape == (2, 1)


def test_other_attributes_are_those_of_the_model_loaded_here_once(
    remote: ModelProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert remote.metadata.flavors["python_function"]["loader_module"] == "mlflow.tensorflow"
    monkeypatch.setattr(loader, "load", lambda _: pytest.fail("once more"))
    assert remote.input_example is None
    assert not hasattr(remote, "_private")


@pytest.mark.slow
def test_model_that_cannot_be_loaded_raises_what_loading_raises(tmp_path: Path) -> None:
    with ModelProcess() as process, pytest.raises(MlflowException, match="MLmodel"):
        process.load(str(tmp_path))


@pytest.mark.slow
def test_killed_process_ends_the_work_in_one_line(path: str) -> None:
    with ModelProcess() as process:
        model = process.load(path)
        process._process.kill()
        for _ in range(5):  # more often than there are connections
            with pytest.raises(
                RunFailed, match=r"^the process that predicts was killed by SIGKILL; if it lacked memory, "
            ):
                model.predict(ROWS)


@pytest.mark.slow
def test_process_that_ends_itself_is_no_wait_for_ever(path: str) -> None:
    with ModelProcess() as process, pytest.raises(RunFailed, match=r"^the process that predicts ended with status 1; "):
        process.load(path).predict(Trap("raise SystemExit(3)"))


@pytest.mark.slow
def test_process_ends_where_the_other_one_is_killed(path: str) -> None:
    code = (
        "import sys; from tracked.models.model_process import ModelProcess\n"  # a script without a main guard
        "process = ModelProcess(); process.load(sys.argv[1]); print('loaded', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], cwd=SRC, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "loaded\n"
        process.kill()
        assert process.stdout.read() == ""  # at the end of all that hold it


@pytest.mark.slow
def test_command_on_two_cores_has_a_process_and_ends_it(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = list[ModelProcess]()
    begin = ModelProcess.__init__

    def note(self: ModelProcess, meanwhile: Sequence[str]) -> None:
        begin(self, meanwhile)
        made.append(self)

    monkeypatch.setattr(ModelProcess, "__init__", note)
    monkeypatch.setattr(entry, "is_command", True)
    monkeypatch.setattr(model_process, "count_cores", lambda: 2)
    monkeypatch.delitem(sys.modules, "tensorflow")
    with model_process.beside(["this", "no_such_module"]) as load:
        assert load
        assert load(path).predict(ROWS).shape == (300, 1)
    assert "this" in sys.modules  # imported while it waited
    (process,) = made
    assert process._process.poll() == -signal.SIGKILL


@pytest.mark.parametrize("reason", ["one core", "no command", "TensorFlow imported"])
def test_model_is_loaded_here_where_a_process_saves_no_time(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    monkeypatch.setattr(entry, "is_command", reason != "no command")
    monkeypatch.setattr(model_process, "count_cores", lambda: 1 if reason == "one core" else 2)
    if reason != "TensorFlow imported":
        monkeypatch.delitem(sys.modules, "tensorflow")
    monkeypatch.setattr(model_process, "ModelProcess", lambda *_: pytest.fail("a process"))
    with model_process.beside(()) as load:
        assert load is None
