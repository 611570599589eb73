"""The recommendation on synthetic histories whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from imdb_conv1d.pooling import RUNS_NEEDED, pooled, recommend
from imdb_conv1d.rules import History, replay


def dips(gap: int, run: int = 0, depth: float = 0.1, tail: int = 12) -> History:
    """Falls to 0.5 at epoch 3, waits ``gap`` epochs, and falls by ``depth`` more: only a patience above gap sees it."""
    noise = run / 1e4
    values = [0.9, 0.7, 0.5, *[0.6] * gap, 0.5 - depth, *[0.7] * tail]
    return History(f"run{run}", "", "val_loss", "min", np.array(values) + noise, np.arange(len(values)) * 60.0)


def replayed(histories: list[History], longest: int = 12) -> pd.DataFrame:
    return replay(histories, range(1, longest + 1), [0.0])


@pytest.mark.parametrize("gap", [1, 4, 9])
def test_the_shortest_patience_that_sees_the_second_dip_is_recommended(gap: int) -> None:
    found = recommend(replayed([dips(gap, run) for run in range(8)]), tolerance=0.001)
    assert found.patience == gap + 1
    assert (found.runs, found.of, found.served, found.sureness, found.longest) == (8, 8, 8, 1.0, 12)
    assert found.epochs == 8 * (4 + gap + 12)
    assert found.epochs_saved == 8 * (12 - (gap + 1))
    assert found.seconds_saved == 60 * found.epochs_saved
    assert found.sentence.startswith(
        f"Patience {gap + 1} with min_delta 0 is the shortest of 11 tried whose mean regret stays within 0.001 of "
        "the best val_loss in 100% of bootstrap samples: over the 8 of 8 runs that answer every patience up to 12 it"
    )
    assert "at least 69% of such runs at 95% confidence, which does not rule out a rarer loss" in found.sentence
    assert "over all" not in found.sentence


def test_a_tolerance_above_the_dip_makes_the_shortest_patience_enough() -> None:
    assert recommend(replayed([dips(4, run) for run in range(8)]), tolerance=0.2).patience == 1
    assert recommend(replayed([dips(4, run) for run in range(8)]), tolerance=0.0).patience == 5


def test_nothing_shorter_is_enough() -> None:
    found = recommend(replayed([dips(11, run) for run in range(8)]), tolerance=0.001)
    assert found.patience is None
    assert found.sentence.startswith(
        "None of 11 patiences up to 12 keeps the mean regret of 8 runs within 0.001 of the best val_loss, and no runs"
    )


def test_too_few_runs_to_say() -> None:
    for count in range(1, RUNS_NEEDED):
        found = recommend(replayed([dips(2, run) for run in range(count)]), tolerance=0.001)
        assert found.patience is None
        assert found.sentence.startswith(f"Too few runs to say which patience is enough: {count} answer")
    assert recommend(replayed([dips(2, run) for run in range(RUNS_NEEDED)]), tolerance=0.001).patience == 3


def test_one_run_in_eight_that_needs_more_makes_it_unsure() -> None:
    """Mean regret of patience 1 is 0.1 / 8 = 0.0125: within a tolerance of 0.013, but not in most samples."""
    histories = [dips(0, run) for run in range(7)] + [dips(4, 7)]
    found = recommend(replayed(histories), tolerance=0.013)
    assert found.patience == 5  # the shortest that is sure
    assert found.sureness == 1.0
    table = replayed(histories)
    unsure = recommend(table[table["patience"].isin([1, 12])], tolerance=0.013)
    assert unsure.patience == 1
    assert 0.5 < unsure.sureness < 0.95
    assert unsure.served == 7
    assert "but only in" in unsure.sentence
    assert "too few runs or too little margin to be sure" in unsure.sentence
    assert "is the shortest of 11 tried" in found.sentence
    assert "within 0.013 of the best val_loss in 100% of bootstrap samples" in found.sentence  # which 1 is not


def test_runs_that_stopped_early_do_not_vouch_for_the_rule_that_stopped_them() -> None:
    """Twenty runs that ended with patience 2 know of no second dip; eight that waited for 12 do."""
    short = [
        History(f"short{n}", "", "val_loss", "min", np.array([0.9, 0.7, 0.5, 0.6, 0.6]), np.arange(5.0))
        for n in range(20)
    ]
    table = replayed([*short, *(dips(4, run) for run in range(8))])
    assert pooled(table).set_index("patience")["runs"].to_dict() == {1: 28, 2: 28} | dict.fromkeys(range(3, 13), 8)
    found = recommend(table, tolerance=0.001)
    assert (found.patience, found.runs, found.of) == (5, 8, 28)
    assert "over the 8 of 28 runs that answer every patience up to 12 it is 0.0000" in found.sentence


def test_many_runs_that_stopped_early_do_not_outvote_those_that_waited() -> None:
    """Of 462 runs, 450 ended with patience 3 and know of no loss; the twelve of patience 30 lose 0.02 below 11."""
    start = [0.9, 0.8, 0.7, 0.6, 0.5]
    values = [start + [0.55] * 3] * 450 + [start + [0.55] * 10 + [0.48] + [0.6] * 30] * 12
    runs = [History(f"{n}", "", "val_loss", "min", np.array(v), np.arange(len(v)) * 1.0) for n, v in enumerate(values)]
    found = recommend(replayed(runs, longest=30), tolerance=0.001)
    assert (found.patience, found.runs, found.of, found.longest) == (11, 12, 462, 30)
    few = recommend(replayed(runs[:10] + runs[-4:], longest=30), tolerance=0.001)
    assert few.patience is None
    assert few.sentence == (
        "None of 2 patiences up to 3 keeps the mean regret of 14 runs within 0.001 of the best val_loss, and 4 runs "
        "tell what a longer one does, which is too few."
    )


def test_a_few_runs_that_waited_longest_do_not_speak_for_the_many() -> None:
    """Ninety-five runs of patience 10 gained from waiting 8; five of patience 30 gained nothing."""
    many = [dips(7, run, tail=10) for run in range(95)]
    few = [dips(0, run, tail=30) for run in range(95, 100)]
    table = replayed([*many, *few], longest=30)
    assert pooled(table).set_index("patience")["runs"].to_dict()[30] == 5
    found = recommend(table, tolerance=0.001)
    assert (found.patience, found.runs, found.longest, found.answered) == (8, 5, 30, 100)
    assert "over the 5 of 100 runs that answer every patience up to 30 it is 0.0000" in found.sentence
    assert "as it is 0.0000 over all 100 that answer it" in found.sentence
    assert "at least 55% of such runs at 95% confidence" in found.sentence  # 0.05 ** (1 / 5)
    alone = table[table["patience"].isin([1, 30])]
    assert recommend(alone, tolerance=0.001).patience is None  # the five lose nothing by it, but the others do
    barely = replayed([*(dips(7 if run < 10 else 0, run, tail=10) for run in range(95)), *few], longest=30)
    unsure = recommend(barely[barely["patience"].isin([1, 30])], tolerance=0.0105)
    assert (unsure.patience, unsure.regret, unsure.regret_of_all) == (1, 0, pytest.approx(0.01))
    assert 0.5 < unsure.sureness < 0.7
    sure = recommend(replayed([dips(0, run) for run in range(100)]), tolerance=0.001)
    assert "at least 97% of such runs at 95% confidence; it would" in sure.sentence  # 0.05 ** (1 / 100)


def test_patiences_that_cannot_be_told_apart_or_judged() -> None:
    histories = [dips(0, run) for run in range(8)]
    assert recommend(replayed(histories)[lambda rows: rows["patience"] == 5], 0.001).patience == 5
    ended_by_it = recommend(replayed(histories)[lambda rows: rows["patience"] == 12], 0.001)
    assert ended_by_it.patience is None
    assert ended_by_it.sentence.startswith("Nothing tells a longer wait from those tried")


def test_a_rule_that_stops_before_anything_is_kept_serves_nobody() -> None:
    values = [np.nan, np.nan, 0.5, *[0.6] * 12]
    bad = [History(f"bad{n}", "", "val_loss", "min", np.array(values), np.arange(15.0)) for n in range(4)]
    table = replayed([*bad, *(dips(0, run) for run in range(6))])
    assert recommend(table, tolerance=0.001).patience == 2
    rows = pooled(table).set_index("patience")
    assert rows.loc[1, "runs"] == 10
    assert rows.loc[1, "regret"] == np.inf
    assert np.isnan(rows.loc[1, "regret_high"])
    assert rows.loc[2, "regret"] == 0


def test_the_interval_of_a_recommendation_is_that_of_its_mean() -> None:
    """Regrets 0.1 in 2 of 40 runs: mean 0.005, and a bootstrap sample's mean is above 0.0125 in 5 % or so."""
    found = recommend(replayed([dips(4 if run < 2 else 0, run) for run in range(40)]), tolerance=0.03)
    assert found.patience == 1
    assert found.regret == pytest.approx(0.005)
    assert found.regret_low == 0
    assert found.regret_high == pytest.approx(0.0125, abs=0.0026)
    assert found.regret_worst == pytest.approx(0.1)
    assert found.served == 38


