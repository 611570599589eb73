"""Each row has a place of its own in a batch, where its answer has the same bits as in any other place."""

from pathlib import Path

import keras
import mlflow
import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from tracked.models import loader
from tracked.predict.number_scorer import NumberScorer
from tracked.predict.places import BLOCK, USED, place


@given(count=st.integers(0, 400), batch=st.integers(1, 200), width=st.integers(0, 3))
def test_rows_are_found_at_their_places_and_the_others_are_empty(count: int, batch: int, width: int) -> None:
    rows = np.arange(1, count * (width + 1) + 1, dtype=np.float32).reshape(count, width + 1)
    placed, places = place(rows, batch, -1)
    assert len(placed) % batch == 0
    np.testing.assert_array_equal(placed[places], rows)
    assert sorted(set(places.tolist())) == places.tolist()  # in the rows' order, none twice
    assert (np.delete(placed, places, axis=0) == -1).all()
    assert (places % batch % BLOCK < USED).all()


def test_texts_are_placed_as_they_are() -> None:
    texts = np.array([f"text {number}" for number in range(31)], dtype=object)
    placed, places = place(texts, 64, "")
    assert [len(placed), places[-1], placed[places].tolist()] == [64, 32, texts.tolist()]
    assert placed[30:32].tolist() == ["", ""]


def test_bits_of_an_answer_depend_on_no_other_row(tmp_path: Path) -> None:
    """On many CPUs Keras's own predict answers the last rows of 32 with other bits."""
    layers, draw = keras.layers, np.random.default_rng(0)
    network = keras.Sequential([keras.Input((10,)), layers.Dense(64, activation="relu"), layers.Dense(1)])
    mlflow.tensorflow.save_model(network, str(tmp_path / "stored"), pip_requirements=[])
    edges = {f"x{number}": (0.0,) for number in range(10)}
    scorer = NumberScorer(loader.load(str(tmp_path / "stored")), edges, answer_edges=(0.0,))
    table = pd.DataFrame(draw.normal(size=(600, 10)), columns=list(edges))
    answers = scorer.answer(table)["predicted"].to_numpy()
    for chosen in (draw.permutation(600), np.arange(599, 600), np.arange(17, 300)):
        found = scorer.answer(table.iloc[chosen])["predicted"].to_numpy()
        np.testing.assert_array_equal(found, answers[chosen])
