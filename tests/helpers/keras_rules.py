"""Run Keras's own callbacks on a list of values."""

import math
from collections.abc import Sequence
from typing import Literal

import keras
import numpy as np
from hypothesis import strategies as st

from tracked.analysis.early_stopping import Rule
from tracked.analysis.plateau import PlateauRule

Mode = Literal["min", "max"]


class FakeModel:
    """The part of a model that Keras's callbacks use."""

    stop_training = False
    metrics: Sequence[object] = ()
    saved: int
    optimizer: "FakeOptimizer"

    def save(self, path: str, overwrite: bool) -> None:
        self.saved = self.epoch

    epoch = 0


def keras_stop(rule: Rule, values: Sequence[float]) -> tuple[int, int, float | None, int, bool]:
    """Return epoch, best epoch, best, wait and whether keras.callbacks.EarlyStopping stopped."""
    callback = keras.callbacks.EarlyStopping("m", rule.min_delta, rule.patience, mode=rule.mode)
    model = FakeModel()
    callback.set_model(model)
    callback.on_train_begin()
    epoch = 0
    for epoch, value in enumerate(values, 1):
        callback.on_epoch_end(epoch - 1, {"m": value})
        if model.stop_training:
            break
    return epoch, callback.best_epoch + 1, callback.best, callback.wait, model.stop_training


def keras_checkpoint(mode: Mode, values: Sequence[float]) -> int:
    """Return the epoch that keras.callbacks.ModelCheckpoint(save_best_only=True) keeps."""
    callback = keras.callbacks.ModelCheckpoint("unused.keras", "m", save_best_only=True, mode=mode)
    model = FakeModel()
    callback.set_model(model)
    for model.epoch, value in enumerate(values, 1):
        callback.on_epoch_end(model.epoch - 1, {"m": value})
    return model.saved


class FakeOptimizer:
    """The rate of an optimizer, which is kept as float32."""

    def __init__(self, rate: float) -> None:
        self.learning_rate = rate

    def __setattr__(self, name: str, value: float) -> None:
        super().__setattr__(name, np.float32(value))


def keras_plateau(
    rule: PlateauRule, rate: float, values: Sequence[float]
) -> list[tuple[float, int, int, float | None]]:
    """Return rate, wait, cooldown and best of keras.callbacks.ReduceLROnPlateau after each epoch."""
    callback = keras.callbacks.ReduceLROnPlateau(
        "m", rule.factor, rule.patience, mode=rule.mode, min_delta=rule.min_delta, cooldown=rule.cooldown,
        min_lr=rule.min_rate,
    )  # fmt: skip
    model = FakeModel()
    model.optimizer = FakeOptimizer(rate)
    callback.set_model(model)
    callback.on_train_begin()
    states = []
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"m": value})
        states.append((float(model.optimizer.learning_rate), callback.wait, callback.cooldown_counter, callback.best))
    return states


# Values on a coarse grid tie often; the special ones and float32's neighbours are where a comparison can go wrong.
VALUES = st.one_of(
    st.integers(-4, 4).map(lambda n: n / 4),
    st.floats(-10, 10).filter(lambda v: v == 0 or abs(v) > 1e-30),
    st.sampled_from([math.nan, math.inf, -math.inf, 0.5, float(np.nextafter(np.float32(0.5), np.float32(1)))]),
)
