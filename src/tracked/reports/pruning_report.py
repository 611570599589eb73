"""Log replayed rules for giving up: tables, picture and metrics; and lines for the terminal."""

import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tracked.analysis.pruning import PruningRule
from tracked.analysis.pruning_estimate import NEEDED, estimate_rules
from tracked.analysis.pruning_replay import replay_trials
from tracked.analysis.rule_replay import History, drop_repeats
from tracked.console.lines import format_count, format_duration
from tracked.reports.csv_table import write_csv
from tracked.reports.plots import BLUE, GREEN, GREY, ORANGE
from tracked.runs import schema
from tracked.runs.writer import Run

METRICS = {
    schema.RULE_SAVED: "search_saved", schema.RULE_SAVED_LOW: "search_saved_low",
    schema.RULE_SAVED_HIGH: "search_saved_high", schema.RULE_LOST: "search_lost",
    schema.RULE_LOST_LOW: "search_lost_low", schema.RULE_LOST_HIGH: "search_lost_high",
    schema.RULE_REGRET: "search_regret",
}  # fmt: skip


def log(run: Run, histories: Sequence[History], rules: Sequence[PruningRule]) -> list[str]:
    """Queue the replay of rules for giving up; returns lines for the terminal and the description.

    Args:
        histories: complete, of one metric, in the order of their start.
        rules: none of them queues nothing.
    """
    if not rules:
        return []
    distinct = drop_repeats(histories)
    trials, recorded = replay_trials(distinct, rules)
    table = recorded.merge(estimate_rules(distinct, rules), on="rule")
    write_csv(trials, run.folder / schema.PRUNING_TABLE)
    write_csv(table, run.folder / schema.PRUNING_RULES)
    run.log_artifact(run.folder / schema.PRUNING_TABLE)
    run.log_artifact(run.folder / schema.PRUNING_RULES)
    run.log_figure(draw(distinct, trials, table), schema.PRUNING_PICTURE)
    values = {
        name.format(rule=row["rule"]): float(row[column])
        for _, row in table.iterrows()
        for name, column in METRICS.items()
        if np.isfinite(row[column])
    }
    run.log_metrics(values, round(time.time() * 1000), step=0)
    return [line for _, row in table.iterrows() for line in describe(row, distinct[0].monitor)]


def describe(row: pd.Series, metric: str) -> list[str]:
    """Describe a rule in two sentences: the recorded order, and searches in random order.

    Args:
        row: of the table of rules.
    """
    minutes = "" if pd.isna(row["seconds_saved"]) else f" and {format_duration(row['seconds_saved'])}"
    kept = "the best training is kept"
    if row["winner_lost"]:
        kept = f"the best training is among them, and what is left is worse by {row['regret']:.4g}"
    share = row["epochs_saved"] / row["epochs"]
    lines = [
        f"{row['rule']}, in the recorded order: gives up {row['given_up']:,} of "
        f"{format_count(row['trainings'], 'training')}, and saves {row['epochs_saved']:,} of "
        f"{format_count(row['epochs'], 'epoch')} ({share:.0%}){minutes}; {kept}"
    ]
    searches = f"{row['rule']}, in searches of {row['search_trials']:,} of these trainings in random order"
    if pd.isna(row["search_lost_high"]):
        within = ("", f"; no interval: that takes {NEEDED} distinct trainings")
    else:
        saved, lost = (
            f" (95% interval {row[f'search_{name}_low']:.0%} to {row[f'search_{name}_high']:.0%})"
            for name in ("saved", "lost")
        )
        few = f"; the trainings make {row['search_separate']:,} such searches without a common one"
        within = (saved, f"{lost}{few}")
    lines.append(
        f"{searches}: saves {row['search_saved']:.0%} of the epochs{within[0]} and loses the best training in "
        f"{row['search_lost']:.1%}{within[1]}; {metric} is worse by {row['search_regret']:.4g} on average and "
        f"{row['search_regret_worst']:.4g} at most, for which so few trainings tell no interval"
    )
    return lines


def draw(histories: Sequence[History], trials: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Draw the curves of each rule, grey after the trial is given up, and the shares saved and lost."""
    figure = Figure(figsize=(5 * len(table) + 4, 4.6), layout="constrained")
    axes: Sequence[Axes] = figure.subplots(1, len(table) + 1, width_ratios=[5] * len(table) + [4])
    for ax, (_, row) in zip(axes, table.iterrows(), strict=False):
        own = trials[trials["rule"] == row["rule"]]
        for history, given_up, wins in zip(histories, own["given_up_epoch"], own["is_winner"], strict=True):
            epochs, end = np.arange(1, len(history.values) + 1), len(history.values) if pd.isna(given_up) else given_up
            color = GREEN if wins else BLUE
            if end < len(epochs):
                ax.plot(epochs[end - 1 :], history.values[end - 1 :], color=color if wins else GREY, lw=1, ls=":")
                ax.plot(end, history.values[end - 1], "x", color=ORANGE, ms=5, zorder=3)
            ax.plot(epochs[:end], history.values[:end], color=color, lw=2 if wins else 0.8, zorder=2)
        ax.set_title(f"{row['rule']}: {row['given_up']:,} of {row['trainings']:,} given up (crosses)")
        ax.set_xlabel("evaluation")
        ax.set_ylabel(f"{histories[0].monitor} (green: the best)")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    last = axes[-1]
    for offset, name, label, color in (
        (-0.1, "saved", "epochs saved", BLUE),
        (0.1, "lost", "searches that lose the best", ORANGE),
    ):
        places, means = np.arange(len(table)) + offset, table[f"search_{name}"].to_numpy()
        last.plot(places, means, "o", color=color, label=label)
        last.vlines(places, table[f"search_{name}_low"], table[f"search_{name}_high"], color=color, lw=2)
    last.set_xticks(np.arange(len(table)), table["rule"].tolist())
    last.set_xlim(-0.5, len(table) - 0.5)
    last.set_ylim(-0.02, 1.02)
    last.yaxis.set_major_formatter(PercentFormatter(1.0))
    last.set_title(f"searches of {table['search_trials'].iloc[0]:,} trials, 95% intervals")
    last.legend(fontsize=8, frameon=False)
    for ax in axes:
        ax.grid(alpha=0.25)
    return figure
