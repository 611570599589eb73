"""Measure how often the promotion gate passes a version that is worse by the margin, and an equal version.

python bench/gate.py
python bench/gate.py --store=sqlite:///mlflow.db

Before: the percentile bootstrap of the differences, row by row. After: ``noninferiority.decide``, beside other bounds
of the same capped losses. With a store, rows are drawn from the predictions of its evaluations, pair by pair. Four
minutes.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from itertools import combinations, product
from pathlib import Path

import numpy as np
from scipy.optimize import brentq
from scipy.stats import t as student

import epochs

sys.path.insert(0, str(epochs.SRC))

from imdb_conv1d.experiment import MAX_NATS
from imdb_conv1d.metrics import compute_log_losses
from tracked.analysis.noninferiority import decide

ROWS, MARGINS, CONFIDENCES = (50, 200, 1000, 5000), (0.005, 0.02, 0.05, 0.2), (0.5, 0.8, 0.9, 0.95, 0.99)
POOL, BOOTSTRAP = 400_000, 1000
Pair = tuple[np.ndarray, np.ndarray]  # losses of the version and of the champion, row by row


def logits(rng: np.random.Generator, size: int) -> Pair:
    """Losses of two models as of trainings with two seeds: mostly shared, differences scatter by 0.4."""
    shared = rng.normal(2.2, 2.2, size)
    return tuple(np.logaddexp(0, -shared - rng.normal(0, 0.8, size)) for _ in range(2))


def sure(rng: np.random.Generator, size: int) -> Pair:
    margin = rng.normal(2, 1.5, size)
    return np.logaddexp(0, -4 * margin), np.logaddexp(0, -margin)


def rarely(share: float, loss: float) -> Callable[[np.random.Generator, int], Pair]:
    def draw(rng: np.random.Generator, size: int) -> Pair:
        return np.where(rng.random(size) < share, loss, 0.1), np.full(size, 0.1)

    return draw


POPULATIONS: dict[str, Callable[[np.random.Generator, int], Pair]] = {
    "two seeds": logits,
    "logits times four": sure,
    "exponential": lambda rng, size: tuple(rng.exponential(0.2, (2, size))),
    "heavy tails (t, 3 degrees)": lambda rng, size: tuple(np.abs(rng.standard_t(3, (2, size))) * 0.3),
    "1 in 1,000 at 36 nats": rarely(0.001, 36),
    "1 in 300 at the cap": rarely(1 / 300, MAX_NATS),
    "1 in 100 at 2 nats": rarely(0.01, 2.1),
    "1 in 20 at 1 nat": rarely(0.05, 1.1),
}


def worse(pair: Pair, margin: float) -> Pair:
    """Shift the losses so that the version is worse by exactly the margin, after the cap."""

    def shift(by: float) -> Pair:
        return pair[0] + max(by, 0.0), pair[1] + max(-by, 0.0)

    def excess(by: float) -> float:
        version, champion = shift(by)
        return float(np.mean(np.minimum(version, MAX_NATS) - np.minimum(champion, MAX_NATS))) - margin

    return shift(brentq(excess, -36, 36, xtol=1e-12))


def equal(pair: Pair) -> Pair:
    """Make both equally good: each row twice, the second time with the losses swapped."""
    return np.concatenate(pair), np.concatenate(pair[::-1])


def draws(pair: Pair, rows: int, samples: int, rng: np.random.Generator) -> Iterator[Pair]:
    for _ in range(samples):
        indices = rng.integers(0, len(pair[0]), rows)
        yield pair[0][indices], pair[1][indices]


def passes(pair: Pair, margin: float, confidence: float, copies: int = 1) -> bool:
    """Whether the gate promotes the version."""
    version, champion = (np.tile(losses, copies) for losses in pair)
    texts = None if copies == 1 else np.tile(np.arange(len(pair[0])), copies)
    return decide(version, champion, margin, confidence, MAX_NATS, texts).promoted


def percentile(x: np.ndarray, confidence: float, copies: int = 1) -> np.ndarray:
    """Compute the bound of each column of x [n, samples] by a percentile bootstrap, the former gate."""
    return np.quantile(_resampled(x, copies)[0], confidence, axis=0)


def studentised(x: np.ndarray, confidence: float) -> np.ndarray:
    means, squares = _resampled(x)
    mean, root = x.mean(0), np.sqrt(len(x))
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = (means - mean) / np.sqrt(np.maximum(squares - means**2, 0)) * root
    worst = np.quantile(np.nan_to_num(statistic, nan=-np.inf, neginf=-np.inf), 1 - confidence, axis=0, method="lower")
    return mean - worst * x.std(0) / root


def _resampled(x: np.ndarray, copies: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng, n = np.random.default_rng(0), len(x)
    counts = np.stack([np.bincount(rng.integers(0, n, n * copies), minlength=n) for _ in range(BOOTSTRAP)])
    weights = counts / (n * copies)
    return weights @ x, weights @ x**2


def bernstein(x: np.ndarray, confidence: float) -> np.ndarray:
    """Compute the bound of Maurer and Pontil 2009 for values between -MAX_NATS and MAX_NATS."""
    n, log = len(x), np.log(2 / (1 - confidence))
    return x.mean(0) + np.sqrt(2 * x.var(0, ddof=1) * log / n) + 7 * 2 * MAX_NATS * log / (3 * (n - 1))


def students(x: np.ndarray, confidence: float) -> np.ndarray:
    """Compute Student's bound plus the worst that n rows may not show: the cap in rows too rare to be drawn."""
    n, mean = len(x), x.mean(0)
    unseen = -np.log(1 - confidence) * (MAX_NATS - np.minimum(mean, 0)) / n
    return mean + student.ppf(confidence, n - 1) * x.std(0, ddof=1) / np.sqrt(n) + unseen


