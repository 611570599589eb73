"""Measure how often the intervals of an evaluation's scores contain the truth, for a few classes and for many.

python bench/class_intervals.py

Rows are drawn from a made-up classifier whose confusions are known. Ten minutes.
"""

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

import epochs

sys.path.insert(0, str(epochs.SRC))

from imdb_conv1d import class_scores
from imdb_conv1d.labels import Classes
from imdb_conv1d.metrics import compute_loss_interval
from imdb_conv1d.outcomes import Outcomes

CLASSES, ROWS, ACCURACIES = (2, 12, 77), (200, 1000, 5000), (0.6, 0.88, 0.97)
# Sizes as 1, 1/2, 1/3 …; as these, and each text up to nine times; even ones, of which a fifth is hardly ever found.
KINDS = ("even", "uneven", "copied", "missed")
MISSED = 0.1  # recall of such classes
LOSSES = 0.1, 2.0  # means of exponential losses, of right and of wrong rows
BANDS = (1, 5, 20, 100)  # least distinct texts of a class


@dataclass(frozen=True)
class Design:
    """A population: the probability of each pair of a true and a predicted class."""

    classes: int
    kind: str
    accuracy: float

    def make(self) -> np.ndarray:
        rng, n = np.random.default_rng(0), self.classes
        sizes = np.ones(n) if self.kind in ("even", "missed") else 1 / np.arange(1, n + 1)
        right = np.clip(self.accuracy + rng.normal(0, min(0.08, (1 - self.accuracy) / 2), n), 0.05, 0.995)
        if self.kind == "missed":
            right[::5] = MISSED
        pairs = rng.exponential(size=(n, n)) ** 3  # a class is taken for a few others
        np.fill_diagonal(pairs, 0)
        pairs *= ((1 - right) / pairs.sum(axis=1))[:, None]
        np.fill_diagonal(pairs, right)
        return pairs * (sizes / sizes.sum())[:, None]

    def draw(self, rng: np.random.Generator, pairs: np.ndarray, rows: int) -> Outcomes:
        """Draw rows; copies of a text have the same class, prediction and loss."""
        n = len(pairs)
        drawn = rng.choice(pairs.size, rows, p=pairs.ravel())
        texts = np.arange(rows)
        if self.kind == "copied":
            texts = np.repeat(texts, np.minimum(rng.geometric(0.5, rows), 9))[:rows]
        true, predicted = np.divmod(drawn[texts], n)
        loss = np.where(true == predicted, *LOSSES) * rng.exponential(size=rows)[texts]
        names, p = Classes(tuple(map(str, range(n)))), np.full(rows, 0.5)
        return Outcomes(names, np.arange(n), true, predicted, p, loss, texts, texts, is_binary=n == 2)


def compute_truths(pairs: np.ndarray) -> dict[str, np.ndarray]:
    """Compute each class's precision, recall and F1 in the population."""
    hits, support, predicted = np.diag(pairs), pairs.sum(axis=1), pairs.sum(axis=0)
    return {"precision": hits / predicted, "recall": hits / support, "f1": 2 * hits / (support + predicted)}


def count_distinct(outcomes: Outcomes) -> dict[str, np.ndarray]:
    """Count the distinct texts that each class's precision, recall and F1 are shares of; copies are alike here."""
    first = np.unique(outcomes.texts, return_index=True)[1]
    true, predicted = outcomes.true[first], outcomes.predicted[first]
    sides = [np.bincount(side, minlength=len(outcomes.classes)) for side in (predicted, true, true[true == predicted])]
    return {"precision": sides[0], "recall": sides[1], "f1": sides[0] + sides[1] - sides[2]}


def coverage(
    classes: Sequence[int], sizes: Sequence[int], samples: int, accuracies: Sequence[float] = ACCURACIES
) -> Iterator[str]:
    """Yield the tables of coverage: of macro F1 and loss by design, and of a class's scores by its distinct texts."""
    rng, lines = np.random.default_rng(1), []
    cells: dict[tuple[str, int], list[np.ndarray]] = defaultdict(list)
    for design in [Design(n, kind, right) for n in classes for kind in KINDS for right in accuracies]:
        pairs = design.make()
        truths = compute_truths(pairs)
        wrong = 1 - np.diag(pairs).sum()
        line = [f"{design.classes} {design.kind}, accuracy {design.accuracy:g}"]
        for rows in sizes:
            macro, loss = [], []
            # Of each score and band, how many intervals of each class there were, and how many held.
            tally = np.zeros((len(truths), len(BANDS), 2, design.classes))
            for _ in range(samples):
                outcomes = design.draw(rng, pairs, rows)
                _, low, high = class_scores.compute_macro_f1(outcomes)
                macro.append((low, truths["f1"][np.unique(outcomes.true)].mean(), high))
                low, high = compute_loss_interval(outcomes)
                loss.append((low, (1 - wrong) * LOSSES[0] + wrong * LOSSES[1], high))
                table, distinct = class_scores.compute_class_table(outcomes), count_distinct(outcomes)
                for number, (name, truth) in enumerate(truths.items()):
                    low, high = table[f"{name}_low"].to_numpy(), table[f"{name}_high"].to_numpy()
                    given = np.flatnonzero(~np.isnan(low))
                    bands = np.searchsorted(BANDS, distinct[name][given], side="right") - 1
                    tally[number, bands, 0, given] += 1
                    tally[number, bands, 1, given] += ((low <= truth) & (truth <= high))[given]
            for (number, band), (given, held) in ((at, tally[at]) for at in np.ndindex(tally.shape[:2])):
                often = given >= samples / 5
                cells[list(truths)[number], band].append(held[often] / given[often])
            line.append(" / ".join(format_coverage(np.array(values)) for values in (macro, loss)))
        lines.append(line)
        print(line, flush=True)
    yield epochs.table(["coverage of macro F1 / loss", *(f"{n:,} rows" for n in sizes)], lines)
    of_bands = []
    for band, least in enumerate(BANDS):
        values = [np.concatenate(cells[name, band]) for name in truths]
        head = f"{least} or more" if least == BANDS[-1] else f"{least} to {BANDS[band + 1] - 1}"
        shares = [f"{one.mean():.3f} / {np.quantile(one, 0.01):.3f}" if one.size else "none" for one in values]
        of_bands.append([head, *shares])
    head = ["distinct texts: coverage on average / 1st percentile of the classes", "precision", "recall", "F1"]
    yield epochs.table(head, of_bands)


def format_coverage(intervals: np.ndarray) -> str:
    """Format the share of intervals (low, truth, high) that hold the truth, and how many samples have one."""
    given = intervals[~np.isnan(intervals[:, 0])]
    if len(given) <= len(intervals) / 50:
        return "none"
    low, truth, high = given.T
    covered = f"{np.mean((low <= truth) & (truth <= high)):.3f}"
    return covered if len(given) == len(intervals) else f"{covered} of {len(given) / len(intervals):.0%}"


def main() -> None:
    """Simulate, print and write bench/out/class_intervals.md."""
    epochs.write("class_intervals.md", "\n\n".join(coverage(CLASSES, ROWS, 200)))


if __name__ == "__main__":
    main()
