"""The promotion gate on data whose answer is known, and how often it errs."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from tracked.analysis.noninferiority import BOLD, CAP, FEWEST, decide


def predictions(rows: int, seed: int, worse_by: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, and probabilities of two noisy models; the first one's expected log loss is worse by ``worse_by``."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, rows)
    models = []
    for extra in (worse_by, 0.0):
        right = np.exp(-np.abs(rng.exponential(0.2, rows)) - extra)  # its log loss is exponential(0.2) + extra
        models.append(np.where(labels == 1, right, 1 - right))
    return labels, *models


def with_losses(version: np.ndarray, champion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels 1, and the probabilities that have these log losses."""
    return np.ones(len(version), dtype=int), np.exp(-version), np.exp(-champion)


def overconfident(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A model with its logits times four against itself: 0.04 nats worse, while most rows say that it is better."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(2, 1.5, rows)
    return np.ones(rows, dtype=int), 1 / (1 + np.exp(-4 * logits)), 1 / (1 + np.exp(-logits))


def test_the_figures_are_those_of_the_losses() -> None:
    labels, version, champion = predictions(2000, 1, worse_by=0.05)
    decision = decide(labels, version, champion, margin=0.02, confidence=0.95)
    assert decision.difference == pytest.approx(log_loss(labels, version) - log_loss(labels, champion))
    assert (decision.rows, decision.copies, decision.enough, decision.needed) == (2000, 0, True, None)
    error = 0.2 * np.sqrt(2 / 2000)
    assert decision.difference + 1.645 * error < decision.upper < decision.difference + 3 * error
    assert not decision.promoted
    assert decision.sentence == (
        f"its log loss differs by {decision.difference:+.4f} on 2,000 reviews, at 95% confidence by at most "
        f"{decision.upper:+.4f}, which is beyond the margin of 0.02 (a review counts for at most 6.9 nats, and what "
        "fails in fewer than one of 668 may not show)"
    )


def test_a_better_version_needs_no_margin_and_an_equal_one_does() -> None:
    labels, version, champion = predictions(2000, 2, worse_by=0.1)
    assert decide(labels, champion, version, margin=0.0, confidence=0.99).promoted
    assert not decide(labels, version, version, margin=0.0, confidence=0.99).promoted
    assert decide(labels, version, version, margin=0.02, confidence=0.95).promoted


def test_the_bound_and_not_the_mean_decides() -> None:
    labels, version, champion = predictions(1500, 3)
    decision = decide(labels, version, champion, margin=0.016, confidence=0.95)
    assert decision.difference < 0.016 < decision.upper
    assert not decision.promoted
    assert decide(labels, version, champion, margin=decision.upper, confidence=0.95).promoted
    assert decide(labels, version, champion, margin=0.016, confidence=0.5).promoted


@pytest.mark.parametrize(("rows", "before"), [(4, 0.72), (10, 0.50), (20, 0.28), (30, 0.21), (50, 0.15)])
def test_an_overconfident_version_does_not_pass_for_lack_of_rows(rows: int, before: float) -> None:
    """``before`` is how often it passed by the percentile bootstrap, at a nominal 0.05."""
    passed = [decide(*overconfident(rows, seed), margin=0.02, confidence=0.95).promoted for seed in range(300)]
    assert np.mean(passed) <= 0.01 < before


@pytest.mark.parametrize(("rows", "margin"), [(50, 0.02), (300, 0.02), (1100, 0.02), (1100, 0.1), (100, 0.2)])
def test_a_version_with_rare_certain_errors_passes_as_seldom_as_the_confidence_says(rows: int, margin: float) -> None:
    """Errors of the most that counts, so rare that the version is worse by the margin; with 50 rows 0.86 passed."""
    passed = []
    for seed in range(500):
        wrong = np.random.default_rng(seed).random(rows) < margin / (CAP - 0.1)
        version = np.where(wrong, CAP, 0.1)
        passed.append(decide(*with_losses(version, np.full(rows, 0.1)), margin, 0.9).promoted)
    assert np.mean(passed) <= 0.12


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95])
def test_a_version_worse_by_the_margin_passes_as_seldom_as_the_confidence_says(confidence: float) -> None:
    passed = []
    for seed in range(600):
        rng = np.random.default_rng(seed)
        version = np.where(rng.random(500) < 0.02, 4 + rng.exponential(0.5, 500), 0.1)
        worse_by = 0.02 * np.mean(np.minimum(4 + np.random.default_rng(0).exponential(0.5, 100_000), CAP) - 0.1)
        decision = decide(*with_losses(version, np.full(500, 0.1)), margin=worse_by, confidence=confidence)
        passed.append(decision.promoted)
    assert np.mean(passed) <= 1 - confidence + 0.02