def false_passes(samples: int, few: int) -> Iterator[str]:
    """Yield the tables of versions that are worse by exactly the margin."""
    rng = np.random.default_rng(1)
    rows, ratios = [], dict.fromkeys(product(CONFIDENCES, ROWS), 0.0)
    by_margin = dict.fromkeys(product(MARGINS, ROWS), 0.0)
    for name, draw in POPULATIONS.items():
        pool = draw(rng, POOL)
        line: list[str] = []
        for n in ROWS:
            for margin, confidence in sorted({(m, 0.95) for m in MARGINS} | {(0.05, c) for c in CONFIDENCES}):
                pairs = list(draws(worse(pool, margin), n, samples, rng))
                share = float(np.mean([passes(pair, margin, confidence) for pair in pairs]))
                ratios[confidence, n] = max(ratios[confidence, n], share)
                if confidence == 0.95:
                    by_margin[margin, n] = max(by_margin[margin, n], share)
                if (margin, confidence) == (0.02, 0.95):
                    x = np.stack([a - b for a, b in pairs[:few]], axis=1)
                    line.append(f"{np.mean(percentile(x, 0.95) <= 0.02):.3f} / {share:.3f}")
        rows.append([name, *line])
        print(name, line, flush=True)
    head = [f"{n:,} rows" for n in ROWS]
    yield "Worse by the margin of 0.02, at 95 %: passes before / after\n\n" + epochs.table(["losses", *head], rows)
    table = [[f"confidence {c:g}, margin 0.05", *(f"{ratios[c, n]:.3f}" for n in ROWS)] for c in CONFIDENCES]
    table += [[f"confidence 0.95, margin {m:g}", *(f"{by_margin[m, n]:.3f}" for n in ROWS)] for m in MARGINS]
    yield "Passes after, the most of all these losses\n\n" + epochs.table(["", *head], table)


