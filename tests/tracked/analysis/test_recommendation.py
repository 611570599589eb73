"""The recommendation on synthetic histories with a known answer, and its error rate."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

import recommendation
from tracked.analysis.recommendation import SHARE, Recommendation, pool_rules, recommend
from tracked.analysis.rule_replay import History, drop_repeats, replay

pytestmark = pytest.mark.unit

ENOUGH = 29  # 0.9 ** 29 is below 0.05


def dips(gap: int, run: int = 0, depth: float = 0.1, tail: int = 12, patience: int | None = None) -> History:
    """Falls to 0.5 at epoch 3, waits ``gap`` epochs, and falls by ``depth`` more: only a patience above gap sees it."""
    noise = run / 1e4
    values = [0.9, 0.7, 0.5, *[0.6] * gap, 0.5 - depth, *[0.7] * tail]
    own = max(tail, gap + 1) if patience is None else patience
    return History(
        f"run{run}", "", "val_loss", "min", np.array(values) + noise, np.arange(len(values)) * 60.0, own, 0.0
    )


def replayed(histories: list[History], longest: int = 12) -> pd.DataFrame:
    return replay(histories, range(1, longest + 1), [0.0])


@pytest.mark.parametrize("gap", [1, 4, 9])
def test_recommend_where_values_dip_twice_gives_the_shortest_patience_that_reaches_the_second_dip(gap: int) -> None:
    found = recommend(replayed([dips(gap, run) for run in range(40)]), tolerance=0.001)
    assert found.patience == gap + 1
    assert (found.runs, found.of, found.served, found.wait, found.cut) == (40, 40, 40, 12, 0)
    assert found.epochs == 40 * (4 + gap + 12)
    assert found.epochs_saved == 40 * (12 - (gap + 1))
    assert found.seconds_saved == 60 * found.epochs_saved
    assert found.sentence == (
        f"Patience {gap + 1} with min_delta 0 serves at least 90% of such trainings, at 95% confidence: it loses at "
        "most 0.001 of the best val_loss against waiting 12 epochs or longer in 40 of 40 distinct runs, of 40 in all. "
        f"On average it loses 0.0000 (0.0000 in the worst run), and it would have saved {found.epochs_saved} of their "
        f"{found.epochs:,} epochs and {found.epochs_saved:.1f} minutes."
    )


def test_recommend_with_a_tolerance_above_the_dip_gives_the_shortest_patience() -> None:
    histories = [dips(4, run) for run in range(40)]
    assert recommend(replayed(histories), tolerance=0.2).patience == 1
    assert recommend(replayed(histories), tolerance=0.0).patience == 5


def test_recommend_with_a_loss_equal_to_the_tolerance_ignores_rounding() -> None:
    values = np.array([0.95, 0.880, 0.9, 0.879, *[0.9] * 9])
    assert values[1] - values[3] > 0.001  # by rounding
    for kind in (np.float64, np.float32):
        rows = [values.astype(kind).astype(float) for _ in range(30)]
        runs = [History(f"{n}", "", "val_loss", "min", row, np.arange(13.0), 9, 0.0) for n, row in enumerate(rows)]
        assert recommend(replayed(runs), tolerance=0.001).patience == 1
        assert recommend(replayed(runs), tolerance=0.000999).patience == 2


@pytest.mark.parametrize(("deltas", "needed"), [([0.0], 29), ([0.0, 0.0001], 36)])
def test_recommend_with_too_few_runs_gives_none_and_the_number_needed(deltas: list[float], needed: int) -> None:
    """With 8 runs, a recommendation by their mean regret was wrong in half of the cases."""
    histories = [dips(2, run) for run in range(needed)]
    for count in (1, 8, needed - 1):
        found = recommend(replay(histories[:count], range(1, 13), deltas), tolerance=0.001)
        assert found.patience is None
        assert found.sentence == (
            f"Too few runs to recommend a patience: {count} distinct training{'' if count == 1 else 's'}; {needed} "
            "that train long enough suffice if one patience serves all of them."
        )
    assert recommend(replay(histories, range(1, 13), deltas), tolerance=0.001).patience == 3


def test_recommend_with_known_counterexamples_gives_none_and_counts_them() -> None:
    """Of 100 runs that answer patience 1, 60 lose by it, and only 5 waited for the longest."""
    many = [dips(7 if run < 60 else 0, run, tail=10) for run in range(95)]
    few = [dips(0, run, tail=30) for run in range(95, 100)]
    table = replayed([*many, *few], longest=30)
    assert recommend(table, tolerance=0.001).patience == 8
    found = recommend(table[table["patience"] == 1], tolerance=0.001)
    assert found.patience is None
    assert found.sentence == (
        "No patience up to 1 is shown to serve 90% of such trainings: 1 loses more than 0.001 of the best val_loss "
        "against waiting 10 epochs or longer in 60 of 100 runs."
    )


def test_recommend_with_counterexamples_in_shorter_waits_counts_them() -> None:
    long = [dips(0, run, tail=30, patience=30) for run in range(40)]
    short = [dips(3, run, tail=5, patience=5) for run in range(40, 60)]
    found = recommend(replayed([*long, *short], longest=29), tolerance=0.001)
    assert (found.wait, found.patience, found.served, found.runs) == (30, 4, 40, 40)
    alone = recommend(replayed([*long, *short], longest=3), tolerance=0.001)
    assert (alone.patience, alone.served, alone.runs) == (None, 40, 60)


def test_recommend_with_runs_that_stopped_early_does_not_count_them_for_their_own_rule() -> None:
    """200 runs that stopped with patience 2 show no second dip; 40 that waited for 12 epochs do."""
    short = [
        History(f"s{n}", "", "val_loss", "min", np.array([0.9, 0.7, 0.5, 0.6, 0.6]) + n / 1e5, np.arange(5.0), 2, 0.0)
        for n in range(200)
    ]
    found = recommend(replayed([*short, *(dips(4, run) for run in range(40))]), tolerance=0.001)
    assert (found.patience, found.runs, found.served, found.of) == (5, 40, 40, 240)
    alone = recommend(replayed(short), tolerance=0.001)
    assert (alone.wait, alone.patience) == (2, 1)
    assert "against waiting 2 epochs or longer" in alone.sentence


def test_recommend_with_runs_cut_off_by_their_epochs_counts_them_as_not_served() -> None:
    """A run that still improved at its last epoch does not show what a longer wait finds."""
    cut = [
        History(f"c{n}", "", "val_loss", "min", np.linspace(0.9, 0.5, 20) + n / 1e5, np.arange(20.0), 12, 0.0)
        for n in range(3)
    ]
    found = recommend(replayed([*(dips(0, run) for run in range(100)), *cut]), tolerance=0.001)
    assert (found.patience, found.served, found.runs, found.cut) == (1, 100, 103, 3)
    many = [*(dips(0, run) for run in range(40)), *cut]
    assert recommend(replayed(many), tolerance=0.001).sentence.startswith("Too few runs")


def test_recommend_without_a_patience_below_the_waits_judges_none() -> None:
    table = replayed([dips(0, run) for run in range(40)])
    assert recommend(table[table["patience"] == 5], 0.001).patience == 5
    longest = recommend(table[table["patience"] == 12], 0.001)
    assert longest.patience is None
    assert longest.sentence.startswith("No patience can be judged: none tried is shorter than the 12 epochs")


def test_recommend_of_a_rule_that_stops_before_any_checkpoint_serves_no_run() -> None:
    values = np.array([np.nan, np.nan, 0.5, *[0.6] * 12])
    bad = [History(f"bad{n}", "", "val_loss", "min", values + n / 1e4, np.arange(15.0), 14, 0.0) for n in range(20)]
    table = replayed([*bad, *(dips(0, run, tail=14) for run in range(40))])
    assert recommend(table, tolerance=0.001).patience == 2
    rows = pool_rules(table).set_index("patience")
    assert rows.loc[1, "runs"] == 60
    assert rows.loc[1, "regret"] == np.inf
    assert np.isnan(rows.loc[1, "regret_high"])
    assert rows.loc[2, "regret"] == 0


def test_recommend_with_equal_patiences_gives_the_min_delta_that_stops_earliest() -> None:
    table = replay([dips(4, run, tail=20) for run in range(40)], range(1, 13), [0.0, 0.15])
    found = recommend(table, tolerance=0.001)
    # 0.4 after 0.5 improves by less than 0.15: the wait from epoch 3 continues, and ends after 0.4 is reached.
    assert (found.patience, found.min_delta) == (5, 0.15)


@given(st.lists(st.integers(0, 11), min_size=1, max_size=60), st.sampled_from([0.001, 0.2]))
def test_recommend_of_any_gaps_gives_the_shortest_patience_that_a_binomial_test_shows(
    gaps: list[int], tolerance: float
) -> None:
    found = recommend(replayed([dips(gap, run) for run, gap in enumerate(gaps)]), tolerance)
    needed = {patience: sum(gap >= patience for gap in gaps) if tolerance < 0.1 else 0 for patience in range(1, 12)}
    proven = [
        patience
        for patience, lost in needed.items()
        if binomtest(len(gaps) - lost, len(gaps), SHARE, alternative="greater").pvalue <= 0.05
    ]
    assert found.patience == min(proven, default=None)
    assert isinstance(found, Recommendation)
    assert found.sentence.endswith(".")
    if found.patience is not None:
        assert found.served == len(gaps) - needed[found.patience]


@pytest.mark.parametrize(("population", "design"), [("half fall again", "patience 20"), ("heavy tails", "45 epochs")])
def test_recommend_on_simulated_trainings_errs_in_at_most_one_of_twenty(population: str, design: str) -> None:
    """At most 1 in 20 is wrong; of recommendations by the mean regret, 0.3 to 1.0 were."""
    (table,) = recommendation.calibration((60,), 20, [design], [population])
    wrong, given = map(int, table.splitlines()[-1].split(" / ")[1].split(" |")[0].split(" of "))
    assert given > 0
    assert wrong <= 15  # of 100; three trials


def histories_of(several: list[list[float]]) -> list[History]:
    return [
        History(f"{n}", "", "val_loss", "min", np.array(values), np.arange(len(values)) * 1.0)
        for n, values in enumerate(several)
    ]


def test_drop_repeats_of_equal_trainings_keeps_one() -> None:
    """Eight equal runs of one seed must not count as eight trainings."""
    one = dips(4, 0)
    shorter = History("shorter", "", "val_loss", "min", one.values[:9], one.seconds[:9])
    other = History("other", "", "val_loss", "min", one.values + 1e-16, one.seconds)
    assert drop_repeats([shorter, *[one] * 8, other]) == [one, other]
    assert recommend(replayed(drop_repeats([one] * 100)), 0.001).sentence.startswith("Too few runs")


@given(st.lists(st.lists(st.sampled_from([0.0, 0.1, 0.5, math.nan, -math.inf]), min_size=1, max_size=4), max_size=8))
def test_drop_repeats_of_any_histories_keeps_those_that_none_continues(several: list[list[float]]) -> None:
    texts = [",".join(map(str, values)) + "," for values in several]
    expected = [
        place
        for place, text in enumerate(texts)
        if not any(
            other.startswith(text) and (len(other) > len(text) or before < place)
            for before, other in enumerate(texts)
            if before != place
        )
    ]
    assert [int(one.run_id) for one in drop_repeats(histories_of(several))] == expected


def test_pool_rules_averages_over_the_runs_that_answer() -> None:
    histories = [dips(gap, run) for run, gap in enumerate([0, 0, 2, 2, 6])]
    table = replayed(histories, 14)
    rows = pool_rules(table).set_index("patience")
    assert rows.loc[1, "runs"] == 5
    assert rows.loc[1, "regret"] == pytest.approx(0.06)
    assert rows.loc[1, "regret_worst"] == pytest.approx(0.1)
    assert rows.loc[1, "epochs"] == pytest.approx((5 + 5 + 4 + 4 + 4) / 5)
    assert np.isnan(rows.loc[1, ["regret_low", "regret_high", "epochs_low", "epochs_high"]].tolist()).all()
    assert rows.loc[13, "runs"] == 0
    assert np.isnan(rows.loc[13, "regret"])


def test_pool_rules_answered_by_different_runs_have_different_populations() -> None:
    """Half with patience 3, half with 10: the mean regret rises from 3 to 4, though in no single run."""
    short = [dips(0, run, tail=3) for run in range(5)]
    table = replayed([*short, *(dips(6, run, tail=10) for run in range(5, 10))], 10)
    rows = pool_rules(table).set_index("patience")
    assert rows.loc[3, "regret"] == pytest.approx(0.05)
    assert rows.loc[4, "regret"] == pytest.approx(0.1)
    assert rows["population"].tolist() == [0] * 3 + [1] * 7


@pytest.mark.slow
def test_pool_rules_interval_of_regret_covers_the_mean_at_its_confidence() -> None:
    rng, inside = np.random.default_rng(0), 0
    for _ in range(200):
        losses = rng.exponential(0.1, size=150)
        table = pd.DataFrame({"patience": 1, "min_delta": 0.0, "censored": False, "regret": losses, "run_id": "r",
                              "stopped_epoch": 3, "epochs_saved": 1, "seconds_saved": 1.0})  # fmt: skip
        one = pool_rules(table).iloc[0]
        inside += one["regret_low"] <= 0.1 <= one["regret_high"]
    assert 0.9 <= inside / 200 <= 0.99
