"""A stored network called on few rows gives what its predict gives, traced once for any number of them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import mlflow
import numpy as np
import pytest

from tracked.models import few_rows, loader


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A network that is dropped out in training alone, as it is loaded."""
    layers = keras.layers
    network = keras.Sequential(
        [keras.Input((3,)), layers.Dense(5, activation="relu"), layers.Dropout(0.5), layers.Dense(1)]
    )
    path: Path = tmp_path_factory.mktemp("model") / "stored"
    mlflow.tensorflow.save_model(network, str(path), pip_requirements=[])
    return loader.load(str(path))


@pytest.mark.parametrize("count", [0, 1, 2, 31, 300])
def test_output_for_any_number_of_rows_is_that_of_predict(stored: Any, count: int) -> None:
    rows = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    found = few_rows.make_quick(stored)(rows[:count])
    assert (found.shape, found.dtype) == ((count, 1), np.float32)
    np.testing.assert_allclose(found, stored.predict(rows)[:count], rtol=1e-6, atol=1e-6)


def test_other_numbers_of_rows_trace_nothing_anew(stored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    call = few_rows.make_quick(stored)
    monkeypatch.setattr(keras.Model, "__call__", lambda *_, **__: pytest.fail("traced"))
    assert [len(call(np.zeros((count, 3), np.float32))) for count in (1, 2, 7)] == [1, 2, 7]


def test_model_that_is_no_network_is_called_as_it_is() -> None:
    given: Any = SimpleNamespace(get_raw_model=lambda: object(), predict=lambda rows: rows + 1)
    assert few_rows.make_quick(given)(np.zeros((1, 1))).tolist() == [[1.0]]
    two: Any = keras.Model([first := keras.Input((1,)), second := keras.Input((1,))], first + second)
    given.get_raw_model = lambda: two
    assert few_rows.make_quick(given)(np.zeros((1, 1))).tolist() == [[1.0]]
