"""Compute which windows of words made a prediction, exactly, from the network's weights in NumPy alone.

The max pool takes each filter's value from one window. Without a window, the filters that it held take their next
largest value, and the rest of the network is computed again: that difference is the window's effect.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imdb_conv1d.effects import Effects


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
    def shortest(self) -> int:
        """The least number of ids that it takes."""
        return self.kernel_size

    @property
    def outputs(self) -> int:
        """The number of logits."""
        return len(self.output_bias)

    @property
    def filters(self) -> int:
        """The number of filters."""
        return len(self.bias)


def compute_effects(weights: Weights, ids: np.ndarray) -> Effects:
    """Compute the prediction of a text and the effect of every window that alone holds some filter's maximum.

    Other windows have no effect: their values are below the maximum, or another window has the same one.

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
    held = takes.sum(axis=1)
    return Effects.of(
        _finish(weights, best[np.newaxis])[0],
        _finish(weights, np.where(takes, second, best)),
        first[holders],
        np.full(len(holders), weights.kernel_size),
        held=held,
        shares=held / weights.filters,
    )


def _convolve(weights: Weights, windows: np.ndarray) -> np.ndarray:
    """Compute the activations of windows of ids: int [windows, kernel_size] to [windows, filters]."""
    words = weights.embedding[windows].reshape(len(windows), -1)
    return np.maximum(words @ weights.kernel.reshape(-1, weights.filters) + weights.bias, 0.0)


def _finish(weights: Weights, pooled: np.ndarray) -> np.ndarray:
    """Compute logits of pooled values: [n, filters] to [n, outputs]."""
    hidden = np.maximum(pooled @ weights.hidden + weights.hidden_bias, 0.0)
    return hidden @ weights.output + weights.output_bias
