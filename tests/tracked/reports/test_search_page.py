"""The page of a search: the values in its figures and tables, what it escapes, its size."""

import json
import math
import re
from dataclasses import replace
from html import unescape
from typing import Any

import pytest

from helpers.trials import AXES, make_trials
from tracked.analysis.trials import Direction, Trial, rank
from tracked.reports.search_curves import MAX_POINTS, choose_curves
from tracked.reports.search_importance import measure_importance
from tracked.reports.search_page import Confirmation, render_search
from tracked.reports.search_scale import Axis, format_metric, limit_values, make_scale

EVIL = "</script><script>alert('x')</script>"


def page(trials: list[Trial], axes: tuple[Axis, ...] = AXES, direction: Direction = "min", **given: Any) -> str:
    return render_search("A search", trials, axes, "val_loss", direction, **given)


def figures(html: str) -> list[list[dict[str, Any]]]:
    """Read the traces of each figure from the page's script."""
    found = []
    for match in re.finditer(r'Plotly\.newPlot\(\s*"[^"]+",\s*', html):
        traces, _ = json.JSONDecoder().raw_decode(html, match.end())
        found.append(traces)
    return found


def rows(html: str, heading: str) -> list[list[str]]:
    table = html.split(f"<h2>{heading}</h2>")[1].split("</table>")[0]
    lines = re.findall(r"<tr>(.*?)</tr>", table)
    return [[unescape(re.sub("<[^>]*>", "", cell)) for cell in re.findall(r"<t[hd][ >].*?</t|<t[hd]>.*?</t", line)]
            for line in lines]  # fmt: skip


