"""Whether a version may take the champion's place: a test that it is not worse by more than a margin."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from imdb_conv1d.paired import log_losses
from imdb_conv1d.resampling import means_of_samples


@dataclass(frozen=True)
class Decision:
    """``promoted`` if ``upper``, the bound of the difference in log loss at ``confidence``, is within the margin.

    ``difference`` is the mean log loss of the version less the champion's, in nats a review, on ``rows`` reviews.
    """

    promoted: bool
    rows: int
    difference: float
    upper: float
    margin: float
    confidence: float

    @property
    def sentence(self) -> str:
        """The figures that decided."""
        where = "within" if self.promoted else "beyond"
        return (
            f"its log loss differs by {self.difference:+.4f} on {self.rows:,} reviews, at {100 * self.confidence:g}% "
            f"confidence by at most {self.upper:+.4f}, which is {where} the margin of {self.margin:g}"
        )


def decide(labels: ArrayLike, version: ArrayLike, champion: ArrayLike, margin: float, confidence: float) -> Decision:
    """Test for non-inferiority by a paired bootstrap: one-sided, on the percentiles of the mean difference.

    Args:
        labels: 0 or 1, [n], n of at least 2.
        version: probabilities of 1, [n]; ``champion`` likewise, in the same order.
        margin: in nats a review.
        confidence: from 0.5 to 0.99.
    """
    differences = log_losses(labels, version) - log_losses(labels, champion)
    upper = float(np.percentile(means_of_samples(differences), 100 * confidence))
    return Decision(upper <= margin, len(differences), float(differences.mean()), upper, margin, confidence)