def copied(samples: int, few: int) -> Iterator[str]:
    rng, rows = np.random.default_rng(2), []
    pool = worse(POPULATIONS["exponential"](rng, POOL), 0.05)
    for n in ROWS:
        pairs = list(draws(pool, n, samples, rng))
        x = np.stack([a - b for a, b in pairs[:few]], axis=1)
        after = np.mean([passes(pair, 0.05, 0.95, copies=5) for pair in pairs])
        rows.append([f"{n:,} texts", f"{np.mean(percentile(x, 0.95, copies=5) <= 0.05):.3f}", f"{after:.3f}"])
    yield "Five copies of each text, worse by the margin of 0.05\n\n" + epochs.table(["", "before", "after"], rows)


def power(pairs: dict[str, Pair], samples: int, few: int, sizes: tuple[int, ...]) -> Iterator[str]:
    """Yield how often an equal version passes at the default margin, by each bound."""
    rng, rows, false = np.random.default_rng(3), [], []
    bounds = (percentile, studentised, bernstein, students)
    for name, pair in pairs.items():
        for n in sizes:
            drawn = list(draws(equal(pair), n, samples, rng))
            capped = np.stack([np.minimum(a, MAX_NATS) - np.minimum(b, MAX_NATS) for a, b in drawn[:few]], axis=1)
            shares = [np.mean([passes(rows_of_pair, 0.02, 0.95) for rows_of_pair in drawn])]
            shares += [np.mean(bound(capped, 0.95) <= 0.02) for bound in bounds]
            rows.append([f"{name}, {n:,} rows", *(f"{share:.3f}" for share in shares)])
            print(rows[-1], flush=True)
            worse_pairs = draws(worse(equal(pair), 0.02), n, samples, rng)
            share = np.mean([passes(rows_of_pair, 0.02, 0.95) for rows_of_pair in worse_pairs])
            false.append([f"{name}, {n:,} rows", f"{share:.3f}"])
    head = ["an equal version", "the gate", "percentile", "studentised", "Bernstein", "Student and the unseen"]
    yield "Equal versions that pass, margin 0.02, at 95 %\n\n" + epochs.table(head, rows)
    yield "The same, made worse by the margin\n\n" + epochs.table(["", "passes"], false)


def stored(uri: str) -> dict[str, Pair]:
    """Read the losses of pairs of evaluations on the same rows."""
    import mlflow
    import pandas as pd

    mlflow.set_tracking_uri(uri)
    losses_by_rows = {}
    for run in mlflow.search_runs(
        search_all_experiments=True, filter_string="tags.verb = 'evaluate'", output_format="list"
    ):
        file = Path(run.info.artifact_uri.removeprefix("file://")) / "predictions.parquet"
        if file.exists():
            table = pd.read_parquet(file).sort_values(["text_sha256", "label"], ignore_index=True)
            key = tuple(table["text_sha256"])
            losses_by_rows.setdefault(key, []).append(compute_log_losses(table["label"], table["probability"]))
    losses = max(losses_by_rows.values(), key=len)
    return {f"stored pair {a + 1}, {b + 1}": (losses[a], losses[b]) for a, b in combinations(range(len(losses)), 2)}


def main() -> None:
    """Simulate, print and write bench/out/gate.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", help="a tracking store with evaluations")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--only", default="", help="a part's name")
    options = parser.parse_args()
    samples, few = options.samples, min(options.samples, 400)
    pairs = {"two seeds": POPULATIONS["two seeds"](np.random.default_rng(4), POOL)}
    if options.store:
        pairs = dict(list(stored(options.store).items())[:6])
    parts: dict[str, Callable[[], Iterator[str]]] = {
        "false": lambda: false_passes(samples, few),
        "copies": lambda: copied(samples, few),
        "power": lambda: power(pairs, samples, few, (200, 1000, 5000, 25_000)),
    }
    texts = [text for name, part in parts.items() if options.only in ("", name) for text in part()]
    epochs.write("gate.md", "\n\n".join(texts))


if __name__ == "__main__":
    main()
