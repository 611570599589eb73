"""The promotion gate on data whose answer is known, and how often it errs."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from imdb_conv1d.gate import decide


def predictions(rows: int, seed: int, worse_by: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, and probabilities of two noisy models; the first one's expected log loss is worse by ``worse_by``."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, rows)
    models = []
    for extra in (worse_by, 0.0):
        right = np.exp(-np.abs(rng.exponential(0.2, rows)) - extra)  # its log loss is exponential(0.2) + extra
        models.append(np.where(labels == 1, right, 1 - right))
    return labels, *models


def test_the_figures_are_those_of_the_losses() -> None:
    labels, version, champion = predictions(2000, 1, worse_by=0.05)
    decision = decide(labels, version, champion, margin=0.02, confidence=0.95)
    assert decision.difference == pytest.approx(log_loss(labels, version) - log_loss(labels, champion))
    assert decision.rows == 2000
    error = 0.2 * np.sqrt(2 / 2000)
    assert decision.upper == pytest.approx(decision.difference + 1.645 * error, abs=0.3 * error)
    assert not decision.promoted
    assert "at 95% confidence" in decision.sentence
    assert "which is beyond the margin of 0.02" in decision.sentence


def test_a_version_is_not_worse_than_itself_by_any_margin() -> None:
    labels, version, _ = predictions(100, 2)
    assert decide(labels, version, version, margin=0.0, confidence=0.99).promoted


def test_the_bound_and_not_the_mean_decides() -> None:
    labels, version, champion = predictions(50, 3)
    decision = decide(labels, version, champion, margin=0.02, confidence=0.95)
    assert decision.difference < 0.02 < decision.upper
    assert not decision.promoted
    assert decide(labels, version, champion, margin=decision.upper, confidence=0.95).promoted
    assert decide(labels, version, champion, margin=0.02, confidence=0.5).promoted


def test_a_version_worse_by_the_margin_passes_as_seldom_as_the_confidence_says() -> None:
    passed = sum(
        decide(*predictions(300, seed, worse_by=0.03), margin=0.03, confidence=0.9).promoted for seed in range(300)
    )
    assert 0.05 <= passed / 300 <= 0.16  # 0.1


def test_an_equal_version_passes_when_there_are_rows_enough() -> None:
    passed = [
        sum(decide(*predictions(rows, seed), margin=0.02, confidence=0.95).promoted for seed in range(60)) / 60
        for rows in (300, 5000)
    ]
    assert passed[0] < 0.75
    assert passed[1] > 0.95
