"""A network that weighs what each n-gram of a text says by what stands around it.

A linear model of n-grams (``ngram_model``) gives a value v[t, n] for the n-gram of n words that begins at position t; a
text's logit is their sum. Here each has a gate g[t, n] from 0 to 2, computed from the words and the values around it
and from its place in the text:

    logit = a · Σ over t and n of g[t, n] · k[n] · v[t, n] + b.

With all gates at 1 this is the linear model, with which training begins. Of more than two classes, an n-gram has a
value for each, and one gate. Several members have words, gates, k, a and b of their own; the answer's logit is the mean
of theirs, while each is trained by its own loss.
"""

import keras
import numpy as np

from imdb_conv1d.ngram_model import NgramModel
from imdb_conv1d.parameters import TrainParameters
from imdb_conv1d.tokenizer import PADDING

NEAR, WIDE = 3, 7  # positions on each side that a mean spans
SCALE = 30.0  # of values, whose mean is about a hundredth


def build(parameters: TrainParameters, model: NgramModel) -> tuple[keras.Model, keras.Model]:
    """Build two networks of the same layers, without compiling them: the one to store, and the one to train.

    Both map ids, int32 [batch, length], padded in front, and values, float32 [batch, length, longest] or, of more than
    two classes, [batch, length, longest, classes], to probabilities: of code 1, [batch, 1], or of each class. In
    training, the second one gives those of each member: [batch, members] or [batch, members, classes].
    """
    ids = keras.Input((None,), dtype="int32", name="ids")
    shape = (None, parameters.ngrams) if model.outputs == 1 else (None, parameters.ngrams, model.outputs)
    values = keras.Input(shape, dtype="float32", name="values")
    members = [_build_member(parameters, model, ids, values) for _ in range(parameters.members)]
    last = keras.layers.Activation("sigmoid" if model.outputs == 1 else "softmax")
    mean = keras.layers.Average()(members) if len(members) > 1 else members[0]
    stored = keras.Model([ids, values], last(mean), name="gated_ngrams")
    if len(members) == 1:
        return stored, keras.Model(stored.inputs, stored.outputs)
    chosen = MeanOutsideTraining()(keras.ops.stack(members, axis=1))
    return stored, keras.Model([ids, values], keras.layers.Activation(last.activation)(chosen))


class MeanOutsideTraining(keras.layers.Layer):
    """Give the logits of each member in training, and their mean otherwise: [batch, members, outputs].

    One output's axis is left out: [batch, members] in training, [batch, 1] otherwise.
    """

    def call(self, logits: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Choose."""
        if logits.shape[-1] == 1:
            logits = keras.ops.squeeze(logits, -1)
        return logits if training else keras.ops.mean(logits, axis=1, keepdims=logits.ndim == 2)


def _build_member(
    parameters: TrainParameters, model: NgramModel, ids: keras.KerasTensor, values: keras.KerasTensor
) -> keras.KerasTensor:
    """Build the layers of one member: [batch, outputs]."""
    layers, ops, outputs = keras.layers, keras.ops, model.outputs
    is_text = ops.expand_dims(ops.cast(ids != PADDING, "float32"), -1)
    words = layers.Embedding(parameters.max_features, parameters.embedding_dims)(ids)
    words = layers.Dropout(parameters.dropout)(words)
    words = layers.Dropout(parameters.word_dropout, noise_shape=(None, None, 1))(words) * is_text
    # Of many classes, the gates see how far the values of a position differ between them.
    seen = values if outputs == 1 else ops.std(values, axis=-1)
    context = [words, _average(words, NEAR), _average(words, WIDE), _average(seen, NEAR) * SCALE, _locate(is_text)]
    hidden = layers.Dense(parameters.hidden_dims, activation="relu")(layers.Concatenate()(context))
    hidden = layers.Dropout(parameters.dropout)(hidden)
    gates = 2.0 * layers.Dense(parameters.ngrams, activation="sigmoid")(hidden)
    weigh = layers.Dense(1, use_bias=False, kernel_initializer="ones")  # k
    if outputs == 1:
        sums = ops.sum(weigh(gates * values), axis=1)
    else:
        gated = ops.einsum("bln,blnc->bcn", gates, values)
        sums = ops.squeeze(weigh(gated), -1)
    logits = layers.Dense(outputs)
    answer = logits(sums)
    logits.set_weights([np.eye(outputs, dtype=np.float32), model.intercepts[0]])
    return answer


def _average(inputs: keras.KerasTensor, reach: int) -> keras.KerasTensor:
    """Average over ``reach`` positions on each side, zeros beyond the ends: padding changes nothing."""
    padded = keras.layers.ZeroPadding1D(reach)(inputs)
    return keras.layers.AveragePooling1D(2 * reach + 1, strides=1)(padded)


def _locate(is_text: keras.KerasTensor) -> keras.KerasTensor:
    """Compute each position's place in its text, as a share, and the inverse of its distance from the end."""
    ops = keras.ops
    number, length = ops.cumsum(is_text, axis=1), ops.sum(is_text, axis=1, keepdims=True)
    return ops.concatenate([number / ops.maximum(length, 1.0), 1.0 / (1.0 + length - number)], axis=-1)


def compute_binary_loss(labels: keras.KerasTensor, probabilities: keras.KerasTensor) -> keras.KerasTensor:
    """Compute the mean cross-entropy of members: labels [batch], probabilities [batch, members or 1] to [batch]."""
    losses = keras.ops.binary_crossentropy(_repeat(labels, probabilities), probabilities)
    return keras.ops.mean(losses, axis=-1)


def compute_class_loss(labels: keras.KerasTensor, probabilities: keras.KerasTensor) -> keras.KerasTensor:
    """Compute the same of codes [batch], and probabilities [batch, members, classes] or [batch, classes]."""
    ops = keras.ops
    if probabilities.ndim == 2:
        return ops.sparse_categorical_crossentropy(labels, probabilities)
    return ops.mean(ops.sparse_categorical_crossentropy(_repeat(labels, probabilities), probabilities), axis=-1)


def compute_binary_accuracy(labels: keras.KerasTensor, probabilities: keras.KerasTensor) -> keras.KerasTensor:
    """Compute the share of right members of each row, [batch]."""
    ops = keras.ops
    is_right = ops.equal(_repeat(labels, probabilities) > 0.5, probabilities > 0.5)
    return ops.mean(ops.cast(is_right, "float32"), axis=-1)


def compute_class_accuracy(labels: keras.KerasTensor, probabilities: keras.KerasTensor) -> keras.KerasTensor:
    """Compute the same of codes."""
    ops = keras.ops
    chosen = ops.argmax(probabilities, axis=-1)
    if probabilities.ndim == 2:
        chosen = ops.expand_dims(chosen, -1)
    is_right = ops.equal(ops.cast(_repeat(labels, chosen), chosen.dtype), chosen)
    return ops.mean(ops.cast(is_right, "float32"), axis=-1)


def _repeat(labels: keras.KerasTensor, like: keras.KerasTensor) -> keras.KerasTensor:
    """Repeat each row's label for each member: [batch, members]."""
    ops = keras.ops
    labels = ops.reshape(labels, (-1, 1))
    return ops.broadcast_to(labels, (ops.shape(like)[0], ops.shape(like)[1]))