def test_of_one_patience_the_min_delta_that_stops_earliest() -> None:
    histories = [dips(4, run, tail=20) for run in range(6)]
    table = replay(histories, range(1, 13), [0.0, 0.15])
    found = recommend(table, tolerance=0.001)
    # 0.4 after 0.5 is less than 0.15 better: the wait goes on from epoch 3, but not before 0.4 is reached.
    assert (found.patience, found.min_delta) == (5, 0.15)


def test_pooled_figures() -> None:
    histories = [dips(gap, run) for run, gap in enumerate([0, 0, 2, 2, 6])]
    table = replayed(histories, 14)
    rows = pooled(table).set_index("patience")
    assert rows.loc[1, "runs"] == 5
    assert rows.loc[1, "regret"] == pytest.approx(0.06)
    assert rows.loc[1, "regret_worst"] == pytest.approx(0.1)
    assert rows.loc[1, "epochs"] == pytest.approx((5 + 5 + 4 + 4 + 4) / 5)
    assert np.isnan(rows.loc[1, ["regret_low", "regret_high", "epochs_low", "epochs_high"]].tolist()).all()
    assert rows.loc[13, "runs"] == 0
    assert np.isnan(rows.loc[13, "regret"])


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng, inside = np.random.default_rng(0), 0
    for _ in range(200):
        losses = rng.exponential(0.1, size=40)
        table = pd.DataFrame({"patience": 1, "min_delta": 0.0, "censored": False, "regret": losses,
                              "stopped_epoch": 3, "epochs_saved": 1, "seconds_saved": 1.0})  # fmt: skip
        one = pooled(table).iloc[0]
        inside += one["regret_low"] <= 0.1 <= one["regret_high"]
    assert 0.86 <= inside / 200 <= 0.99
