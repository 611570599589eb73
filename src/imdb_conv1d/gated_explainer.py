"""Compute what each n-gram of a text adds to the gated network's logit, from the stored weights in NumPy alone.

A logit is b + a · Σ g[t, n] · k[n] · v[t, n] (``gated_network``), so an n-gram's effect is its own term, the mean over
the members. Given the gates and the length of the text's vector, effects add up to the logit less the intercept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from imdb_conv1d.effects import Effects
from imdb_conv1d.gated_network import NEAR, SCALE, WIDE
from imdb_conv1d.id_ngrams import NONE, number_ngrams
from imdb_conv1d.ids import EncodedPart

LAYERS = (1, 2, 2, 1, 2)  # arrays of a member: words, hidden layer, gates, k, and a with b


@dataclass(frozen=True, eq=False)
class Member:
    """The weights of a member, float64.

    Shapes: embedding [ids, dims], hidden [3 dims + longest + 2, units], hidden_bias [units], gates [units, longest],
    gates_bias [longest], lengths (k) [longest, 1], slope (a) [outputs, outputs], intercepts (b) [outputs].
    """

    embedding: np.ndarray
    hidden: np.ndarray
    hidden_bias: np.ndarray
    gates: np.ndarray
    gates_bias: np.ndarray
    lengths: np.ndarray
    slope: np.ndarray
    intercepts: np.ndarray

    def compute_gates(self, ids: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Compute the gates of a text: ids without padding, int [length], to [length, longest].

        Args:
            seen: what the gates see of the values, [length, longest].
        """
        words, length = self.embedding[ids], len(ids)
        number = np.arange(1, length + 1)
        place = np.stack([number / length, 1 / (1 + length - number)], axis=1)
        means = (_average(words, NEAR), _average(words, WIDE), _average(seen, NEAR) * SCALE)
        hidden = np.concatenate([words, *means, place], axis=1) @ self.hidden + self.hidden_bias
        return 2 * expit(np.maximum(hidden, 0) @ self.gates + self.gates_bias)


@dataclass(frozen=True, eq=False)
class GatedWeights:
    """All that the gated network's logits depend on.

    ``keys`` of the n-grams, int64 [n-grams]; their ``ratios`` [n-grams + 1] and ``weights`` [n-grams + 1, outputs] end
    with a row of zeros, as those of ``NgramLookup``.
    """

    members: tuple[Member, ...]
    keys: np.ndarray
    ratios: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(
        cls, arrays: Sequence[np.ndarray], keys: np.ndarray, ratios: np.ndarray, weights: np.ndarray
    ) -> "GatedWeights":
        """Make them of the network's arrays: layer after layer, in each of them member after member.

        Raises:
            ValueError: if their shapes are those of another network.
        """
        count, rest = divmod(len(arrays), sum(LAYERS))
        members, start = [list[np.ndarray]() for _ in range(count)], 0
        for size in LAYERS:
            for member in members:
                member += [np.asarray(array, dtype=np.float64) for array in arrays[start : start + size]]
                start += size
        outputs = weights.shape[-1]
        if not count or rest or not all(_is_member([one.shape for one in member], outputs) for member in members):
            raise ValueError(f"weights of the shapes {[np.shape(array) for array in arrays]} are of another network")
        return cls(tuple(Member(*member) for member in members), keys, ratios, weights)

    @property
    def shortest(self) -> int:
        """The least number of ids that it takes."""
        return 1

    @property
    def outputs(self) -> int:
        """The number of logits."""
        return self.weights.shape[1]


def compute_effects(weights: GatedWeights, ids: np.ndarray) -> Effects:
    """Compute the prediction of a text and the effect of every n-gram that the linear model knows.

    Args:
        ids: of the text as the network takes it, padded to its full length: int [maxlen].
    """
    (size, _), longest = weights.members[0].embedding.shape, len(weights.members[0].lengths)
    part = EncodedPart.from_padded(np.asarray(ids)[np.newaxis])  # zeros that pad change nothing
    numbers = number_ngrams(part, np.zeros(1, int), size, longest, weights.keys)  # NONE, -1, finds the row of zeros
    norm = np.sqrt(np.square(weights.ratios[numbers], dtype=np.float64).sum()) or 1.0
    values = weights.weights[numbers].astype(np.float64) / norm
    seen = values[..., 0] if weights.outputs == 1 else values.std(axis=-1)
    gates = [member.compute_gates(part.values, seen) for member in weights.members]
    terms = [
        (gate * member.lengths[:, 0])[..., np.newaxis] * (values @ member.slope)
        for gate, member in zip(gates, weights.members, strict=True)
    ]
    effects = np.mean(terms, axis=0)  # [length, longest, outputs]
    intercepts = np.mean([member.intercepts for member in weights.members], axis=0)
    logits = intercepts + effects.sum(axis=(0, 1))
    places, shorter = np.nonzero(numbers > NONE)
    return Effects.of(
        logits,
        logits - effects[places, shorter],
        len(ids) - len(part.values) + places,
        shorter + 1,
        gates=np.mean(gates, axis=0)[places, shorter],
        intercepts=intercepts,
    )


def _is_member(shapes: list[tuple[int, ...]], outputs: int) -> bool:
    if [len(shape) for shape in shapes] != [2, 2, 1, 2, 1, 2, 2, 1]:
        return False
    (_, dims), (_, units), _, (_, longest), *_ = shapes
    inner = [(3 * dims + longest + 2, units), (units,), (units, longest), (longest,), (longest, 1)]
    return shapes[1:] == [*inner, (outputs, outputs), (outputs,)]


def _average(inputs: np.ndarray, reach: int) -> np.ndarray:
    """Average over ``reach`` positions on each side, zeros beyond the ends: [length, n] to [length, n]."""
    padded = np.pad(inputs, ((reach, reach), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0).mean(axis=-1)