def named(traces: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (trace,) = [one for one in traces if one.get("name") == name and one.get("showlegend") is not False]
    return trace


def trial(number: int, *history: float, status: Any = "finished", **given: Any) -> Trial:
    finite = [value for value in history if math.isfinite(value)]
    best = min(finite, default=None)
    epoch = list(history).index(best) + 1 if best is not None else 0
    return Trial(
        number, {"rate": 0.1 * (number + 1)}, (), status, history=history, best=best, best_epoch=epoch, **given
    )


def test_history_shows_each_value_and_the_best_finished_one_so_far() -> None:
    trials = [trial(0, 0.5, 0.4), trial(1, 0.1, status="pruned"), trial(2, 0.45), trial(3, 0.35), trial(4, 0.3)]
    traces = figures(page(trials[::-1], (Axis("rate"),)))[0]
    assert named(traces, "best so far")["x"] == [0, 1, 2, 3, 4]
    assert named(traces, "best so far")["y"] == [0.4, 0.4, 0.4, 0.35, 0.3]
    assert (named(traces, "finished")["x"], named(traces, "finished")["y"]) == ([0, 2, 3, 4], [0.4, 0.45, 0.35, 0.3])
    assert (named(traces, "pruned")["x"], named(traces, "pruned")["y"]) == ([1], [0.1])
    assert named(traces, "finished")["hovertext"][0] == (
        "<b>trial 0</b> (finished)<br>val_loss 0.4000, epoch 2 of 2<br>rate: 0.1"
    )


def test_history_of_a_maximum_rises() -> None:
    trials = [replace(trial(n, value), best=value) for n, value in enumerate([0.5, 0.7, 0.6])]
    html = page(trials, (Axis("rate"),), "max")
    assert named(figures(html)[0], "best so far")["y"] == [0.5, 0.7, 0.7]
    assert "higher is better" in html
    assert [row[0] for row in rows(html, "Trials")[1:]] == ["1", "2", "0"]


def test_curves_mark_the_best_and_dash_what_was_given_up() -> None:
    trials = make_trials(30)
    traces = figures(page(trials))[1]
    best = rank(trials, "min")[0]
    line = named(traces, f"best: trial {best.number}, {format_metric(best.best)}")
    assert line["x"] == list(range(1, best.epochs + 1))
    assert line["y"] == pytest.approx(list(best.history), rel=1e-5)
    pruned = named(traces, "pruned")
    assert pruned["line"]["dash"] == "dash"
    assert pruned["x"] == [1, 2, None] * 5 + [1, 2]  # six trials with gaps between
    assert pruned["hovertext"][0].startswith("<b>trial 4</b> (pruned)<br>val_loss 0.")
    (nan,) = [one for one in traces if one.get("name") == "not a number" and one["mode"] == "lines"]
    assert nan["y"][2] is None


def test_coordinates_place_values_on_log_axes_and_choices() -> None:
    scale = make_scale(AXES[0], [])
    assert scale.place(1e-3, 0) == pytest.approx(0.5)
    assert (scale.texts[0], scale.texts[-1]) == ("0.0001", "0.01")
    choices = make_scale(AXES[3], [])
    assert list(choices.texts) == ["constant", "cosine"]
    assert abs(choices.place("cosine", 7) - 1) < 0.06
    assert choices.place("plateau", 7) is None
    trials = make_trials(12)
    traces = figures(page(trials))[2]
    lines = [one for one in traces if one["mode"] == "lines+markers"]
    assert sum(one["x"].count(0) for one in lines) == len(rank(trials, "min"))
    last = lines[-1]  # the best is drawn over the others
    assert last["hovertext"][-1].startswith(f"<b>trial {rank(trials, 'min')[0].number}</b>")


def test_importance_finds_the_parameter_that_decides_or_says_that_it_is_too_early() -> None:
    trials = make_trials(40)
    importance = measure_importance(trials, AXES, "min")
    assert next(iter(importance)) == "learning_rate"
    assert sum(importance.values()) == pytest.approx(1)
    upside_down = [replace(one, best=-(one.best or 0)) for one in trials]
    assert measure_importance(upside_down, AXES, "max") == pytest.approx(importance)
    assert figures(page(trials))[3][0]["y"][-1] == "learning_rate"
    assert measure_importance(trials[:9], AXES, "min") == {}
    assert measure_importance([replace(one, best=0.3) for one in trials], AXES, "min") == {}
    assert "Too early to tell" in page(trials[:9])


def test_table_has_all_trials_the_best_first_and_confirmations() -> None:
    trials = make_trials(30)
    confirmations = [Confirmation("trial 3", [7, 8], [0.29, 0.28], 0.285), Confirmation("defaults", [8], [0.31], 0.31)]
    html = page(trials, confirmations=confirmations, verdict="Trial 3 is better.")
    head, *body = rows(html, "Trials")
    assert head == ["trial", "status", "val_loss", "best epoch", "seconds", *(axis.name for axis in AXES), "note"]
    best = rank(trials, "min")[0]
    assert body[0][:4] == [
        str(best.number),
        "finished",
        format_metric(best.best),
        f"{best.best_epoch} of {best.epochs}",
    ]
    assert len(body) == 30
    assert body[-1][-1] == "ResourceExhaustedError: out of memory"
    assert rows(html, "Confirmation with new seeds") == [
        ["what", "seed 7", "seed 8", "mean"], ["trial 3", "0.2900", "0.2800", "0.2850"],
        ["defaults", "-", "0.3100", "0.3100"],
    ]  # fmt: skip
    assert "<p>Trial 3 is better.</p>" in html


@pytest.mark.parametrize("direction", ["min", "max"])
@pytest.mark.parametrize(
    "trials",
    [
        [], [trial(0, 0.5)], [trial(0), trial(1, status="running")], make_trials(2),
        [trial(n, status="failed", note="OSError: x") for n in range(12)], [trial(n, 0.5) for n in range(12)],
        [trial(n, math.nan, status="not_a_number") for n in range(3)],
        [trial(0, 0.5, math.inf), replace(trial(1, 0.2), best=math.inf), replace(trial(2, 0.1), best=math.nan)],
    ],
    ids=["none", "one", "no epoch", "two", "all failed", "all equal", "all not a number", "infinite"],
)  # fmt: skip
def test_page_of_few_or_odd_trials_is_whole(trials: list[Trial], direction: Direction) -> None:
    axes = AXES if trials and "dropout" in trials[0].values else (Axis("rate"),)
    html = page(trials, axes, direction)
    assert html.endswith("</body></html>\n")
    shown = sum(len(one["x"]) for one in figures(html)[0] if one["mode"] == "markers") if trials else 0
    assert shown == len(trials)
    if trials:
        assert len(rows(html, "Trials")) == 1 + len(trials)
        assert not re.search(r"\b(NaN|Infinity)\b", json.dumps(figures(html)))


def test_far_values_stand_at_the_end_of_the_axis() -> None:
    low, high = limit_values([0.3, 0.31, 0.32, 0.33, 90.0], "min")
    assert 0.25 < low < 0.3
    assert 0.33 < high < 0.4
    assert limit_values([None, math.nan], "min") == (0, 1)
    trials = [trial(n, value) for n, value in enumerate([0.3, 0.31, 0.32, 0.33, 90.0])]
    drawn = named(figures(page(trials, (Axis("rate"),)))[0], "finished")
    assert high - 0.01 < drawn["y"][-1] < high
    assert "val_loss 90.0000" in drawn["hovertext"][-1]


def test_page_escapes_names_values_and_notes() -> None:
    ones = [replace(one, values={EVIL: EVIL}, run_name=EVIL, note=EVIL) for one in make_trials(12)]
    html = render_search(
        EVIL, ones, [Axis(EVIL, choices=(EVIL, "b"))], EVIL, "min", [Confirmation(EVIL, [1], [0.1], 0.1)], EVIL
    )
    assert "alert('x')</script>" not in html
    assert "<script>alert" not in html
    assert html.count("<script") == html.count("</script>")
    assert 'src="http' not in html


def test_page_of_a_thousand_trials_is_below_six_megabytes() -> None:
    trials = make_trials(1000)
    assert len(page(trials).encode()) < 6_000_000
    long = [replace(one, history=[0.5] * 100) for one in trials]
    chosen = choose_curves(long, "min")
    assert sum(one.epochs for one in chosen) == MAX_POINTS
    assert {one.number for one in rank(long, "min")[:50]} <= {one.number for one in chosen}
    html = page(long)
    assert f"{1000 - len(chosen)} more have no room" in html
    assert len(html.encode()) < 6_000_000
