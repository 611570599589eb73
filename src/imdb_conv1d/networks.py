"""The article's network (after Keras's example imdb_cnn) and its faster form for training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np

from imdb_conv1d import gated_network, schema
from imdb_conv1d.batches import Lookup, make_training_batches, make_validation_batches
from imdb_conv1d.fused_layers import MIN_FUSED_WIDTH, FusedAdam, FusedConvolution
from imdb_conv1d.ids import EncodedPart
from imdb_conv1d.ngram_model import NgramModel
from imdb_conv1d.parameters import TrainParameters
from imdb_conv1d.short_layers import MAX_SHORT, ScatteredAdam, ShortConvolution
from tracked.training import reproducibility
from tracked.training.keras_trainee import KerasTrainee
from tracked.training.schedules import make_rate, storable

Encoded: TypeAlias = tuple[EncodedPart, np.ndarray]  # a part's ids and labels
STEPS_PER_CALL = 16  # maximum between two returns to Python, where signals are handled
REVIEWS_PER_CALL = 512  # likewise, so that signals do not wait longer with larger batches


@dataclass(frozen=True)
class Network:
    """Two networks with shared weights.

    ``plain`` has Keras's own layers and is saved: ids int [batch, maxlen] to the probability of label 1, float
    [batch, 1]; of more than two classes, to the probability of each, float [batch, classes]. ``trained`` is fitted, on
    batches of any length from kernel_size on. ``fused``: whether ``trained`` has fused layers; ``note`` explains why
    not where ``fused=true`` asks for them, or is empty.
    """

    plain: keras.Model
    trained: keras.Model
    fused: bool
    note: str

    def save(self, path: Path) -> None:
        """Write the plain network with the optimizer's state, as ``keras.Model.save`` does, after a step or more.

        Keras alone can load the file.
        """
        self.plain.optimizer.build(self.plain.trainable_variables)
        for saved, trained in zip(self.plain.optimizer.variables, self.trained.optimizer.variables, strict=True):
            saved.assign(trained)
        with storable(self.plain.optimizer):
            self.plain.save(path)


class NetworkTrainee(KerasTrainee):
    """A trainee that trains the one network of a pair on batches of ids, and saves the other."""

    def __init__(
        self,
        network: Network,
        parameters: TrainParameters,
        train: Encoded,
        validation: Encoded,
        class_weights: np.ndarray | None = None,
        lookups: Sequence[Lookup | None] = (None, None),
    ) -> None:
        """Make the batches of both parts.

        Args:
            train: ids and labels [n]: float32 of two classes, int32 codes of more; ``validation`` likewise.
            lookups: of both parts, for the second input of a network that has two.
        """
        size, kernel_size, seed = parameters.batch_size, parameters.kernel_size, parameters.seed
        super().__init__(
            network.trained,
            lambda epoch: make_training_batches(*train, size, kernel_size, seed, epoch, class_weights, lookups[0]),
            make_validation_batches(*validation, kernel_size, lookups[1]),
            tags={schema.LAYERS: schema.FUSED if network.fused else schema.PLAIN},
            note=network.note,
        )
        self.network = network

    @property
    def weights(self) -> int:
        """The number of weights of the plain network."""
        return int(self.network.plain.count_params())

    def save(self, path: Path) -> None:
        """Write the plain network with the optimizer's state."""
        self.network.save(path)


