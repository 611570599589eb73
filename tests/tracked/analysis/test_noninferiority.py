"""The promotion gate on data with a known answer, and its error rate."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from imdb_conv1d.experiment import MAX_NATS, TERMS
from imdb_conv1d.metrics import compute_log_losses
from tracked.analysis.noninferiority import MAX_STAKE, MIN_ROWS, Decision, decide
from tracked.experiment import Terms


def predictions(rows: int, seed: int, worse_by: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, and probabilities of two noisy models; the first one's expected log loss is worse by ``worse_by``."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, rows)
    models = []
    for extra in (worse_by, 0.0):
        right = np.exp(-np.abs(rng.exponential(0.2, rows)) - extra)  # its log loss is exponential(0.2) + extra
        models.append(np.where(labels == 1, right, 1 - right))
    return labels, *models


def judged(
    labels: np.ndarray,
    version: np.ndarray,
    champion: np.ndarray,
    margin: float,
    confidence: float,
    keys: list[str] | None = None,
) -> Decision:
    """Decide by the log losses of probabilities."""
    losses = [compute_log_losses(labels, probabilities) for probabilities in (version, champion)]
    return decide(*losses, margin, confidence, MAX_NATS, keys)


def overconfident(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A model against itself with four times the logits: 0.04 nats worse, though better on most rows."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(2, 1.5, rows)
    return np.ones(rows, dtype=int), 1 / (1 + np.exp(-4 * logits)), 1 / (1 + np.exp(-logits))


def test_decide_on_a_worse_version_gives_the_figures_of_its_losses() -> None:
    labels, version, champion = predictions(2000, 1, worse_by=0.05)
    decision = judged(labels, version, champion, margin=0.02, confidence=0.95)
    assert decision.difference == pytest.approx(log_loss(labels, version) - log_loss(labels, champion))
    assert (decision.rows, decision.copies, decision.enough, decision.needed) == (2000, 0, True, None)
    error = 0.2 * np.sqrt(2 / 2000)
    assert decision.difference + 1.645 * error < decision.upper < decision.difference + 3 * error
    assert not decision.promoted
    assert decision.describe(TERMS) == (
        f"its log loss differs by {decision.difference:+.4f} on 2,000 reviews, at most {decision.upper:+.4f} at 95% "
        "confidence: beyond the margin of 0.02 (losses are capped at 6.9 nats a review; failures rarer than 1 in 668 "
        "may not show)"
    )


def test_decide_without_margin_promotes_a_better_version_and_no_equal_one() -> None:
    labels, version, champion = predictions(2000, 2, worse_by=0.1)
    assert judged(labels, champion, version, margin=0.0, confidence=0.99).promoted
    assert not judged(labels, version, version, margin=0.0, confidence=0.99).promoted
    assert judged(labels, version, version, margin=0.02, confidence=0.95).promoted


def test_decide_with_the_margin_between_mean_and_bound_refuses() -> None:
    labels, version, champion = predictions(1500, 3)
    decision = judged(labels, version, champion, margin=0.016, confidence=0.95)
    assert decision.difference < 0.016 < decision.upper
    assert not decision.promoted
    assert judged(labels, version, champion, margin=decision.upper, confidence=0.95).promoted
    assert judged(labels, version, champion, margin=0.016, confidence=0.5).promoted


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "before"), [(4, 0.72), (10, 0.50), (20, 0.28), (30, 0.21), (50, 0.15)])
def test_decide_on_few_rows_of_an_overconfident_version_rarely_promotes(rows: int, before: float) -> None:
    """``before``: the share that a percentile bootstrap passed at a nominal 0.05."""
    passed = [judged(*overconfident(rows, seed), margin=0.02, confidence=0.95).promoted for seed in range(300)]
    assert np.mean(passed) <= 0.01 < before


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "margin"), [(50, 0.02), (300, 0.02), (1100, 0.02), (1100, 0.1), (100, 0.2)])
def test_decide_on_rare_certain_errors_promotes_at_most_as_often_as_the_confidence_allows(
    rows: int, margin: float
) -> None:
    """Errors at the cap, so rare that the version is worse by the margin; a bootstrap passed 0.86 on 50 rows."""
    passed = []
    for seed in range(500):
        wrong = np.random.default_rng(seed).random(rows) < margin / (MAX_NATS - 0.1)
        version = np.where(wrong, MAX_NATS, 0.1)
        passed.append(decide(version, np.full(rows, 0.1), margin, 0.9, MAX_NATS).promoted)
    assert np.mean(passed) <= 0.12


@pytest.mark.slow
@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95])
def test_decide_on_a_version_worse_by_the_margin_promotes_at_most_as_often_as_the_confidence_allows(
    confidence: float,
) -> None:
    passed = []
    for seed in range(600):
        rng = np.random.default_rng(seed)
        version = np.where(rng.random(500) < 0.02, 4 + rng.exponential(0.5, 500), 0.1)
        worse_by = 0.02 * np.mean(np.minimum(4 + np.random.default_rng(0).exponential(0.5, 100_000), MAX_NATS) - 0.1)
        decision = decide(version, np.full(500, 0.1), margin=worse_by, confidence=confidence, max_loss=MAX_NATS)
        passed.append(decision.promoted)
    assert np.mean(passed) <= 1 - confidence + 0.02


def test_decide_on_an_equal_version_promotes_with_enough_rows() -> None:
    passed = [
        np.mean([judged(*predictions(rows, seed), margin=0.02, confidence=0.95).promoted for seed in range(60)])
        for rows in (300, 1000, 5000)
    ]
    assert passed[0] == 0
    assert passed[1] < 0.5
    assert passed[2] > 0.95


def test_decide_on_losses_above_the_cap_counts_them_in_full() -> None:
    """Two of 1,000 rows at 36 nats cost 0.014 capped, 0.07 in full."""
    version, champion = np.full(1000, 0.1), np.full(1000, 0.15)
    version[:2] = 36
    decision = decide(version, champion, margin=0.02, confidence=0.8, max_loss=MAX_NATS)
    assert np.minimum(version, MAX_NATS).mean() - 0.15 < 0 < 0.02 < decision.difference < decision.upper
    assert not decision.promoted


@pytest.mark.parametrize("rows", [1, 2, MIN_ROWS - 1])
def test_decide_on_fewer_than_min_rows_is_undecided(rows: int) -> None:
    version = np.full(rows, 0.01)
    decision = decide(version, version + 6, margin=5.0, confidence=0.5, max_loss=MAX_NATS)
    assert (decision.promoted, decision.enough, decision.needed) == (False, False, MIN_ROWS)
    assert ": within the margin of 5 (" in decision.describe(TERMS)
    assert f"undecided: {MIN_ROWS} distinct reviews are needed" in decision.describe(TERMS)


def test_decide_on_rows_too_few_for_any_outcome_is_undecided() -> None:
    losses = np.full(1000, 0.1)
    decision = decide(losses, losses, margin=0.02, confidence=0.95, max_loss=MAX_NATS)
    assert (decision.promoted, decision.enough) == (False, False)
    assert decision.needed == math.ceil(math.log(20) / math.log1p(MAX_STAKE * 0.02 / (MAX_NATS - 0.02))) == 1088
    losses = np.full(decision.needed, 0.1)
    assert decide(losses, losses, margin=0.02, confidence=0.95, max_loss=MAX_NATS).promoted


def test_needed_rows_of_an_equal_version_suffice_and_are_described() -> None:
    rng = np.random.default_rng(4)
    version, champion = rng.exponential(0.2, (2, 1200))
    version *= champion.mean() / version.mean()
    few = decide(version, champion, margin=0.02, confidence=0.95, max_loss=MAX_NATS)
    assert (few.promoted, few.enough) == (False, True)
    assert f"; about {few.needed:,} distinct reviews suffice at this variance" in few.describe(TERMS)
    assert few.needed is not None
    for share, promoted in ((0.7, False), (1.3, True)):
        times = round(few.needed * share)
        many = [np.resize(losses, times) for losses in (version, champion)]
        many[0] *= many[1].mean() / many[0].mean()
        assert decide(*many, margin=0.02, confidence=0.95, max_loss=MAX_NATS).promoted == promoted


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40), st.integers(2, 5))
def test_decide_with_copied_rows_counts_them_once(rows: list[tuple[bool, float, float]], copies: int) -> None:
    labels, version, champion = map(np.array, zip(*rows, strict=True))
    texts = [f"{number:03}" for number in range(len(rows))]
    once = judged(labels, version, champion, 0.5, 0.8, texts)
    several = (np.tile(one, copies) for one in (labels, version, champion))
    many = judged(*several, 0.5, 0.8, texts * copies)
    assert many.copies == len(rows) * (copies - 1)
    assert dataclasses.astuple(many)[:-1] == pytest.approx(dataclasses.astuple(once)[:-1])


@pytest.mark.slow
def test_decide_on_copied_rows_of_a_worse_version_rarely_promotes() -> None:
    """Five copies of each of 300 texts, worse by the margin; counted as 1,500 rows, 0.28 passed at a nominal 0.05."""
    texts, passed = [f"{number:03}" for number in range(300)] * 5, []
    for seed in range(300):
        several = (np.tile(one, 5) for one in predictions(300, seed, worse_by=0.2))
        passed.append(judged(*several, margin=0.2, confidence=0.95, keys=texts).promoted)
    assert np.mean(passed) <= 0.06


def test_decide_on_a_text_under_both_labels_counts_one_row() -> None:
    decision = judged([1, 0, 1], [0.9, 0.9, 0.6], [0.5, 0.5, 0.6], 1.0, 0.5, ["a", "a", "b"])
    assert (decision.rows, decision.copies) == (2, 1)
    assert decision.difference == pytest.approx((-np.log(0.9) / 2 - np.log(0.1) / 2 + np.log(0.5)) / 2)
    assert "on 2 reviews (1 repeated row left out)" in decision.describe(TERMS)


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=60),
    st.floats(0, 8),
    st.floats(0.5, 0.99),
)
def test_decide_on_any_rows_is_consistent(
    rows: list[tuple[bool, float, float]], margin: float, confidence: float
) -> None:
    decision = judged(*map(np.array, zip(*rows, strict=True)), margin, confidence)
    assert decision.upper >= decision.difference
    assert ("undecided" in decision.describe(TERMS)) == (not decision.enough)
    assert not decision.promoted or (decision.enough and decision.upper <= margin and decision.needed is not None)
    assert decision.enough or decision.needed is None or decision.needed > decision.rows
    assert decision.promoted or decision.needed is None or decision.needed >= MIN_ROWS


LOSSES = st.lists(st.tuples(st.floats(0, 40), st.floats(0, 40)), min_size=1, max_size=60)


MARGINS = st.floats(0, 8).map(lambda margin: round(margin, 6))


@given(LOSSES, MARGINS, st.floats(0.5, 0.99), st.floats(0.5, 20), st.integers(-60, 60))
def test_decide_in_a_unit_scaled_by_a_power_of_two_gives_the_same_bits(
    rows: list[tuple[float, float]], margin: float, confidence: float, most: float, power: int
) -> None:
    """Scaling by a power of two does not round."""
    version, champion = np.array(rows).T
    one = decide(version, champion, margin, confidence, most)
    unit = 2.0**power
    other = decide(version * unit, champion * unit, margin * unit, confidence, most * unit)
    assert (other.promoted, other.enough, other.needed) == (one.promoted, one.enough, one.needed)
    assert (other.difference, other.upper) == pytest.approx((one.difference * unit, one.upper * unit), rel=1e-12)


@given(st.integers(0, 1000), st.integers(1, 1500), st.floats(1e-9, 1e9), st.floats(0, 0.5), st.floats(0.5, 0.99))
def test_decide_in_any_unit_gives_the_same_decision(
    seed: int, rows: int, unit: float, margin: float, confidence: float
) -> None:
    version, champion = np.random.default_rng(seed).exponential(0.2, (2, rows))
    one = decide(version, champion, margin, confidence, MAX_NATS)
    other = decide(version * unit, champion * unit, margin * unit, confidence, MAX_NATS * unit)
    assert (other.promoted, other.enough, other.rows) == (one.promoted, one.enough, one.rows)
    assert (other.needed is None) == (one.needed is None)
    assert (other.needed or 0) == pytest.approx(one.needed or 0, rel=1e-6)  # nearly no growth loses digits
    assert other.difference / unit == pytest.approx(one.difference, rel=1e-9, abs=1e-12)
    assert other.upper / unit == pytest.approx(one.upper, abs=1e-6)


def test_describe_of_a_regression_uses_the_experiments_terms() -> None:
    terms = Terms(row="patient", loss="absolute error", unit="points", max_loss=200, margin=10)
    rng = np.random.default_rng(6)
    champion = np.abs(rng.normal(0, 55, 3000))
    version = np.abs(champion + rng.normal(0, 20, 3000))
    decision = decide(version, champion, terms.margin, 0.95, terms.max_loss)
    assert decision.promoted
    assert decision.difference == pytest.approx(version.mean() - champion.mean())
    assert decision.describe(terms) == (
        f"its absolute error differs by {decision.difference:+.2f} on 3,000 patients, at most {decision.upper:+.2f} at "
        "95% confidence: within the margin of 10 (losses are capped at 200 points a patient; failures rarer than 1 in "
        "1,001 may not show)"
    )
    assert not decide(version + 10.5, champion, terms.margin, 0.95, terms.max_loss).promoted
    few = decide(version[:5], champion[:5], terms.margin, 0.95, terms.max_loss)
    assert f"; undecided: {few.needed or MIN_ROWS:,} distinct patients are needed" in few.describe(terms)


@pytest.mark.slow
@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_decide_on_a_worse_regression_promotes_at_most_as_often_as_the_confidence_allows(confidence: float) -> None:
    """Rare errors at the cap."""
    passed = []
    for seed in range(400):
        wrong = np.random.default_rng(seed).random(600) < 10 / 170
        passed.append(decide(np.where(wrong, 200, 30), np.full(600, 30), 10, confidence, 200).promoted)
    assert np.mean(passed) <= 1 - confidence + 0.02


@pytest.mark.parametrize("bad", [-1e-9, -3.0, math.nan, math.inf, -math.inf])
def test_decide_on_negative_or_infinite_losses_is_refused(bad: float) -> None:
    good, wrong = np.full(30, 0.1), np.append(np.full(29, 0.1), bad)
    for version, champion, owner in ((wrong, good, "version"), (good, wrong, "champion")):
        with pytest.raises(ValueError, match=f"the {owner}'s loss of a row is {bad:g}; allowed: a finite number, 0 or"):
            decide(version, champion, 0.02, 0.95, MAX_NATS)


@pytest.mark.parametrize("most", [0, -1.0, math.nan, math.inf])
def test_decide_without_a_finite_max_loss_is_refused(most: float) -> None:
    with pytest.raises(ValueError, match=r"max_loss: .* is not allowed; allowed: a finite number above 0"):
        decide(np.full(30, 0.1), np.full(30, 0.1), 0.02, 0.95, most)


def test_decide_on_different_numbers_of_rows_or_none_is_refused() -> None:
    for version, champion in (([0.1], [0.1, 0.2]), ([0.1, 0.2], [0.1]), ([], [])):
        with pytest.raises(
            ValueError, match=rf"{len(version)} and {len(champion)} rows; allowed: the same rows, 1 or more"
        ):
            decide(version, champion, 0.02, 0.95, MAX_NATS)
