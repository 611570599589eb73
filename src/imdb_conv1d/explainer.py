"""Compute which windows of words made a prediction, exactly, from the network's weights in NumPy alone.

The max pool takes each filter's value from one window. Without a window, the filters that it held take their next
largest value, and the rest of the network is computed again: that difference is the window's effect.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights of the network in the order of its layers, float64.

    Shapes: embedding [ids, dims], kernel [kernel_size, dims, filters], bias [filters], hidden [filters, units],
    hidden_bias [units], output [units, outputs], output_bias [outputs]; of two classes there is one output.
    """

    embedding: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray
    hidden: np.ndarray
    hidden_bias: np.ndarray
    output: np.ndarray
    output_bias: np.ndarray

    @classmethod
    def of(cls, arrays: Sequence[np.ndarray]) -> "Weights":
        """Make them of a list of arrays.

        Raises:
            ValueError: if their shapes are those of another network.
        """
        shapes = [np.shape(array) for array in arrays]
        if [len(shape) for shape in shapes] != [2, 3, 1, 2, 1, 2, 1]:
            raise ValueError(f"weights of the shapes {shapes} are of another network")
        (_, dims), (_, depth, filters), bias, (pooled, units), units_bias, (inner, outputs), last = shapes
        if (depth, bias, pooled, units_bias, inner, last) != (dims, (filters,), filters, (units,), units, (outputs,)):
            raise ValueError(f"weights of the shapes {shapes} are of another network")
        return cls(*(np.asarray(array, dtype=np.float64) for array in arrays))

    @property
    def kernel_size(self) -> int:
        """The number of words in a window."""
        return len(self.kernel)

    @property
    def filters(self) -> int:
        """The number of filters."""
        return len(self.bias)


@dataclass(frozen=True, eq=False)
class Effects:
    """A prediction and the windows that made it: all that alone hold some filter's maximum, the largest effect first.

    Other windows have no effect: their values are below the maximum, or another window has the same one.

    Args:
        logits: what the network gives: the log odds of code 1 [1], or a logit for each class [classes].
        predicted: the code of the predicted class.
        logit: of the predicted class; of two classes, its log odds.
        probability: of the predicted class.
        starts: the position of each window's first word in the ids, int [windows].
        effects: ``logit`` less what it is without the window, [windows].
        held: the number of filters whose maximum the window alone holds, [windows].
        probabilities: of the predicted class without the window, [windows].
    """

    logits: np.ndarray
    predicted: int
    logit: float
    probability: float
    starts: np.ndarray
    effects: np.ndarray
    held: np.ndarray
    probabilities: np.ndarray


def compute_effects(weights: Weights, ids: np.ndarray) -> Effects:
    """Compute the prediction of a text and the effect of every window that has one.

    Args:
        ids: of the text as the network takes it, padded to its full length: int [maxlen].
    """
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(ids), weights.kernel_size)
    # Equal windows once, so that their values are equal to the last bit wherever they stand.
    distinct, first, counts = np.unique(windows, axis=0, return_index=True, return_counts=True)
    values = _convolve(weights, distinct)
    best, holder = values.max(axis=0), values.argmax(axis=0)
    others = values.copy()
    others[holder, np.arange(weights.filters)] = 0.0  # a filter without windows: the least that a ReLU gives
    second = np.where(counts[holder] > 1, best, others.max(axis=0))
    is_held = best > second
    holders = np.unique(holder[is_held])
    takes = is_held & (holder == holders[:, np.newaxis])  # [windows, filters]
    logits = _finish(weights, best[np.newaxis])[0]
    predicted = int(logits[0] > 0) if len(logits) == 1 else int(logits.argmax())
    without = _finish(weights, np.where(takes, second, best))
    logit, probability = (float(values[0]) for values in _of_class(logits[np.newaxis], predicted))
    logits_without, probabilities = _of_class(without, predicted)
    effects, starts = logit - logits_without, first[holders]
    order = np.lexsort((starts, -np.abs(effects)))
    return Effects(
        logits, predicted, logit, probability,
        starts[order], effects[order], takes.sum(axis=1)[order], probabilities[order],
    )  # fmt: skip


def _convolve(weights: Weights, windows: np.ndarray) -> np.ndarray:
    """Compute the activations of windows of ids: int [windows, kernel_size] to [windows, filters]."""
    words = weights.embedding[windows].reshape(len(windows), -1)
    return np.maximum(words @ weights.kernel.reshape(-1, weights.filters) + weights.bias, 0.0)


def _finish(weights: Weights, pooled: np.ndarray) -> np.ndarray:
    """Compute logits of pooled values: [n, filters] to [n, outputs]."""
    hidden = np.maximum(pooled @ weights.hidden + weights.hidden_bias, 0.0)
    return hidden @ weights.output + weights.output_bias


def _of_class(logits: np.ndarray, code: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute the logit and the probability of one class: [n, outputs] to [n] each."""
    if logits.shape[1] == 1:
        own = logits[:, 0] if code else -logits[:, 0]
        return own, np.exp(-np.logaddexp(0.0, -own))
    own = logits[:, code]
    return own, np.exp(own - np.logaddexp.reduce(logits, axis=1))
