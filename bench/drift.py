"""Measure how often drift is cried that there is not, how often intervals miss, and which shifts are found.

python bench/drift.py

Rows are drawn from made-up populations whose differences are known: the same, apart by exactly the margin, or by more.
The intervals of one share's difference stand beside Newcombe's own. Ten minutes. bench/review_drift.py has real rows.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

import epochs

sys.path.insert(0, str(epochs.SRC))

from tracked.analysis import drift
from tracked.analysis.intervals import bound_difference
from tracked.analysis.observations import CLASSES, UP_TO

REFERENCES, SIZES = (150, 4000), (50, 200, 1000, 10_000, 1_000_000)
EXACT = 10**9  # rows of a table whose shares are the population's
EDGES = tuple(float(round(2 ** (step / 2))) for step in range(3, 23))  # 3 to 2,048 words


@dataclass(frozen=True)
class Population:
    """The probabilities of the intervals or classes of each thing looked at."""

    things: dict[str, np.ndarray]

    def draw(self, rng: np.random.Generator, rows: int) -> dict[str, Any]:
        drawn = {name: rng.multinomial(rows, shares / shares.sum()) for name, shares in self.things.items()}
        return {name: name_counts(name, counts) for name, counts in drawn.items()}


def name_counts(name: str, counts: np.ndarray) -> dict[str, dict[str, int]]:
    last = len(counts) - 1
    if name.startswith("class"):
        return {CLASSES: {f"{place:03}": int(count) for place, count in enumerate(counts)}}
    return {UP_TO: {str(place) if place < last else "inf": int(count) for place, count in enumerate(counts)}}


def lengths(median: float = 174, spread: float = 0.7) -> np.ndarray:
    ends = norm.cdf(np.log(np.array(EDGES) / median) / spread)
    return np.diff(np.concatenate([[0.0], ends, [1.0]]))


def by_points(shares: np.ndarray, points: float) -> np.ndarray:
    """Move rows from all intervals or classes to the last one."""
    moved = shares / shares.sum()
    moved[:-1] *= 1 - points / moved[:-1].sum()
    moved[-1] += points
    return moved


UNKNOWN = np.array([0.3, 0.2, 0.15, 0.1, 0.1, 0.08, 0.04, 0.02, 0.009, 0.001])
MANY = 1.0 / np.arange(1, 78)
PLAIN = {
    "words": lengths(),
    "unknown": UNKNOWN,
    "classes": np.array([0.5, 0.5]),
    "probability": np.array([0.3, 0.1, 0.05, 0.03, 0.02, 0.02, 0.03, 0.05, 0.1, 0.3]),
}
POPULATIONS = {
    "reviews, two labels": PLAIN,
    "77 labels, uneven": PLAIN | {"classes": MANY / MANY.sum()},
    "rare everywhere": {"words": np.array([0.999, 0.0007, 0.0003]), "classes": np.array([0.998, 0.001, 0.001])},
}


def truth(before: Population, after: Population) -> np.ndarray:
    """Compute the true differences of all events, in the order in which they are compared."""
    first, second = (
        {name: name_counts(name, np.round(shares / shares.sum() * EXACT)) for name, shares in population.things.items()}
        for population in (before, after)
    )
    return np.array([shift.after - shift.before for shift in drift.compare(first, second).shifts])


def simulate(before: Population, after: Population, reference: int, rows: int, samples: int, seed: int) -> np.ndarray:
    """Simulate: whether drift is said, whether likeness is, and whether any interval misses, [samples, 3]."""
    rng, true = np.random.default_rng(seed), truth(before, after)
    found = np.zeros((samples, 3), bool)
    for sample in range(samples):
        seen = drift.compare(before.draw(rng, reference), after.draw(rng, rows))
        ends = np.array([(shift.low, shift.high) for shift in seen.shifts])
        missed = (true < ends[:, 0] - 1e-8) | (true > ends[:, 1] + 1e-8)
        found[sample] = seen.verdict == "drift", seen.verdict == "alike", missed.any()
    return found


def tables(samples: int) -> Iterator[str]:
    """Yield a table for each difference: said to drift / said to be alike / some interval misses."""
    for points in (0.0, drift.MARGIN, 0.1, 0.15, 0.25):
        lines = []
        for name, things in POPULATIONS.items():
            moved = things | {"words": by_points(things["words"], points)}
            if name.startswith("rare"):
                moved = {part: by_points(shares, points) for part, shares in things.items()}
            for reference in REFERENCES:
                cells = []
                for rows in SIZES:
                    found = simulate(Population(things), Population(moved), reference, rows, samples, rows + reference)
                    cells.append(" / ".join(f"{share:.3f}" for share in found.mean(axis=0)))
                lines.append([f"{name}; {reference:,} of training", *cells])
                print(points, lines[-1], flush=True)
        title = f"Apart by {100 * points:g} points: drift / alike / an interval misses ({samples} samples)"
        yield f"{title}\n\n" + epochs.table(["", *(f"{rows:,} rows" for rows in SIZES)], lines)


def bound_by_newcombe(hits: list[np.ndarray], rows: tuple[int, int], error: float) -> tuple[np.ndarray, np.ndarray]:
    """Compute Newcombe's intervals (1998, method 10), with Wilson's ends."""
    z, ends = norm.ppf(1 - error / 2), []
    for count, n in zip(hits, rows, strict=True):
        share = count / n
        middle, half = share + z**2 / 2 / n, z * np.sqrt(share * (1 - share) / n + z**2 / 4 / n**2)
        ends.append((share, (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)))
    (first, low1, high1), (second, low2, high2) = ends
    difference = second - first
    return difference - np.hypot(second - low2, high1 - first), difference + np.hypot(high2 - second, first - low1)


def single(samples: int) -> str:
    """Make the table of how often one interval misses, as a multiple of what is said."""
    rng, lines = np.random.default_rng(0), []
    for shares in ((0.5, 0.5), (0.001, 0.03), (0.001, 0.0), (0.001, 0.001), (0.02, 0.05), (0.3, 0.9)):
        for rows in ((150, 40), (4000, 200), (4000, 100_000)):
            hits = [rng.binomial(n, share, samples) for n, share in zip(rows, shares, strict=True)]
            true, cells = shares[1] - shares[0], []
            for error in (0.05, 0.001):
                newcombe = bound_by_newcombe(hits, rows, error)
                own = bound_difference(hits[0], rows[0], hits[1], rows[1], error)
                missed = [
                    np.mean((low > true + 1e-12) | (high < true - 1e-12)) / error for low, high in (newcombe, own)
                ]
                cells.append(" / ".join(f"{share:.2f}" for share in missed))
            lines.append([f"{shares[0]} -> {shares[1]}, {rows[0]:,} and {rows[1]:,} rows", *cells])
    head = ["misses beside those said: Newcombe / here", "5 %", "0.1 %"]
    return epochs.table(head, lines)


def main() -> None:
    """Simulate, print and write bench/out/drift.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1000)
    options = parser.parse_args()
    epochs.write("drift.md", "\n\n".join([*tables(options.samples), single(400 * options.samples)]))


if __name__ == "__main__":
    main()
