"""The promotion gate on data whose answer is known, and how often it errs."""

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
    """A model with its logits times four against itself: 0.04 nats worse, while most rows say that it is better."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(2, 1.5, rows)
    return np.ones(rows, dtype=int), 1 / (1 + np.exp(-4 * logits)), 1 / (1 + np.exp(-logits))


def test_the_figures_are_those_of_the_losses() -> None:
    labels, version, champion = predictions(2000, 1, worse_by=0.05)
    decision = judged(labels, version, champion, margin=0.02, confidence=0.95)
    assert decision.difference == pytest.approx(log_loss(labels, version) - log_loss(labels, champion))
    assert (decision.rows, decision.copies, decision.enough, decision.needed) == (2000, 0, True, None)
    error = 0.2 * np.sqrt(2 / 2000)
    assert decision.difference + 1.645 * error < decision.upper < decision.difference + 3 * error
    assert not decision.promoted
    assert decision.describe(TERMS) == (
        f"its log loss differs by {decision.difference:+.4f} on 2,000 reviews, at 95% confidence by at most "
        f"{decision.upper:+.4f}, which is beyond the margin of 0.02 (a review counts for at most 6.9 nats, and what "
        "fails in fewer than one of 668 may not show)"
    )


def test_a_better_version_needs_no_margin_and_an_equal_one_does() -> None:
    labels, version, champion = predictions(2000, 2, worse_by=0.1)
    assert judged(labels, champion, version, margin=0.0, confidence=0.99).promoted
    assert not judged(labels, version, version, margin=0.0, confidence=0.99).promoted
    assert judged(labels, version, version, margin=0.02, confidence=0.95).promoted


def test_the_bound_and_not_the_mean_decides() -> None:
    labels, version, champion = predictions(1500, 3)
    decision = judged(labels, version, champion, margin=0.016, confidence=0.95)
    assert decision.difference < 0.016 < decision.upper
    assert not decision.promoted
    assert judged(labels, version, champion, margin=decision.upper, confidence=0.95).promoted
    assert judged(labels, version, champion, margin=0.016, confidence=0.5).promoted


@pytest.mark.parametrize(("rows", "before"), [(4, 0.72), (10, 0.50), (20, 0.28), (30, 0.21), (50, 0.15)])
def test_an_overconfident_version_does_not_pass_for_lack_of_rows(rows: int, before: float) -> None:
    """``before`` is how often it passed by the percentile bootstrap, at a nominal 0.05."""
    passed = [judged(*overconfident(rows, seed), margin=0.02, confidence=0.95).promoted for seed in range(300)]
    assert np.mean(passed) <= 0.01 < before


@pytest.mark.parametrize(("rows", "margin"), [(50, 0.02), (300, 0.02), (1100, 0.02), (1100, 0.1), (100, 0.2)])
def test_a_version_with_rare_certain_errors_passes_as_seldom_as_the_confidence_says(rows: int, margin: float) -> None:
    """Errors of the most that counts, so rare that the version is worse by the margin; with 50 rows 0.86 passed."""
    passed = []
    for seed in range(500):
        wrong = np.random.default_rng(seed).random(rows) < margin / (MAX_NATS - 0.1)
        version = np.where(wrong, MAX_NATS, 0.1)
        passed.append(decide(version, np.full(rows, 0.1), margin, 0.9, MAX_NATS).promoted)
    assert np.mean(passed) <= 0.12


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95])
def test_a_version_worse_by_the_margin_passes_as_seldom_as_the_confidence_says(confidence: float) -> None:
    passed = []
    for seed in range(600):
        rng = np.random.default_rng(seed)
        version = np.where(rng.random(500) < 0.02, 4 + rng.exponential(0.5, 500), 0.1)
        worse_by = 0.02 * np.mean(np.minimum(4 + np.random.default_rng(0).exponential(0.5, 100_000), MAX_NATS) - 0.1)
        decision = decide(version, np.full(500, 0.1), margin=worse_by, confidence=confidence, max_loss=MAX_NATS)
        passed.append(decision.promoted)
    assert np.mean(passed) <= 1 - confidence + 0.02


def test_an_equal_version_passes_when_there_are_rows_enough() -> None:
    passed = [
        np.mean([judged(*predictions(rows, seed), margin=0.02, confidence=0.95).promoted for seed in range(60)])
        for rows in (300, 1000, 5000)
    ]
    assert passed[0] == 0
    assert passed[1] < 0.5
    assert passed[2] > 0.95


def test_errors_that_the_rows_show_count_in_full() -> None:
    """Two of 1,000 at 36 nats: capped they cost 0.014, in full 0.07."""
    version, champion = np.full(1000, 0.1), np.full(1000, 0.15)
    version[:2] = 36
    decision = decide(version, champion, margin=0.02, confidence=0.8, max_loss=MAX_NATS)
    assert np.minimum(version, MAX_NATS).mean() - 0.15 < 0 < 0.02 < decision.difference < decision.upper
    assert not decision.promoted


@pytest.mark.parametrize("rows", [1, 2, MIN_ROWS - 1])
def test_too_few_rows_decide_nothing(rows: int) -> None:
    version = np.full(rows, 0.01)
    decision = decide(version, version + 6, margin=5.0, confidence=0.5, max_loss=MAX_NATS)
    assert (decision.promoted, decision.enough, decision.needed) == (False, False, MIN_ROWS)
    assert "which is within the margin of 5 " in decision.describe(TERMS)
    assert f"nothing is decided, as {MIN_ROWS} distinct reviews are needed" in decision.describe(TERMS)


def test_rows_that_cannot_show_it_whatever_they_say_decide_nothing() -> None:
    losses = np.full(1000, 0.1)
    decision = decide(losses, losses, margin=0.02, confidence=0.95, max_loss=MAX_NATS)
    assert (decision.promoted, decision.enough) == (False, False)
    assert decision.needed == math.ceil(math.log(20) / math.log1p(MAX_STAKE * 0.02 / (MAX_NATS - 0.02))) == 1088
    losses = np.full(decision.needed, 0.1)
    assert decide(losses, losses, margin=0.02, confidence=0.95, max_loss=MAX_NATS).promoted


def test_how_many_rows_would_do_is_said_and_true() -> None:
    rng = np.random.default_rng(4)
    version, champion = rng.exponential(0.2, (2, 1200))
    version *= champion.mean() / version.mean()
    few = decide(version, champion, margin=0.02, confidence=0.95, max_loss=MAX_NATS)
    assert (few.promoted, few.enough) == (False, True)
    assert f"; about {few.needed:,} distinct reviews would do at this spread" in few.describe(TERMS)
    assert few.needed is not None
    for share, promoted in ((0.7, False), (1.3, True)):
        times = round(few.needed * share)
        many = [np.resize(losses, times) for losses in (version, champion)]
        many[0] *= many[1].mean() / many[0].mean()
        assert decide(*many, margin=0.02, confidence=0.95, max_loss=MAX_NATS).promoted == promoted


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40), st.integers(2, 5))
def test_copies_of_texts_count_once(rows: list[tuple[bool, float, float]], copies: int) -> None:
    labels, version, champion = map(np.array, zip(*rows, strict=True))
    texts = [f"{number:03}" for number in range(len(rows))]
    once = judged(labels, version, champion, 0.5, 0.8, texts)
    several = (np.tile(one, copies) for one in (labels, version, champion))
    many = judged(*several, 0.5, 0.8, texts * copies)
    assert many.copies == len(rows) * (copies - 1)
    assert dataclasses.astuple(many)[:-1] == pytest.approx(dataclasses.astuple(once)[:-1])


def test_copies_do_not_let_a_worse_version_pass() -> None:
    """Five copies of each of 300 texts, worse by the margin: 0.28 passed at a nominal 0.05."""
    texts, passed = [f"{number:03}" for number in range(300)] * 5, []
    for seed in range(300):
        several = (np.tile(one, 5) for one in predictions(300, seed, worse_by=0.2))
        passed.append(judged(*several, margin=0.2, confidence=0.95, keys=texts).promoted)
    assert np.mean(passed) <= 0.06


def test_a_text_under_both_labels_is_one_row() -> None:
    decision = judged([1, 0, 1], [0.9, 0.9, 0.6], [0.5, 0.5, 0.6], 1.0, 0.5, ["a", "a", "b"])
    assert (decision.rows, decision.copies) == (2, 1)
    assert decision.difference == pytest.approx((-np.log(0.9) / 2 - np.log(0.1) / 2 + np.log(0.5)) / 2)
    assert "on 2 reviews (1 repeated row left out)" in decision.describe(TERMS)


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=60),
    st.floats(0, 8),
    st.floats(0.5, 0.99),
)
def test_a_decision_is_consistent(rows: list[tuple[bool, float, float]], margin: float, confidence: float) -> None:
    decision = judged(*map(np.array, zip(*rows, strict=True)), margin, confidence)
    assert decision.upper >= decision.difference
    assert ("nothing is decided" in decision.describe(TERMS)) == (not decision.enough)
    assert not decision.promoted or (decision.enough and decision.upper <= margin and decision.needed is not None)
    assert decision.enough or decision.needed is None or decision.needed > decision.rows
    assert decision.promoted or decision.needed is None or decision.needed >= MIN_ROWS


LOSSES = st.lists(st.tuples(st.floats(0, 40), st.floats(0, 40)), min_size=1, max_size=60)


MARGINS = st.floats(0, 8).map(lambda margin: round(margin, 6))


@given(LOSSES, MARGINS, st.floats(0.5, 0.99), st.floats(0.5, 20), st.integers(-60, 60))
def test_a_decision_in_another_unit_is_the_same_to_the_last_bit(
    rows: list[tuple[float, float]], margin: float, confidence: float, most: float, power: int
) -> None:
    """Powers of two, by which numbers are scaled without rounding."""
    version, champion = np.array(rows).T
    one = decide(version, champion, margin, confidence, most)
    unit = 2.0**power
    other = decide(version * unit, champion * unit, margin * unit, confidence, most * unit)
    assert (other.promoted, other.enough, other.needed) == (one.promoted, one.enough, one.needed)
    assert (other.difference, other.upper) == pytest.approx((one.difference * unit, one.upper * unit), rel=1e-12)


@given(st.integers(0, 1000), st.integers(1, 1500), st.floats(1e-9, 1e9), st.floats(0, 0.5), st.floats(0.5, 0.99))
def test_a_decision_in_any_unit_is_the_same(
    seed: int, rows: int, unit: float, margin: float, confidence: float
) -> None:
    version, champion = np.random.default_rng(seed).exponential(0.2, (2, rows))
    one = decide(version, champion, margin, confidence, MAX_NATS)
    other = decide(version * unit, champion * unit, margin * unit, confidence, MAX_NATS * unit)
    assert (other.promoted, other.enough, other.rows) == (one.promoted, one.enough, one.rows)
    assert (other.needed is None) == (one.needed is None)
    assert (other.needed or 0) == pytest.approx(one.needed or 0, rel=1e-6)  # digits are lost where hardly any growth is
    assert other.difference / unit == pytest.approx(one.difference, rel=1e-9, abs=1e-12)
    assert other.upper / unit == pytest.approx(one.upper, abs=1e-6)


def test_losses_in_tens_with_no_right_or_wrong_are_decided_and_told_in_their_own_terms() -> None:
    terms = Terms(row="patient", loss="absolute error", unit="points", max_loss=200, margin=10)
    rng = np.random.default_rng(6)
    champion = np.abs(rng.normal(0, 55, 3000))
    version = np.abs(champion + rng.normal(0, 20, 3000))
    decision = decide(version, champion, terms.margin, 0.95, terms.max_loss)
    assert decision.promoted
    assert decision.difference == pytest.approx(version.mean() - champion.mean())
    assert decision.describe(terms) == (
        f"its absolute error differs by {decision.difference:+.2f} on 3,000 patients, at 95% confidence by at most "
        f"{decision.upper:+.2f}, which is within the margin of 10 (a patient counts for at most 200 points, and what "
        "fails in fewer than one of 1,001 may not show)"
    )
    assert not decide(version + 10.5, champion, terms.margin, 0.95, terms.max_loss).promoted
    few = decide(version[:5], champion[:5], terms.margin, 0.95, terms.max_loss)
    assert f"; nothing is decided, as {few.needed or MIN_ROWS:,} distinct patients are needed" in few.describe(terms)


@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_a_version_worse_by_the_margin_passes_as_seldom_with_losses_in_tens(confidence: float) -> None:
    """Rare errors of the most that counts."""
    passed = []
    for seed in range(400):
        wrong = np.random.default_rng(seed).random(600) < 10 / 170
        passed.append(decide(np.where(wrong, 200, 30), np.full(600, 30), 10, confidence, 200).promoted)
    assert np.mean(passed) <= 1 - confidence + 0.02


@pytest.mark.parametrize("bad", [-1e-9, -3.0, math.nan, math.inf, -math.inf])
def test_losses_that_are_negative_or_not_finite_are_refused(bad: float) -> None:
    good, wrong = np.full(30, 0.1), np.append(np.full(29, 0.1), bad)
    for version, champion, whose in ((wrong, good, "version"), (good, wrong, "champion")):
        with pytest.raises(ValueError, match=f"the {whose}'s loss of a row is {bad:g}; a finite number of 0 or more"):
            decide(version, champion, 0.02, 0.95, MAX_NATS)


@pytest.mark.parametrize("most", [0, -1.0, math.nan, math.inf])
def test_without_a_most_that_a_row_counts_for_nothing_is_decided(most: float) -> None:
    with pytest.raises(ValueError, match=r"most is .*; a finite number above 0 is needed"):
        decide(np.full(30, 0.1), np.full(30, 0.1), 0.02, 0.95, most)


def test_other_numbers_of_rows_and_none_are_refused() -> None:
    for version, champion in (([0.1], [0.1, 0.2]), ([0.1, 0.2], [0.1]), ([], [])):
        with pytest.raises(ValueError, match="the same rows, one or more, are needed"):
            decide(version, champion, 0.02, 0.95, MAX_NATS)
