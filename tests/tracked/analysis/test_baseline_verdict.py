"""The verdict of a network against its baselines: answers, sentences, and how often equal models get one."""

import numpy as np
import pytest

from tracked.analysis.baseline_verdict import Outcome, decide
from tracked.experiment import Terms

pytestmark = pytest.mark.unit

TEXTS = Terms("review", "log loss", "nats", max_loss=6.9, correct="accuracy")
POINTS = Terms("patient", "absolute error", "points", max_loss=200)
NAMES = {"often": "the most frequent class", "linear": "the linear model"}


def outcome(right: int, rows: int, shift: int = 0, loss: float = 0.3) -> Outcome:
    """Rows of which so many are right, from a row on; losses differ slightly from row to row."""
    correct = np.roll(np.arange(rows) < right, shift)
    return Outcome(np.linspace(0.9, 1.1, rows) * loss, correct)


def describe(network: Outcome, baselines: dict[str, Outcome]) -> tuple[str, str]:
    verdict = decide(network, baselines)
    return verdict.answer, verdict.describe(TEXTS, NAMES[verdict.against])


def test_baseline_that_is_shown_better_makes_the_answer_no() -> None:
    answer, sentence = describe(outcome(870, 1000), {"often": outcome(500, 1000), "linear": outcome(915, 1000)})
    assert answer == "no"
    assert sentence.startswith(
        "Is the network worth it? No: the linear model is right on 91.5 % of these 1,000 reviews, the network on "
        "87.0 % (difference 4.5 points, 97.5 % interval 3."
    )
    assert sentence.endswith(").")


def test_network_that_is_shown_better_than_all_makes_the_answer_yes() -> None:
    answer, sentence = describe(outcome(930, 1000), {"often": outcome(500, 1000), "linear": outcome(880, 1000)})
    assert answer == "yes"
    assert "Yes: the network is right on 93.0 % of these 1,000 reviews, the linear model on 88.0 % (diff" in sentence


def test_network_that_beats_only_one_baseline_is_not_shown_better() -> None:
    answer, sentence = describe(outcome(900, 1000), {"often": outcome(500, 1000), "linear": outcome(899, 1000)})
    assert answer == "not shown"
    assert "No difference is shown: the network is right on 90.0 % of these 1,000 reviews, the linear model" in sentence
    assert "the rows allow no interval" in sentence


def test_constant_baseline_that_is_better_makes_the_answer_no() -> None:
    """As on uneven data, where a network may learn nothing."""
    answer, sentence = describe(outcome(900, 1000), {"often": outcome(960, 1000), "linear": outcome(940, 1000)})
    assert answer == "no"
    assert "the most frequent class is right on 96.0 %" in sentence


def test_loss_that_shows_the_contrary_is_mentioned() -> None:
    _, sentence = describe(outcome(870, 1000, loss=0.2), {"linear": outcome(915, 1000, loss=0.4)})
    assert sentence.endswith(
        "95 % interval 3.2 to 5.9); by log loss, the network is better (0.200 against 0.400 nats)."
    )
    _, alike = describe(outcome(870, 1000, loss=0.4), {"linear": outcome(915, 1000, loss=0.2)})
    assert "by log loss" not in alike
    _, undecided = describe(outcome(900, 1000, loss=0.2), {"linear": outcome(900, 1000, loss=0.4)})
    assert undecided.endswith("; by log loss, the network is better (0.200 against 0.400 nats).")


def test_loss_decides_where_no_row_can_be_right() -> None:
    chance = np.random.default_rng(0)
    error = chance.exponential(45, 300)
    network, linear = Outcome(error + chance.normal(3, 3, 300) ** 2), Outcome(error)
    verdict = decide(network, {"linear": linear})
    assert verdict.answer == "no"
    sentence = verdict.describe(POINTS, "the linear regression")
    assert sentence.startswith("Is the network worth it? No: the linear regression has an absolute error of ")
    assert " points on these 300 patients, the network of " in sentence
    assert decide(linear, {"linear": network}).answer == "yes"
    assert decide(linear, {"linear": linear}).answer == "not shown"


def test_few_rows_decide_by_the_exact_test_alone() -> None:
    better, worse = outcome(30, 30), outcome(10, 30)
    assert decide(better, {"linear": worse}).answer == "yes"
    assert decide(worse, {"linear": better}).answer == "no"
    assert decide(outcome(30, 30), {"linear": outcome(27, 30)}).answer == "not shown"
    assert decide(Outcome([0.1] * 30), {"linear": Outcome([0.2] * 30)}).answer == "not shown"  # no exact test of losses


def test_rows_with_the_same_key_count_once() -> None:
    network, linear = outcome(1, 200), outcome(200, 200)
    assert decide(network, {"linear": linear}).answer == "no"
    copies = decide(network, {"linear": linear}, keys=["one"] * 199 + ["other"])
    assert (copies.answer, copies.rows) == ("not shown", 2)


@pytest.mark.parametrize(
    ("network", "baselines"),
    [
        (outcome(5, 9), {}),
        (outcome(5, 9), {"linear": outcome(5, 8)}),
        (outcome(1, 1), {"linear": outcome(1, 1)}),
        (Outcome([1.0, 2.0], [True]), {"linear": outcome(1, 2)}),
    ],
)
def test_rows_that_are_not_the_same_are_refused(network: Outcome, baselines: dict[str, Outcome]) -> None:
    with pytest.raises(ValueError, match=r"baselines of \[.*\] rows; allowed: 1 or more, of 2 equal rows"):
        decide(network, baselines)


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "baselines"), [(25, 1), (150, 2), (800, 1), (800, 2)])
def test_equal_models_get_a_verdict_in_one_of_20_at_most(rows: int, baselines: int) -> None:
    """Right where a common difficulty is below a chance of their own: as often, on other rows."""
    chance, wrong = np.random.default_rng(rows), 0
    for _ in range(400):
        difficulty = chance.normal(1, 1, rows)
        models = [Outcome(np.ones(rows), difficulty > chance.normal(0, 0.5, rows)) for _ in range(baselines + 1)]
        wrong += decide(models[0], dict(zip("ab", models[1:], strict=False))).answer != "not shown"
    assert wrong <= 0.05 * 400 + 3 * (400 * 0.05 * 0.95) ** 0.5 / 2


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "baselines"), [(150, 1), (150, 2), (600, 1)])
def test_equal_losses_get_a_verdict_in_one_of_20_at_most(rows: int, baselines: int) -> None:
    """Skewed losses, as of classifiers that are sometimes sure and wrong."""
    chance, wrong = np.random.default_rng(rows), 0
    for _ in range(400):
        common = chance.exponential(0.3, rows)
        models = [Outcome(common + chance.exponential(0.3, rows) ** 2) for _ in range(baselines + 1)]
        wrong += decide(models[0], dict(zip("ab", models[1:], strict=False))).answer != "not shown"
    assert wrong <= 0.05 * 400 + 3 * (400 * 0.05 * 0.95) ** 0.5 / 2
