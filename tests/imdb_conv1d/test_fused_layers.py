"""The fused layers against Keras's own, in float64 and in a whole training."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from keras.src import backend

from imdb_conv1d import fused_layers, networks
from imdb_conv1d.batches import make_training_batches, make_validation_batches
from imdb_conv1d.fused_layers import FusedAdam, FusedConvolution
from imdb_conv1d.ids import EncodedPart
from imdb_conv1d.parameters import TrainParameters
from imdb_conv1d.short_layers import ScatteredAdam, ShortConvolution
from tracked.training.keras_trainee import EpochNumber

Arrays = list[np.ndarray]
WORDS, CHANNELS = 12, 3


def layers(filters: int, kernel_size: int, numbers: np.random.Generator) -> tuple[keras.Layer, keras.Layer]:
    """Make an embedding and a convolution in float64 with random weights."""
    embedding = keras.layers.Embedding(WORDS, CHANNELS, dtype="float64")
    convolution = keras.layers.Conv1D(filters, kernel_size, activation="relu", dtype="float64")
    embedding.build((None, None))
    convolution.build((None, None, CHANNELS))
    for layer in (embedding, convolution):
        layer.set_weights([numbers.normal(size=weight.shape) for weight in layer.get_weights()])
    return embedding, convolution


def results(
    embedding: keras.Layer,
    convolution: keras.Layer,
    ids: np.ndarray,
    keep: np.ndarray,
    upstream: np.ndarray,
    fast: bool,
    layer: type[keras.Layer] = FusedConvolution,
) -> tuple[np.ndarray, Arrays]:
    """Compute the output and the gradients of the embeddings' table, kernel, bias and the convolution's input."""
    maximum = keras.layers.GlobalMaxPooling1D(dtype="float64")
    fused = layer(convolution) if layer is ShortConvolution else layer(keras.layers.Dropout(0.2), convolution)
    convolve = fused if fast else lambda x: maximum(convolution(x))
    with tf.GradientTape() as tape:
        x = embedding(tf.constant(ids)) * keep
        tape.watch(x)
        y = convolve(x)
        loss = tf.reduce_sum(y * upstream)
    weights = [embedding.embeddings.value, convolution.kernel.value, convolution.bias.value]
    gradients = tape.gradient(loss, [*weights, x])
    return y.numpy(), [tf.convert_to_tensor(gradient).numpy() for gradient in gradients]


def close(ours: Arrays, theirs: Arrays) -> None:
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our, their, rtol=1e-10, atol=1e-10)


@pytest.mark.slow
@given(
    batch=st.integers(1, 5),
    length=st.integers(1, 12),
    kernel_size=st.integers(1, 4),
    filters=st.integers(1, 6),
    dropout=st.sampled_from([0.0, 0.2, 0.9, 1.0]),
    lift=st.sampled_from([-20.0, -1.0, 0.0, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_fused_layers_on_distinct_words_equal_the_plain_ones(
    batch: int, length: int, kernel_size: int, filters: int, dropout: float, lift: float, seed: int
) -> None:
    """Distinct words: no two windows are equal except by dropout. ``lift`` makes windows negative."""
    length = max(length, kernel_size)
    numbers = np.random.default_rng(seed)
    embedding, convolution = layers(filters, kernel_size, numbers)
    kernel, bias = convolution.get_weights()
    convolution.set_weights([kernel, bias + lift])
    ids = np.stack([numbers.permutation(WORDS)[:length] for _ in range(batch)]).astype(np.int32)
    keep = (numbers.random((batch, length, CHANNELS)) >= dropout) / max(1 - dropout, 0.5)
    upstream = numbers.normal(size=(batch, filters))
    plain_y, plain = results(embedding, convolution, ids, keep, upstream, fast=False)
    fast_y, fast = results(embedding, convolution, ids, keep, upstream, fast=True)
    close([fast_y], [plain_y])
    # Windows whose words are all dropped are equal: only the gradient of the input then depends on the choice.
    windows = np.lib.stride_tricks.sliding_window_view(keep, kernel_size, axis=1)
    empty = (windows == 0).all(axis=(2, 3)).sum(axis=1).max() > 1
    if empty:
        close(fast[1:3], plain[1:3])
    else:
        close(fast, plain)


@given(
    batch=st.integers(1, 5),
    length=st.integers(1, 12),
    kernel_size=st.integers(1, 4),
    filters=st.integers(1, 6),
    words=st.integers(1, WORDS),
    seed=st.integers(0, 2**32 - 1),
)
def test_short_layers_equal_the_plain_ones_with_shared_maxima_too(
    batch: int, length: int, kernel_size: int, filters: int, words: int, seed: int
) -> None:
    """A gradient is divided among equal windows; their products may differ by rounding, so their words are integers."""
    numbers = np.random.default_rng(seed)
    embedding, convolution = layers(filters, kernel_size, numbers)
    for layer in (embedding, convolution):
        layer.set_weights([np.round(weight * 2) for weight in layer.get_weights()])
    ids = numbers.integers(0, words, (batch, max(length, kernel_size))).astype(np.int32)
    keep = numbers.integers(0, 2, (*ids.shape, CHANNELS)).astype(float)
    upstream = numbers.normal(size=(batch, filters))
    plain_y, plain = results(embedding, convolution, ids, keep, upstream, fast=False)
    short_y, short = results(embedding, convolution, ids, keep, upstream, True, ShortConvolution)
    close([short_y, *short], [plain_y, *plain])


@pytest.mark.parametrize("words", [1, 2, 3, 15])
def test_fused_layers_on_repeated_words_have_the_plain_weights_gradients(words: int) -> None:
    """Reviews from one word to longer than maxlen: windows with equal words tie, and the weights' gradients agree."""
    numbers = np.random.default_rng(words)
    embedding, convolution = layers(6, 3, numbers)
    kernel, bias = convolution.get_weights()
    convolution.set_weights([kernel, bias + 3])
    ids = keras.utils.pad_sequences(numbers.integers(1, 4, (4, words)), maxlen=10)
    upstream = numbers.normal(size=(4, 6))
    plain_y, plain = results(embedding, convolution, ids, np.ones((4, 10, 1)), upstream, fast=False)
    fast_y, fast = results(embedding, convolution, ids, np.ones((4, 10, 1)), upstream, fast=True)
    close([fast_y, *fast[:3]], [plain_y, *plain[:3]])
    assert (words == 15) or not np.allclose(fast[3], plain[3])  # ties exist


