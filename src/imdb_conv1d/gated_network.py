"""A network that weighs what each n-gram of a text says by what stands around it.

A linear model of n-grams (``ngram_model``) gives a value v[t, n] for the n-gram of n words that begins at position t; a
text's logit is their sum. Here each position has a gate g[t] from 0 to 2, computed from the words and the values around
it and from its place in the text:

    logit = a · Σ over t of g[t] · Σ over n of k[n] · v[t, n] + b.

With all gates at 1 this is the linear model, with which training begins. Of more than two classes, an n-gram has a
value for each, and a position has one gate.
"""

import keras
import numpy as np

from imdb_conv1d.ngram_model import NgramModel
from imdb_conv1d.parameters import TrainParameters
from imdb_conv1d.tokenizer import PADDING

NEAR, WIDE = 3, 15  # positions on each side that a mean spans
SCALE = 30.0  # of values, whose mean is about a hundredth


def build(parameters: TrainParameters, model: NgramModel) -> keras.Model:
    """Build the network, without compiling it.

    Returns:
        a model from ids, int32 [batch, length], padded in front, and values, float32 [batch, length, longest] or
        [batch, length, longest, classes], to the probability of code 1, [batch, 1], or of each class.
    """
    layers, ops, outputs, longest = keras.layers, keras.ops, model.outputs, parameters.ngrams
    ids = keras.Input((None,), dtype="int32", name="ids")
    shape = (None, longest) if outputs == 1 else (None, longest, outputs)
    values = keras.Input(shape, dtype="float32", name="values")
    is_text = ops.expand_dims(ops.cast(ids != PADDING, "float32"), -1)
    words = layers.Embedding(parameters.max_features, parameters.embedding_dims)(ids)
    words = layers.Dropout(parameters.dropout)(words)
    words = layers.Dropout(parameters.word_dropout, noise_shape=(None, None, 1))(words) * is_text
    # Of many classes, the gate sees how far the values of a position differ between them.
    seen = values if outputs == 1 else ops.std(values, axis=-1)
    context = [words, _average(words, NEAR), _average(words, WIDE), _average(seen, NEAR) * SCALE, _locate(is_text)]
    hidden = layers.Dense(parameters.hidden_dims, activation="relu")(layers.Concatenate()(context))
    hidden = layers.Dropout(parameters.dropout)(hidden)
    gates = 2.0 * layers.Dense(1, activation="sigmoid", name="gates")(hidden)
    of_position = _weigh_lengths(values, longest, outputs)
    logits = layers.Dense(outputs, name="logits")
    answer = logits(ops.sum(gates * of_position, axis=1))
    logits.set_weights([np.eye(outputs, dtype=np.float32), model.intercepts[0]])
    last = layers.Activation("sigmoid" if outputs == 1 else "softmax")
    return keras.Model([ids, values], last(answer), name="gated_ngrams")


def _average(inputs: keras.KerasTensor, reach: int) -> keras.KerasTensor:
    """Average over ``reach`` positions on each side, zeros beyond the ends: padding changes nothing."""
    padded = keras.layers.ZeroPadding1D(reach)(inputs)
    return keras.layers.AveragePooling1D(2 * reach + 1, strides=1)(padded)


def _locate(is_text: keras.KerasTensor) -> keras.KerasTensor:
    """Compute each position's place in its text, as a share, and the inverse of its distance from the end."""
    ops = keras.ops
    number, length = ops.cumsum(is_text, axis=1), ops.sum(is_text, axis=1, keepdims=True)
    return ops.concatenate([number / ops.maximum(length, 1.0), 1.0 / (1.0 + length - number)], axis=-1)


def _weigh_lengths(values: keras.KerasTensor, longest: int, outputs: int) -> keras.KerasTensor:
    """Sum the values of a position's n-grams, each length with its own weight: [batch, length, outputs]."""
    weigh = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", name="lengths")
    if outputs == 1:
        return weigh(values)
    return keras.ops.squeeze(weigh(keras.layers.Permute((1, 3, 2))(values)), -1)