def test_an_equal_version_passes_when_there_are_rows_enough() -> None:
    passed = [
        np.mean([decide(*predictions(rows, seed), margin=0.02, confidence=0.95).promoted for seed in range(60)])
        for rows in (300, 1000, 5000)
    ]
    assert passed[0] == 0
    assert passed[1] < 0.5
    assert passed[2] > 0.95


def test_errors_that_the_rows_show_count_in_full() -> None:
    """Two of 1,000 at 36 nats: capped they cost 0.014, in full 0.07."""
    version, champion = np.full(1000, 0.1), np.full(1000, 0.15)
    version[:2] = 36
    decision = decide(*with_losses(version, champion), margin=0.02, confidence=0.8)
    assert np.minimum(version, CAP).mean() - 0.15 < 0 < 0.02 < decision.difference < decision.upper
    assert not decision.promoted


@pytest.mark.parametrize("rows", [1, 2, FEWEST - 1])
def test_too_few_rows_decide_nothing(rows: int) -> None:
    version = np.full(rows, 0.01)
    decision = decide(*with_losses(version, version + 6), margin=5.0, confidence=0.5)
    assert (decision.promoted, decision.enough, decision.needed) == (False, False, FEWEST)
    assert "which is within the margin of 5 " in decision.sentence
    assert f"nothing is decided, as {FEWEST} distinct reviews are needed" in decision.sentence


def test_rows_that_cannot_show_it_whatever_they_say_decide_nothing() -> None:
    losses = np.full(1000, 0.1)
    decision = decide(*with_losses(losses, losses), margin=0.02, confidence=0.95)
    assert (decision.promoted, decision.enough) == (False, False)
    assert decision.needed == math.ceil(math.log(20) / math.log1p(BOLD * 0.02 / (CAP - 0.02))) == 1088
    losses = np.full(decision.needed, 0.1)
    assert decide(*with_losses(losses, losses), margin=0.02, confidence=0.95).promoted


def test_how_many_rows_would_do_is_said_and_true() -> None:
    rng = np.random.default_rng(4)
    version, champion = rng.exponential(0.2, (2, 1200))
    version += champion.mean() - version.mean()
    few = decide(*with_losses(version, champion), margin=0.02, confidence=0.95)
    assert (few.promoted, few.enough) == (False, True)
    assert f"; about {few.needed:,} distinct reviews would do at this spread" in few.sentence
    assert few.needed is not None
    for share, promoted in ((0.7, False), (1.3, True)):
        times = round(few.needed * share)
        many = [np.resize(losses, times) for losses in (version, champion)]
        many[0] += many[1].mean() - many[0].mean()
        assert decide(*with_losses(*many), margin=0.02, confidence=0.95).promoted == promoted


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40), st.integers(2, 5))
def test_copies_of_texts_count_once(rows: list[tuple[bool, float, float]], copies: int) -> None:
    labels, version, champion = map(np.array, zip(*rows, strict=True))
    texts = [f"{number:03}" for number in range(len(rows))]
    once = decide(labels, version, champion, 0.5, 0.8, texts)
    several = (np.tile(one, copies) for one in (labels, version, champion))
    many = decide(*several, 0.5, 0.8, texts * copies)
    assert many.copies == len(rows) * (copies - 1)
    assert dataclasses.astuple(many)[:-1] == pytest.approx(dataclasses.astuple(once)[:-1])


def test_copies_do_not_let_a_worse_version_pass() -> None:
    """Five copies of each of 300 texts, worse by the margin: 0.28 passed at a nominal 0.05."""
    texts, passed = [f"{number:03}" for number in range(300)] * 5, []
    for seed in range(300):
        several = (np.tile(one, 5) for one in predictions(300, seed, worse_by=0.2))
        passed.append(decide(*several, margin=0.2, confidence=0.95, texts=texts).promoted)
    assert np.mean(passed) <= 0.06


def test_a_text_under_both_labels_is_one_row() -> None:
    decision = decide([1, 0, 1], [0.9, 0.9, 0.6], [0.5, 0.5, 0.6], 1.0, 0.5, ["a", "a", "b"])
    assert (decision.rows, decision.copies) == (2, 1)
    assert decision.difference == pytest.approx((-np.log(0.9) / 2 - np.log(0.1) / 2 + np.log(0.5)) / 2)
    assert "on 2 reviews (1 repeated row left out)" in decision.sentence


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=60),
    st.floats(0, 8),
    st.floats(0.5, 0.99),
)
def test_a_decision_is_consistent(rows: list[tuple[bool, float, float]], margin: float, confidence: float) -> None:
    decision = decide(*map(np.array, zip(*rows, strict=True)), margin, confidence)
    assert decision.upper >= decision.difference
    assert ("nothing is decided" in decision.sentence) == (not decision.enough)
    assert not decision.promoted or (decision.enough and decision.upper <= margin and decision.needed is not None)
    assert decision.enough or decision.needed is None or decision.needed > decision.rows
    assert decision.promoted or decision.needed is None or decision.needed >= FEWEST