@given(
    batch=st.integers(1, 4),
    windows=st.integers(1, 40),
    filters=st.integers(1, 20),
    values=st.integers(1, 50),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_maxima_and_their_first_places_are_those_of_all_windows(
    batch: int, windows: int, filters: int, values: int, dtype: str, seed: int
) -> None:
    """Few values: many windows share a maximum."""
    products = np.random.default_rng(seed).integers(-values, values, (batch, windows, filters)).astype(dtype)
    top, places = fused_layers.find_maxima(tf.constant(products))
    np.testing.assert_array_equal(top, products.max(axis=1))
    np.testing.assert_array_equal(places, products.argmax(axis=1))


@pytest.mark.parametrize("where", ["x", "kernel", "bias"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("training", [False, True])
def test_what_is_not_finite_is_not_passed_over(where: str, value: float, training: bool) -> None:
    """Else a training that diverges would go on with losses that look right."""
    numbers = np.random.default_rng(0)
    arrays = {
        "x": numbers.normal(size=(6, 30, 8)), "kernel": numbers.normal(size=(3, 8, 16)), "bias": np.zeros(16)
    }  # fmt: skip
    arrays[where].flat[5] = value
    x, kernel, bias = (tf.constant(array, tf.float32) for array in arrays.values())
    seed = tf.constant([1, 2]) if training else None
    result = fused_layers.convolve_and_pool(x, kernel, bias, 0.001, seed).numpy()
    if where == "bias" and value < 0:
        assert not result[:, 5].any()  # as with ReLU of the plain layers
    else:
        assert not np.isfinite(result).all()


@pytest.mark.slow
@given(
    batch=st.integers(1, 9),
    length=st.integers(3, 12),
    rate=st.sampled_from([0.0, 1e-6, 0.2, 0.5, 0.999, 0.9999999]),
    seed=st.integers(0, 2**31 - 1),
)
def test_gradients_with_dropout_equal_those_of_the_plain_layers_with_the_same_zeros(
    batch: int, length: int, rate: float, seed: int
) -> None:
    """Fewer rows than parts, too."""
    numbers = np.random.default_rng(seed)
    arrays = numbers.normal(size=(batch, length, CHANNELS)), numbers.normal(size=(3, CHANNELS, 5)), np.full(5, 3.0)
    x, kernel, bias = (tf.constant(array, tf.float32) for array in arrays)
    key = tf.constant([seed, 3])
    mask = draw_masks(tf.shape(x), rate, key)
    results = []
    for is_fused in (True, False):
        with tf.GradientTape() as tape:
            tape.watch((x, kernel, bias))
            if is_fused:
                y = fused_layers.convolve_and_pool(x, kernel, bias, rate, key)
            else:
                y = tf.reduce_max(tf.nn.relu(tf.nn.conv1d(x * mask, kernel, 1, "VALID") + bias), axis=1)
            loss = tf.reduce_sum(y * y)
        # The input's own gradient is left out where equal windows, all dropped, may share a maximum.
        wanted = (x, kernel, bias) if rate <= 0.5 else (kernel, bias)
        results.append([y.numpy(), *(gradient.numpy() for gradient in tape.gradient(loss, wanted))])
    for our, their in zip(*results, strict=True):
        np.testing.assert_allclose(our, their, rtol=2e-4, atol=1e-4 * max(1.0, float(np.abs(their).max())))


def test_dropout_drops_its_share_independently() -> None:
    """Of a million numbers: the share dropped, and that of neighbours dropped together, in each part and step."""
    shape, rate, count = tf.constant([32, 625, 50]), 0.2, 1_000_000
    first, second = (draw_masks(shape, rate, tf.constant(key)).numpy() == 0 for key in ([5, 1], [5, 2]))
    parts = first.reshape(fused_layers.PARTS, -1)
    deviation = math.sqrt(rate * (1 - rate) / count)
    assert abs(first.mean() - rate) < 5 * deviation
    pairs = [
        (first, second), (first[:, 1:], first[:, :-1]), (first[..., 1:], first[..., :-1]),
        *((parts[0], other) for other in parts[1:]),
    ]  # fmt: skip
    for one, other in pairs:
        assert abs((one & other).mean() - rate**2) < 5 * math.sqrt(rate**2 * (1 - rate**2) / one.size)


def test_gradient_of_a_negative_maximum_is_zero() -> None:
    numbers = np.random.default_rng(0)
    embedding, convolution = layers(4, 2, numbers)
    convolution.set_weights([convolution.get_weights()[0], np.full(4, -1000.0)])
    y, gradients = results(
        embedding, convolution, np.arange(10).reshape(2, 5), np.ones((2, 5, 1)), np.ones((2, 4)), fast=True
    )
    assert not y.any()
    assert not any(gradient.any() for gradient in gradients)


@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(1, 5), rate=st.sampled_from([1e-4, 1e-3, 1.0]))
def test_fused_adam_makes_kerass_steps(seed: int, steps: int, rate: float) -> None:
    """For a dense gradient, and for one by rows with repeated and missing words."""
    numbers = np.random.default_rng(seed)
    start = numbers.normal(size=(6, 3))
    dense = numbers.normal(size=(steps, 6, 3))
    rows, words = numbers.normal(size=(steps, 9, 3)), numbers.integers(0, 5, (steps, 9))
    results = []
    for kind in (keras.optimizers.Adam, FusedAdam, ScatteredAdam):
        variables = [keras.Variable(start, dtype="float64") for _ in range(2)]
        adam = kind(rate)
        adam.build(variables)
        for step in range(steps):
            slices = tf.IndexedSlices(tf.constant(rows[step]), tf.constant(words[step]), (6, 3))
            adam.apply([tf.constant(dense[step]), slices], variables)
        results.append([np.asarray(value) for value in [*variables, *adam.variables]])
    close(results[1], results[0])
    close(results[2], results[0])
    assert results[0][2] == steps  # the optimizer's own count


def test_adam_whose_parts_have_moved_takes_kerass_own_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_layers, "KERAS_PARTS", ("_get_variable_index", "_moments_of_another_version"))
    numbers = np.random.default_rng(0)
    start, dense, rows = numbers.normal(size=(6, 3)), numbers.normal(size=(6, 3)), numbers.normal(size=(9, 3))
    results = []
    for kind in (keras.optimizers.Adam, FusedAdam, ScatteredAdam):
        variables = [keras.Variable(start, dtype="float64") for _ in range(2)]
        adam = kind(0.1)
        adam.build(variables)
        slices = tf.IndexedSlices(tf.constant(rows), tf.constant([0, 1, 1, 3, 4, 4, 0, 2, 2]), (6, 3))
        adam.apply([tf.constant(dense), slices], variables)
        results.append([np.asarray(value).tobytes() for value in [*variables, *adam.variables]])
    assert results[0] == results[1] == results[2]


SMALL = TrainParameters(
    maxlen=30, max_features=40, embedding_dims=22, filters=16, hidden_dims=8, batch_size=8, learning_rate=0.01
)
NUMBERS = np.random.default_rng(0)
IDS = keras.utils.pad_sequences([NUMBERS.integers(1, 40, size) for size in NUMBERS.integers(2, 40, 240)], maxlen=30)
LABELS = (IDS == 7).any(axis=1).astype(np.float32)


def train(
    fast: bool, epochs: int = 3, parameters: TrainParameters = SMALL, ids: np.ndarray = IDS, classes: int = 2
) -> tuple[networks.Network, dict[str, list[float]]]:
    keras.utils.set_random_seed(3)
    labels = LABELS if classes == 2 else ids[:, -1] % classes
    network = networks.build(parameters.model_copy(update={"fused": fast}), classes=classes)
    number = tf.Variable(0, dtype=tf.int64)
    history = network.trained.fit(
        make_training_batches(
            EncodedPart.from_padded(ids), labels, parameters.batch_size, parameters.kernel_size, 3, number
        ),
        epochs=epochs,
        validation_data=make_validation_batches(EncodedPart.from_padded(ids[:50]), labels[:50], parameters.kernel_size),
        verbose=0,
        callbacks=[EpochNumber(number)],
    )
    return network, history.history


def drop_likewise(
    drop: Callable[..., tf.Tensor], inputs: tf.Tensor, rate: float, noise_shape: Any, seed: keras.random.SeedGenerator
) -> tf.Tensor:
    """Drop of embeddings what the fused layer drops; elsewhere as Keras does."""
    if len(inputs.shape) != 3:
        return drop(inputs, rate, noise_shape, seed)
    return inputs * draw_masks(tf.shape(inputs), rate, tf.cast(seed.next(), tf.int32))


def draw_masks(shape: tf.Tensor, rate: float, seed: tf.Tensor) -> tf.Tensor:
    """Draw what the fused layer multiplies a batch with, in its parts."""
    dropped = min(round(rate * fused_layers.DRAWS), fused_layers.DRAWS - 1)
    shapes = [tf.concat([[end - start], shape[1:]], 0) for start, end in fused_layers._divide(shape[0])]
    masks = [
        fused_layers._draw_mask(one, dropped, seed + tf.constant([number, 0]), tf.float32)
        for number, one in enumerate(shapes)
    ]
    return tf.concat(masks, axis=0) / (1 - dropped / fused_layers.DRAWS)


LONG = SMALL.model_copy(update={"maxlen": 40})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("classes", "parameters", "layer", "adam"),
    [
        (2, SMALL, FusedConvolution, FusedAdam),
        (5, LONG, FusedConvolution, ScatteredAdam),
        (5, SMALL, ShortConvolution, ScatteredAdam),
    ],
)
def test_training_with_fused_layers_follows_the_plain_one(
    classes: int,
    parameters: TrainParameters,
    layer: type[keras.Layer],
    adam: type[FusedAdam],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Same initial weights, same order, same dropout: in float32 only the rounding differs."""
    if layer is FusedConvolution:
        monkeypatch.setattr(backend.random, "dropout", partial(drop_likewise, backend.random.dropout))
    ids = np.pad(IDS, ((0, 0), (parameters.maxlen - 30, 0)))
    (fast, ours), (plain, theirs) = (train(fast, 2, parameters, ids, classes) for fast in (True, False))
    assert type(fast.trained.optimizer) is adam
    assert type(plain.trained.optimizer) is keras.optimizers.Adam
    assert any(type(one) is layer for one in fast.trained.layers)
    assert not any(type(layer).__module__ == fused_layers.__name__ for layer in plain.trained.layers)
    assert theirs["loss"][-1] < theirs["loss"][0]
    for name, values in theirs.items():
        atol = 1.01 / len(ids) if "accuracy" in name else 0.0  # rounding may turn a row's answer
        np.testing.assert_allclose(ours[name], values, rtol=2e-3, atol=atol, err_msg=name)
    for our, their in zip(fast.plain.get_weights(), plain.plain.get_weights(), strict=True):
        np.testing.assert_allclose(our, their, atol=5e-3)


def test_a_step_is_traced_once_and_its_parts_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each trace more takes half a second of the first epoch."""
    traced, find_maxima = [], fused_layers.find_maxima
    monkeypatch.setattr(fused_layers, "find_maxima", lambda products: traced.append(1) or find_maxima(products))  # type: ignore[func-returns-value]
    part = EncodedPart.from_padded(IDS), LABELS
    trainee = networks.NetworkTrainee(networks.build(SMALL), SMALL, part, part)
    trainee.state()  # as a training takes it for its first snapshot
    trainee.fit([], 0, 2)
    assert len(traced) == 2  # of the training and of the validation


@pytest.mark.slow
@pytest.mark.parametrize(("embedding_dims", "kernel_size"), [(2, 1), (16, 1), (2, 3), (8, 3)])
def test_training_with_narrow_windows_follows_keras(embedding_dims: int, kernel_size: int) -> None:
    """Where equal windows share a maximum, Adam's second moment depends on which of them gets the gradient."""
    narrow = SMALL.model_copy(update={"embedding_dims": embedding_dims, "kernel_size": kernel_size, "filters": 64})
    repeated = np.where(IDS > 0, 1 + IDS % 4, 0)
    (fast, ours), (plain, theirs) = (train(fast, 1, narrow, repeated) for fast in (True, False))
    for our, their in zip(fast.plain.get_weights(), plain.plain.get_weights(), strict=True):
        np.testing.assert_allclose(our, their, atol=1e-6)
    assert ours["val_loss"] == pytest.approx(theirs["val_loss"], abs=1e-6)


@pytest.mark.parametrize(
    ("embedding_dims", "kernel_size", "fast"),
    [(50, 3, True), (64, 1, True), (32, 2, True), (63, 1, False), (21, 3, False)],
)
def test_build_uses_fused_layers_for_wide_windows_only(embedding_dims: int, kernel_size: int, fast: bool) -> None:
    network = networks.build(TrainParameters(embedding_dims=embedding_dims, kernel_size=kernel_size))
    assert network.fused == fast
    assert any(isinstance(layer, FusedConvolution) for layer in network.trained.layers) == fast
    assert (type(network.trained.optimizer) is FusedAdam) == fast
    assert ("below 64" in network.note) == (not fast)


def test_gradients_computed_repeatedly_have_the_same_bits() -> None:
    """At the article's size, where TensorFlow uses several threads, the order of summation must not vary."""
    numbers = np.random.default_rng(0)
    x, kernel, bias = (
        tf.constant(numbers.normal(size=shape), tf.float32) for shape in ((32, 400, 50), (3, 50, 250), (250,))
    )
    rows = tf.IndexedSlices(x[0], tf.constant(numbers.integers(0, 99, 400)), (5000, 50))

    @tf.function
    def gradients() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch((x, kernel, bias))
            y = fused_layers.convolve_and_pool(x, kernel, bias)
        return [y, *tape.gradient(y, (x, kernel, bias)), *fused_layers._sum_by_row(rows, 5000)]

    seen = {b"".join(gradient.numpy().tobytes() for gradient in gradients()) for _ in range(40)}
    assert len(seen) == 1
