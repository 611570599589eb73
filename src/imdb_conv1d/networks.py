"""The article's network (after Keras's example imdb_cnn) and its faster form for training."""

from dataclasses import dataclass
from pathlib import Path

import keras

from imdb_conv1d import schema
from imdb_conv1d.batches import make_training_batches, make_validation_batches
from imdb_conv1d.fused_layers import MIN_FUSED_WIDTH, FusedAdam, FusedConvolution
from imdb_conv1d.parameters import TrainParameters
from tracked.training import reproducibility
from tracked.training.keras_trainee import Arrays, KerasTrainee

STEPS_PER_CALL = 16  # maximum between two returns to Python, where signals are handled
REVIEWS_PER_CALL = 512  # likewise, so that signals do not wait longer with larger batches


@dataclass(frozen=True)
class Network:
    """Two networks with shared weights.

    ``plain`` has Keras's own layers and is saved: ids int [batch, maxlen] to the probability of a positive review,
    float [batch, 1]. ``trained`` is fitted, on batches of any length from kernel_size on. ``fused``: whether
    ``trained`` has fused layers; ``note`` explains why not where ``fused=true`` asks for them, or is empty.
    """

    plain: keras.Sequential
    trained: keras.Model
    fused: bool
    note: str

    def save(self, path: Path) -> None:
        """Write the plain network with the optimizer's state, as ``keras.Model.save`` does, after a step or more."""
        self.plain.optimizer.build(self.plain.trainable_variables)
        for saved, trained in zip(self.plain.optimizer.variables, self.trained.optimizer.variables, strict=True):
            saved.assign(trained)
        self.plain.save(path)


class NetworkTrainee(KerasTrainee):
    """A trainee that trains the one network of a pair on batches of ids, and saves the other."""

    def __init__(self, network: Network, parameters: TrainParameters, train: Arrays, validation: Arrays) -> None:
        """``train`` and ``validation`` are ids int [n, maxlen] and labels [n]."""
        size, kernel_size, seed = parameters.batch_size, parameters.kernel_size, parameters.seed
        super().__init__(
            network.trained,
            lambda epoch: make_training_batches(*train, size, kernel_size, seed, epoch),
            make_validation_batches(*validation, kernel_size),
            tags={schema.LAYERS: "fused" if network.fused else "plain"},
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


def build(parameters: TrainParameters, resumed_layers: str = "") -> Network:
    """Build and compile both networks.

    Args:
        resumed_layers: the layers of a resumed training, fused or plain: fused ones stay fused at any width.
    """
    plain = _make_plain(parameters)
    width = parameters.embedding_dims * parameters.kernel_size
    wide = width >= MIN_FUSED_WIDTH or resumed_layers == "fused"
    # The fused layers are written for a CPU; on a GPU, Keras's own layers are fast.
    fused = parameters.fused and wide and not reproducibility.count_gpus()
    layers = _fuse_layers(plain) if fused else plain.layers
    trained = keras.Sequential([keras.Input((None,), dtype="int32"), *layers])
    settings = {"loss": "binary_crossentropy", "metrics": ["accuracy"]}
    plain.compile(optimizer=keras.optimizers.Adam(parameters.learning_rate), **settings)
    adam = FusedAdam if fused else keras.optimizers.Adam
    steps = max(1, min(STEPS_PER_CALL, REVIEWS_PER_CALL // parameters.batch_size))
    trained.compile(optimizer=adam(parameters.learning_rate), steps_per_execution=steps, **settings)
    narrow = f"embedding_dims * kernel_size is {width}, below {MIN_FUSED_WIDTH}"
    note = f"{narrow}: Keras's own layers train, as with fused=false" if parameters.fused and not wide else ""
    return Network(plain, trained, fused, note)


def _make_plain(parameters: TrainParameters) -> keras.Sequential:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((parameters.maxlen,), dtype="int32", name="ids"),
            layers.Embedding(parameters.max_features, parameters.embedding_dims),
            layers.Dropout(0.2),
            layers.Conv1D(parameters.filters, parameters.kernel_size, padding="valid", activation="relu", strides=1),
            layers.GlobalMaxPooling1D(),
            layers.Dense(parameters.hidden_dims),
            layers.Dropout(0.2),
            layers.Activation("relu"),
            layers.Dense(1),
            layers.Activation("sigmoid"),
        ],
        name="imdb_conv1d",
    )


def _fuse_layers(plain: keras.Sequential) -> list[keras.Layer]:
    embedding, dropout, convolution, _, *rest = plain.layers
    return [embedding, dropout, FusedConvolution(convolution), *rest]
