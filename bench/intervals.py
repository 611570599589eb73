"""Measure how often intervals contain the mean, and how often verdicts on two equal classifiers are wrong.

python bench/intervals.py

Before: the percentile bootstrap of any two values or more, and each figure of a pair tested at one in twenty. After:
``intervals.compute_interval`` and ``paired.compare_losses``. Five minutes.
"""

import re
import sys
from collections.abc import Callable, Iterator

import numpy as np
from scipy.stats import binomtest

import epochs

sys.path.insert(0, str(epochs.SRC))

from imdb_conv1d.experiment import TERMS
from imdb_conv1d.metrics import compute_log_losses
from tracked.analysis.intervals import compute_interval
from tracked.analysis.paired import compare_losses

SIZES, BOOTSTRAP = (2, 3, 5, 8, 15, 50, 120, 200, 1000, 5000), 1000
Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


def mixed(share: float, often: Draw, seldom: Draw) -> Draw:
    return lambda rng, size: np.where(rng.random(size) < share, seldom(rng, size), often(rng, size))


def _nothing(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    return np.zeros(size)


def _normal(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    return rng.normal(size=size)


def _lognormal(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    return rng.lognormal(size=size)


def _exponential(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    return rng.exponential(size=size)


def _far(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    return rng.normal(10, 1, size)


def hits(discordant: float) -> Draw:
    share = [0.3 * discordant, 1 - discordant, 0.7 * discordant]
    return lambda rng, size: rng.choice([-1.0, 0.0, 1.0], size, p=share)


POPULATIONS: dict[str, tuple[Draw, float]] = {
    "normal": (_normal, 0.0),
    "exponential": (_exponential, 1.0),
    "lognormal": (_lognormal, np.exp(0.5)),
    "gamma, shape 0.5": (lambda rng, size: rng.gamma(0.5, size=size), 0.5),
    "t, 3 degrees": (lambda rng, size: rng.standard_t(3, size), 0.0),
    "epochs of a stop": (lambda rng, size: 5.0 + rng.choice([0, 1, 9], size, p=[0.6, 0.3, 0.1]), 6.2),
    "10 % exponential, else 0": (mixed(0.1, _nothing, _exponential), 0.1),
    "20 % lognormal, else 0": (mixed(0.2, _nothing, _lognormal), 0.2 * np.exp(0.5)),
    "50 % lognormal, else 0": (mixed(0.5, _nothing, _lognormal), 0.5 * np.exp(0.5)),
    "hits, 2 % apart": (hits(0.02), 0.008),
    "hits, 20 % apart": (hits(0.2), 0.08),
    "normal, and 5 % at 10": (mixed(0.05, _normal, _far), 0.5),
    "normal, and 2 % at 10": (mixed(0.02, _normal, _far), 0.2),
    "normal, and 1 % at 10": (mixed(0.01, _normal, _far), 0.1),
}


def percentile(x: np.ndarray) -> np.ndarray:
    """Compute the intervals [2, samples] of the columns of x [n, samples] by a percentile bootstrap."""
    rng, n = np.random.default_rng(0), len(x)
    counts = np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(BOOTSTRAP)])
    return np.quantile(counts / n @ x, [0.025, 0.975], axis=0)


def coverage(sizes: tuple[int, ...], samples: int) -> Iterator[str]:
    """Yield the table of coverage, share of intervals given, and mean width."""
    rng, rows = np.random.default_rng(1), []
    for name, (draw, mean) in POPULATIONS.items():
        line = []
        for n in sizes:
            x = draw(rng, (n, samples))
            old, new = percentile(x), np.array([compute_interval(column) for column in x.T]).T
            given = ~np.isnan(new[0])
            cells = []
            for low, high in (old, new[:, given]):
                covered = np.mean((low <= mean) & (mean <= high)) if len(low) else np.nan
                cells.append(f"{covered:.3f} ({np.mean(high - low):.2g})" if len(low) > samples / 50 else "none")
            line.append(f"{cells[0]} / {cells[1]}" + ("" if given.mean() in (0, 1) else f" of {given.mean():.0%}"))
        rows.append([name, *line])
        print(rows[-1], flush=True)
    yield epochs.table(["coverage (mean width), before / after", *(f"{n:,} values" for n in sizes)], rows)


def equal(rng: np.random.Generator, rows: int, spread: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw labels and the probabilities of two equally good classifiers."""
    labels, shared = rng.integers(0, 2, rows), rng.normal(1.5, 1.5, rows)
    logits = [(2 * labels - 1) * (shared + rng.normal(0, spread, rows)) for _ in range(2)]
    return labels, *(1 / (1 + np.exp(-logit)) for logit in logits)


def verdicts(sizes: tuple[int, ...], samples: int) -> Iterator[str]:
    """Yield the table of how often a verdict prefers one of two equal classifiers."""
    rng, rows = np.random.default_rng(2), []
    for spread in (0.3, 0.8, 2.0):
        line = []
        for n in sizes:
            pairs = [equal(rng, n, spread) for _ in range(samples)]
            losses, tested, verdicts = [], [], []
            for y, *probabilities in pairs:
                a, b = (compute_log_losses(y, p) for p in probabilities)
                first, second = ((p > 0.5) == (y == 1) for p in probabilities)
                alone, apart = int((first & ~second).sum()), int((first ^ second).sum())
                losses.append(a - b)
                tested.append(bool(apart) and binomtest(alone, apart).pvalue < 0.05)
                sentence = compare_losses(a, b, correct=(first, second)).describe("a", "b", TERMS)
                verdicts.append(bool(re.search("(is|are) significant", sentence)))
            low, high = percentile(np.stack(losses, axis=1))
            old = np.mean((low > 0) | (high < 0) | np.array(tested))
            line.append(f"{old:.3f} / {np.mean(verdicts):.3f}")
        rows.append([f"logits apart by {spread:g}", *line])
        print(rows[-1], flush=True)
    yield epochs.table(["of equal classifiers wrong, before / after", *(f"{n:,} rows" for n in sizes)], rows)


def main() -> None:
    """Simulate, print and write bench/out/intervals.md."""
    texts = [*coverage(SIZES, 2000), *verdicts((2, 10, 50, 200, 1000, 5000), 1000)]
    epochs.write("intervals.md", "\n\n".join(texts))


if __name__ == "__main__":
    main()
