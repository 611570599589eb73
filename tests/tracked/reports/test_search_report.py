"""What is told of a search: its table, its lines, its description, its picture."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.trials import AXES, make_trials
from tracked.analysis.trials import Trial, rank
from tracked.reports import search_report
from tracked.reports.search_plots import draw_search
from tracked.reports.search_scale import format_metric

NAMES = [axis.name for axis in AXES]
BEST = Trial(1, {"rate": 0.1}, (), "finished", "b1", "one", [0.3, 0.2875], 0.2875, 2, 8.0)


def test_table_has_a_row_per_trial_in_their_order() -> None:
    trials = make_trials(12)
    trials[3] = replace(trials[3], known=(0, 2), values={**trials[3].values, "best": 5})
    table = search_report.write_table(trials[::-1])
    first = ["number", "status", "run_id", "run_name", *NAMES, "param_best"]
    assert list(table) == [*first, "best", "best_epoch", "epochs", "seconds", "known", "note"]
    assert table["number"].tolist() == list(range(12))
    row = table.iloc[3]
    assert (row["learning_rate"], row["param_best"]) == (trials[3].values["learning_rate"], 5)
    assert (row["best"], row["best_epoch"], row["epochs"]) == (trials[3].best, trials[3].best_epoch, trials[3].epochs)
    assert (table["known"][0], row["known"], table["known"][11]) == ("", "0,2", "0-10")
    assert table["status"][11] == "not_a_number"
    assert len(search_report.write_table([])) == 0
    assert math.isnan(search_report.write_table([replace(BEST, best=math.inf)])["best"][0])


@settings(deadline=None)
@given(st.sets(st.integers(0, 60)).map(sorted))
def test_formatted_numbers_read_back_as_the_same_numbers(numbers: list[int]) -> None:
    read = []
    for part in filter(None, search_report.format_numbers(numbers).split(",")):
        first, _, last = part.partition("-")
        read += range(int(first), int(last or first) + 1)
    assert read == numbers


@pytest.mark.parametrize(
    ("changes", "best", "line"),
    [
        ({"history": [0.4] * 7, "best": 0.29312, "best_epoch": 4, "seconds": 31.2}, BEST,
         "val_loss 0.2931 after epoch 4 of 7, 31 s; best is trial 1 with 0.2875"),
        ({"status": "pruned", "history": [0.4, 0.5], "seconds": 9, "note": "median:\n0.5 is worse"}, BEST,
         "pruned after 2 epochs, 9 s, at val_loss 0.5000 (median: 0.5 is worse); best is trial 1 with 0.2875"),
        ({"status": "failed", "history": [], "note": "OSError: full"}, None,
         "failed after 0 epochs, 0 s (OSError: full); no trial has finished yet"),
        ({"status": "not_a_number", "history": [math.nan], "seconds": 4}, BEST,
         "val_loss is not a number after 1 epoch, 4 s; best is trial 1 with 0.2875"),
    ],
    ids=["finished", "pruned", "failed", "not a number"],
)  # fmt: skip
def test_line_tells_what_came_of_a_trial(changes: dict[str, Any], best: Trial | None, line: str) -> None:
    trial = replace(Trial(3, {}, status="finished"), **changes)
    assert search_report.format_line(trial, best, "val_loss") == f"trial 3: {line}"


def test_line_of_the_best_trial_says_so() -> None:
    assert (
        search_report.format_line(BEST, BEST, "loss") == "trial 1: loss 0.2875 after epoch 2 of 2, 8 s; the best so far"
    )


def test_description_links_the_best_five() -> None:
    trials = make_trials(30)
    ranked = rank(trials, "min")
    text = search_report.describe(trials, NAMES, "val_loss", "min", "7", "Not | confirmed.")
    assert text.startswith("30 trials: 22 finished, 6 pruned, 1 not a number, 1 failed. val_loss: lower is better.\n")
    link = f"[trial {ranked[0].number}](#/experiments/7/runs/{ranked[0].run_id})"
    assert f"Best: {link}, val_loss {format_metric(ranked[0].best)} after epoch" in text
    assert "Not \\| confirmed." in text
    lines = text.splitlines()[-5:]
    assert [line.split("]")[0] for line in lines] == [f"| [trial {one.number}" for one in ranked[:5]]
    assert {line.count("|") for line in text.splitlines()[-7:]} == {11}
    assert "No trial has finished with a value." in search_report.describe([], [], "loss", "max", "7")


def test_metrics_count_the_trials_and_name_the_best() -> None:
    trials = make_trials(30)
    best = rank(trials, "min")[0]
    assert search_report.count_metrics(trials, "min") == {
        "trials_finished": 22, "trials_pruned": 6, "trials_not_a_number": 1, "trials_failed": 1,
        "best_trial": best.number, "best_trial_value": best.best,
    }  # fmt: skip
    assert "best_trial" not in search_report.count_metrics([], "min")


def test_picture_shows_history_and_the_best_curves() -> None:
    trials = make_trials(30)
    history, curves = draw_search(trials, "val_loss", "min").axes
    lines = {line.get_label(): line for line in history.get_lines()}
    ranked = rank(trials, "min")
    assert lines["best so far"].get_ydata()[-1] == ranked[0].best
    assert len(lines["finished"].get_xdata()) == 22
    assert list(lines["failed"].get_xdata()) == [17]
    labels = [text.get_text() for text in curves.get_legend().get_texts()]
    assert labels == [f"trial {one.number}: {format_metric(one.best)}" for one in ranked[:3]]
    assert len(curves.get_lines()) == 30


@pytest.mark.parametrize("trials", [[], [Trial(0, {})], [replace(BEST, status="failed", best=None, history=[])]])
def test_picture_of_no_results_has_no_best(trials: list[Trial]) -> None:
    history, _ = draw_search(trials, "$x", "max").axes
    assert "best so far" not in [line.get_label() for line in history.get_lines()]
