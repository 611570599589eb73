"""Measure how optimistic the best of n trials is, and how often its lead over the defaults is rightly confirmed.

python bench/winner.py

Values are made up: a setting has a true value, and each seed adds noise of deviation 1. Less is better. One minute.
"""

import sys
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import t as student

import epochs

sys.path.insert(0, str(epochs.SRC))

from tracked.analysis.choice_interval import compute_half_widths
from tracked.analysis.confirmation import Candidate, Confirmation, confirm

TRIALS, SPREADS, CHOSEN = (5, 20, 100), (0.0, 0.3, 1.0, 3.0), 3
SEEDS, LEADS = (2, 3, 5, 10), (0, 1, 2, 3, 4, 6)
Noise = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
NOISES: dict[str, Noise] = {
    "normal": lambda rng, size: rng.normal(size=size),
    "heavy tails (t, 3 degrees)": lambda rng, size: rng.standard_t(3, size) / np.sqrt(3),
    "skewed (exponential)": lambda rng, size: rng.exponential(size=size) - 1,
}
# Deviations of the defaults' noise and the candidates'.
DEVIATIONS: dict[str, Sequence[float]] = {
    "equal": (1, 1, 1, 1),
    "one candidate's ten times": (0.1, 0.1, 0.1, 1),
    "all candidates' ten times": (0.1, 1, 1, 1),
    "the defaults' ten times": (1, 0.1, 0.1, 0.1),
    "one three times, one thirty times": (3, 0.1, 0.1, 1),
}


def search(rng: np.random.Generator, trials: int, spread: float, seeds: int) -> tuple[Confirmation, np.ndarray]:
    """Search among settings whose true values have this spread around the defaults' of 0; confirm the best three.

    Returns:
        the confirmation, and the true values of the trials, [trials].
    """
    true = rng.normal(0, spread, trials)
    searched = true + rng.normal(size=trials)
    best = np.argsort(searched)[:CHOSEN]
    new = rng.normal(size=(CHOSEN, seeds))
    candidates = [
        Candidate(int(number), searched[number], dict(enumerate(true[number] + row)))
        for number, row in zip(best, new, strict=True)
    ]
    return confirm(candidates, dict(enumerate(rng.normal(size=seeds))), range(seeds), "min"), true


def measure_optimism(samples: int) -> str:
    """Measure by how much the value in the search is better than the true value, and what confirmation says of it."""
    rng, rows = np.random.default_rng(1), []
    for trials in TRIALS:
        for spread in SPREADS:
            cells = []
            for _ in range(samples):
                result, true = search(rng, trials, spread, 3)
                first, winner = result.candidates[0], result.winner
                assert first.number is not None
                of_first = true[first.number] - (first.mean - first.optimism)
                of_three = np.mean([true[one.number] - (one.mean - one.optimism) for one in result.candidates])
                of_winner = (0 if winner.number is None else true[winner.number]) - winner.mean
                cells.append((of_first, of_three, result.optimism, of_winner))
            rows.append([f"{trials} trials, spread {spread:g}", *(f"{value:+.2f}" for value in np.mean(cells, axis=0))])
    head = ["in deviations between seeds", "best", "best three", "measured", "winner's new mean"]
    return epochs.table(head, rows)


def draw(
    rng: np.random.Generator, noise: Noise, deviations: Sequence[float], leads: Sequence[float], seeds: int
) -> np.ndarray:
    """Draw values of the defaults and of candidates that are better by these leads, [1 + candidates, seeds]."""
    values = noise(rng, (len(deviations), seeds)) * np.array(deviations)[:, None]
    values[1:] -= np.array(leads)[:, None]
    return values


def decide(values: np.ndarray) -> Confirmation:
    """Confirm by values [1 + candidates, seeds], the defaults' first."""
    candidates = [Candidate(number, None, dict(enumerate(row))) for number, row in enumerate(values[1:])]
    return confirm(candidates, dict(enumerate(values[0])), range(values.shape[1]), "min")


def measure_errors(samples: int) -> str:
    """Measure how often a lead is confirmed where there is none, and how often the best candidate's interval holds it.

    The winner is a candidate in most of these samples; where the defaults win, the interval is the best candidate's.
    """
    rng, rows = np.random.default_rng(2), []
    for kind, noise in NOISES.items():
        for place, deviations in DEVIATIONS.items():
            row = [f"{kind}; {place}"]
            for seeds in SEEDS:
                false, held = 0, 0
                for _ in range(samples):
                    result = decide(draw(rng, noise, deviations, (0, 0, 0), seeds))
                    best = min(result.candidates, key=lambda one: one.mean)
                    false += result.confirmed
                    held += best.low <= 0 <= best.high
                row.append(f"{false / samples:.1%} / {held / samples:.1%}")
            rows.append(row)
    return epochs.table(["confirmed without a lead / interval holds 0", *(f"{one} seeds" for one in SEEDS)], rows)


def measure_power(samples: int) -> str:
    """Measure how often a lead is confirmed, of one candidate or of all three, beside plainer intervals."""
    rng, rows = np.random.default_rng(3), []
    for seeds in SEEDS:
        for name, others in (("one better", 0.0), ("all three better", 1.0)):
            counts = np.zeros((2, len(LEADS)))
            for at, lead in enumerate(LEADS):
                for _ in range(samples):
                    values = draw(rng, NOISES["normal"], (1, 1, 1, 1), (lead, others * lead, others * lead), seeds)
                    result = decide(values)
                    counts[0, at] += result.confirmed
                    ahead = values[0] - values[1:]
                    best = ahead[ahead.mean(1).argmax()]
                    half = student.ppf(1 - 0.025 / 3, seeds - 1) * best.std(ddof=1) / np.sqrt(seeds)
                    counts[1, at] += best.mean() - half > 0
            pairs = (f"{ours:.0%} / {plain:.0%}" for ours, plain in (counts / samples).T)
            rows.append([f"{seeds} seeds, {name}", *pairs])
    return epochs.table(["confirmed: ours / paired t, Bonferroni", *(f"lead {one}" for one in LEADS)], rows)


def measure_coverage(samples: int) -> str:
    """Measure how often the winner's interval holds its true lead, over leads and deviations, with normal noise."""
    rng, rows = np.random.default_rng(4), []
    for place, deviations in DEVIATIONS.items():
        row = [place]
        for seeds in SEEDS:
            shares = []
            for leads in ((0, 0, 0), (0, 1, 2), (-9, -9, 9)):
                values = np.stack([draw(rng, NOISES["normal"], deviations, leads, seeds) for _ in range(samples)])
                held = 0
                for one in values:
                    halves, ahead = compute_half_widths(one, CHOSEN), (one[0] - one[1:]).mean(1)
                    held += abs(ahead[at := ahead.argmax()] - leads[at]) <= halves[at]
                shares.append(held / samples)
            row.append(f"{min(shares):.1%}")
        rows.append(row)
    return epochs.table(["least coverage over three sets of leads", *(f"{one} seeds" for one in SEEDS)], rows)


def main() -> None:
    """Simulate, print and write bench/out/winner.md."""
    parts = [measure_optimism(1000), measure_errors(1500), measure_power(500), measure_coverage(2000)]
    epochs.write("winner.md", "\n\n".join(parts))


if __name__ == "__main__":
    main()
