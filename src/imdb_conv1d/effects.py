"""What made a prediction: windows of words, or n-grams, each with its effect on the predicted class's logit."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Effects:
    """A prediction and the windows or n-grams that made it, the largest effect first.

    Args:
        logits: what the network gives: the log odds of code 1 [1], or a logit for each class [classes].
        predicted: the code of the predicted class.
        logit: of the predicted class; of two classes, its log odds.
        probability: of the predicted class.
        starts: the position of each one's first word in the ids, int [n].
        lengths: the number of each one's words, int [n].
        effects: ``logit`` less what it is without the window or n-gram, [n].
        probabilities: of the predicted class without it, [n].
        held: of windows, the number of filters whose maximum each alone holds, int [n].
        shares: the same as a share of all filters, [n].
        gates: of n-grams, their gates' mean over the members, [n].
        intercept: of n-grams, what their effects add to, to give the logit.
    """

    logits: np.ndarray
    predicted: int
    logit: float
    probability: float
    starts: np.ndarray
    lengths: np.ndarray
    effects: np.ndarray
    probabilities: np.ndarray
    held: np.ndarray | None = None
    shares: np.ndarray | None = None
    gates: np.ndarray | None = None
    intercept: float | None = None

    @classmethod
    def of(
        cls,
        logits: np.ndarray,
        without: np.ndarray,
        starts: np.ndarray,
        lengths: np.ndarray,
        held: np.ndarray | None = None,
        shares: np.ndarray | None = None,
        gates: np.ndarray | None = None,
        intercepts: np.ndarray | None = None,
    ) -> "Effects":
        """Compute effects from logits [outputs] and those without each window or n-gram [n, outputs]; rank them.

        Args:
            intercepts: of each output, [outputs].
        """
        predicted = int(logits[0] > 0) if len(logits) == 1 else int(logits.argmax())
        own, probability = _of_class(logits[np.newaxis], predicted)
        own_without, probabilities = _of_class(without, predicted)
        effects = own - own_without
        order = np.lexsort((lengths, starts, -np.abs(effects)))
        return cls(
            logits,
            predicted,
            float(own[0]),
            float(probability[0]),
            starts[order],
            lengths[order],
            effects[order],
            probabilities[order],
            _sort(held, order),
            _sort(shares, order),
            _sort(gates, order),
            None if intercepts is None else float(_of_class(intercepts[np.newaxis], predicted)[0][0]),
        )

    def add_up(self, maxlen: int) -> np.ndarray:
        """Add up what each position has a part in, float64 [maxlen].

        A window's effect counts for each of its words. An n-gram's is divided among its words, as its effects add up
        to the logit less the intercept: so do these sums.
        """
        sums = np.zeros(maxlen)
        for start, length, effect in zip(self.starts, self.lengths, self.effects, strict=True):
            sums[start : start + length] += effect if self.intercept is None else effect / length
        return sums


def _sort(values: np.ndarray | None, order: np.ndarray) -> np.ndarray | None:
    return None if values is None else values[order]


def _of_class(logits: np.ndarray, code: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute the logit and the probability of one class: [n, outputs] to [n] each."""
    if logits.shape[1] == 1:
        own = logits[:, 0] if code else -logits[:, 0]
        return own, np.exp(-np.logaddexp(0.0, -own))
    own = logits[:, code]
    return own, np.exp(own - np.logaddexp.reduce(logits, axis=1))