def build(parameters: TrainParameters, resumed_layers: str = "", classes: int = 2, rows: int = 1) -> Network:
    """Build and compile both networks.

    Args:
        resumed_layers: the layers of a resumed training, as its tag names them: fused ones stay fused at any width.
        classes: two get one output with a sigmoid, more a softmax. Keras computes either loss from the logits, so a
            certain prediction's loss is not cut off.
        rows: of the training part, for the learning rate's schedule.
    """
    plain = _make_plain(parameters, classes)
    width = parameters.embedding_dims * parameters.kernel_size
    short = classes > 2 and parameters.maxlen <= MAX_SHORT
    former = resumed_layers == schema.FORMER_FUSED
    wide = width >= MIN_FUSED_WIDTH or short or former or resumed_layers == schema.FUSED
    # The fused layers are written for a CPU; on a GPU, Keras's own layers are fast.
    fused = parameters.fused and wide and not reproducibility.count_gpus()
    layers = _fuse_layers(plain, short) if fused else plain.layers
    trained = keras.Sequential([keras.Input((None,), dtype="int32"), *layers])
    fast_adam = FusedAdam if classes == 2 else ScatteredAdam
    _compile(plain, trained, fast_adam if fused else keras.optimizers.Adam, parameters, classes, rows)
    narrow = f"embedding_dims * kernel_size is {width}, below {MIN_FUSED_WIDTH}"
    note = f"{narrow}: Keras's own layers train, as with fused=false" if parameters.fused and not wide else ""
    if fused and former:
        note = f"the layers changed since the last attempt ({resumed_layers!r} -> {schema.FUSED!r}): bits may differ"
    return Network(plain, trained, fused, note)


def build_gated(parameters: TrainParameters, model: NgramModel, classes: int = 2, rows: int = 1) -> Network:
    """Build and compile the network that gates the values of n-grams; it has no convolution to fuse."""
    plain, trained = gated_network.build(parameters, model)
    fused = parameters.fused and not reproducibility.count_gpus()
    _compile(plain, trained, FusedAdam if fused else keras.optimizers.Adam, parameters, classes, rows)
    return Network(plain, trained, False, "")


def _compile(
    plain: keras.Model,
    trained: keras.Model,
    adam: type[keras.optimizers.Adam],
    parameters: TrainParameters,
    classes: int,
    rows: int,
) -> None:
    # metrics, not weighted_metrics: the accuracy counts rows, whatever their weight in the loss.
    loss: Any = "binary_crossentropy" if classes == 2 else "sparse_categorical_crossentropy"
    # One schedule for both optimizers, so that their variables correspond.
    rate = make_rate(parameters, math.ceil(rows / parameters.batch_size))
    plain.compile(optimizer=keras.optimizers.Adam(rate), loss=loss, metrics=["accuracy"])
    if parameters.network == "gated" and parameters.members > 1:
        binary = gated_network.compute_binary_loss, gated_network.compute_binary_accuracy
        of_classes = gated_network.compute_class_loss, gated_network.compute_class_accuracy
        loss, compute = binary if classes == 2 else of_classes
        accuracy: Any = keras.metrics.MeanMetricWrapper(compute, name="accuracy")
    else:
        # Of a metric given by its name, Keras makes the variables in the first step, which is then traced twice.
        kind = keras.metrics.BinaryAccuracy if classes == 2 else keras.metrics.SparseCategoricalAccuracy
        accuracy = kind(name="accuracy")
    steps = max(1, min(STEPS_PER_CALL, REVIEWS_PER_CALL // parameters.batch_size))
    trained.compile(optimizer=adam(rate), steps_per_execution=steps, loss=loss, metrics=[accuracy])


def _make_plain(parameters: TrainParameters, classes: int) -> keras.Sequential:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((parameters.maxlen,), dtype="int32", name="ids"),
            layers.Embedding(parameters.max_features, parameters.embedding_dims),
            layers.Dropout(parameters.dropout),
            layers.Conv1D(parameters.filters, parameters.kernel_size, padding="valid", activation="relu", strides=1),
            layers.GlobalMaxPooling1D(),
            layers.Dense(parameters.hidden_dims),
            layers.Dropout(parameters.dropout),
            layers.Activation("relu"),
            layers.Dense(1 if classes == 2 else classes),
            layers.Activation("sigmoid" if classes == 2 else "softmax"),
        ],
        name="imdb_conv1d",
    )


def _fuse_layers(plain: keras.Sequential, short: bool) -> list[keras.Layer]:
    embedding, dropout, convolution, _, *rest = plain.layers
    fused = [dropout, ShortConvolution(convolution)] if short else [FusedConvolution(dropout, convolution)]
    return [embedding, *fused, *rest]
