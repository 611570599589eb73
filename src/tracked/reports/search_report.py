"""Tell what a search has found: the table of its trials, lines for the terminal, the description of its run."""

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from tracked.analysis.trials import Direction, Trial, rank
from tracked.console.lines import format_count
from tracked.reports.search_scale import format_metric, format_value, is_number
from tracked.runs import schema
from tracked.runs.writer import escape_markdown

ORDER = ("pruned", "not_a_number", "failed", "running")  # behind the finished ones
FIRST = ("number", "status", "run_id", "run_name")
LAST = ("best", "best_epoch", "epochs", "seconds", "known", "note")
TOP = 5  # trials of the description
MAX_NOTE = 160  # characters


def sort_trials(trials: Sequence[Trial], direction: Direction) -> list[Trial]:
    """Sort all trials: the finished ones as :func:`rank`, then by status, and in it the earlier first."""
    ranked = rank(trials, direction)
    numbers = {one.number for one in ranked}
    others = [one for one in trials if one.number not in numbers]
    places = {"finished": -1} | {status: place for place, status in enumerate(ORDER)}
    return ranked + sorted(others, key=lambda one: (places[one.status], one.number))


def write_table(trials: Sequence[Trial]) -> pd.DataFrame:
    """Make the table of the trials, one row each, in the order of their numbers.

    Returns:
        ``FIRST``, the searched parameters, ``LAST``. best is missing without a finite value; known: the numbers of the
        trials that the proposal was made with, such as ``0-3,5``. A parameter named as a column is ``param_NAME``.
    """
    names = dict.fromkeys(name for one in trials for name in one.values)
    columns = {name: f"param_{name}" if name in (*FIRST, *LAST) else name for name in names}
    rows = []
    for one in sorted(trials, key=lambda one: one.number):
        row: dict[str, object] = {
            "number": one.number,
            "status": one.status,
            "run_id": one.run_id,
            "run_name": one.run_name,
        }
        row |= {columns[name]: value for name, value in one.values.items()}
        row |= {"best": one.best if is_number(one.best) else None, "best_epoch": one.best_epoch, "epochs": one.epochs}
        rows.append(row | {"seconds": one.seconds, "known": format_numbers(one.known), "note": one.note})
    table = pd.DataFrame(rows, columns=[*FIRST, *columns.values(), *LAST])
    return table.astype({"best": float})


def format_numbers(numbers: Sequence[int]) -> str:
    """Format ascending numbers as ranges: ``0-3,5``; nothing for none."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(f"{first}-{last}" if first < last else f"{first}" for first, last in ranges)


def count_statuses(trials: Sequence[Trial]) -> str:
    """Count the trials by status: ``12 trials: 9 finished, 2 pruned, 1 failed``."""
    counts: Counter[str] = Counter(one.status for one in trials)
    told = [f"{counts[status]:,} {status.replace('_', ' ')}" for status in ("finished", *ORDER) if counts[status]]
    return f"{format_count(len(trials), 'trial')}{': ' if told else ''}{', '.join(told)}"


def count_metrics(trials: Sequence[Trial], direction: Direction) -> dict[str, float]:
    """Give the metrics of the search's run."""
    counts = Counter(one.status for one in trials)
    metrics: dict[str, float] = {
        schema.TRIALS_FINISHED: counts["finished"],
        schema.TRIALS_PRUNED: counts["pruned"],
        schema.TRIALS_NOT_A_NUMBER: counts["not_a_number"],
        schema.TRIALS_FAILED: counts["failed"],
    }
    for best in rank(trials, direction)[:1]:
        metrics |= {schema.BEST_TRIAL: best.number, schema.BEST_TRIAL_VALUE: best.best or 0.0}
    return metrics


def format_line(trial: Trial, best: Trial | None, monitor: str) -> str:
    """Tell in one line of a trial that has ended, and of the best one so far; None: no trial has finished yet."""
    after = f"after {format_count(trial.epochs, 'epoch')}, {trial.seconds:.0f} s"
    if trial.status == "finished" and is_number(trial.best):
        found = f"{monitor} {format_metric(trial.best)} after epoch {trial.best_epoch} of {trial.epochs}"
        told = f"{found}, {trial.seconds:.0f} s"
    elif trial.status == "pruned":
        told = f"pruned {after}, at {monitor} {format_metric(trial.history[-1] if trial.history else None)}"
    else:
        told = f"{monitor} is not a number {after}" if trial.status == "not_a_number" else f"{trial.status} {after}"
    if trial.note and trial.status != "finished":
        told += f" ({_shorten(trial.note)})"
    if best is None:
        return f"trial {trial.number}: {told}; no trial has finished yet"
    if best.number == trial.number:
        return f"trial {trial.number}: {told}; the best so far"
    return f"trial {trial.number}: {told}; best is trial {best.number} with {format_metric(best.best)}"


def describe(
    trials: Sequence[Trial],
    names: Sequence[str],
    monitor: str,
    direction: Direction,
    experiment_id: str,
    verdict: str = "",
) -> str:
    """Describe a search in Markdown, for its run: how many trials came to what, the best one, a table of the best five.

    Args:
        names: of the searched parameters, in the order of the space.
        verdict: what is known of the winner's lead, in a sentence.
    """
    better = "lower" if direction == "min" else "higher"
    text = escape_markdown(f"{count_statuses(trials)}. {monitor}: {better} is better.")
    ranked = rank(trials, direction)
    if not ranked:
        return f"{text}\n\nNo trial has finished with a value."
    first = ranked[0]
    values = ", ".join(f"{name}={format_value(first.values[name])}" for name in names if name in first.values)
    found = f"{monitor} {format_metric(first.best)} after epoch {first.best_epoch} of {first.epochs}"
    text += f"\n\nBest: {_link(first, experiment_id)}, {escape_markdown(f'{found}: {values}')}."
    if verdict:
        text += f"\n\n{escape_markdown(verdict)}"
    rows = [["trial", monitor, "best epoch", "epochs", "seconds", *names]]
    for one in ranked[:TOP]:
        cells = [format_metric(one.best), str(one.best_epoch), str(one.epochs), f"{one.seconds:.0f}"]
        rows.append([*cells, *(_shorten(format_value(one.values.get(name, "-")), 40) for name in names)])
    links = ["", *(_link(one, experiment_id) for one in ranked[:TOP])]
    head = f"| {' | '.join(map(escape_markdown, rows[0]))} |\n|{'---|' * len(rows[0])}"
    body = [
        f"| {' | '.join([link, *map(escape_markdown, row)])} |" for link, row in zip(links[1:], rows[1:], strict=True)
    ]
    return "\n".join([f"{text}\n", head, *body])


def _link(trial: Trial, experiment_id: str) -> str:
    name = f"trial {trial.number}"
    return f"[{name}](#/experiments/{experiment_id}/runs/{trial.run_id})" if trial.run_id else name


def _shorten(text: str, size: int = MAX_NOTE) -> str:
    line = " ".join(text.split())
    return line if len(line) <= size else f"{line[: size - 1]}…"
