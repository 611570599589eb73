"""Rank trainings in one table, from their runs, histories and evaluations, and format tables for people."""

from collections.abc import Mapping, Sequence

import pandas as pd

from tracked.analysis.rule_replay import History
from tracked.experiment import Experiment
from tracked.runs.evaluations import count_leaked
from tracked.runs.queries import MlflowRun, name_data, status_of
from tracked.runs.run_parameters import read_parameters
from tracked.runs.schema import BEST_EPOCH, ROWS_DIGEST, STOP_REASON, VERB


def fixed_columns(owner: Experiment) -> list[str]:
    """List the columns that every comparison of an experiment has."""
    return [
        "run_id", "run_name", "state", "data", "best_value", "best_epoch", "stopped_epoch", "stop_reason", "seconds",
        *_scores(owner), f"test_{owner.terms.rows}", "test_seen", "test_rows", "evaluation_run_id", "version",
    ]  # fmt: skip


def _scores(owner: Experiment) -> list[str]:
    return [f"test_{name}" for name in owner.headline]


def differing_parameters(runs: Sequence[MlflowRun]) -> dict[str, list[str]]:
    """Return the parameters that differ between the runs, each with a value per run; empty where a run lacks it."""
    parameters = [read_parameters(run) for run in runs]
    names = dict.fromkeys(name for values in parameters for name in values)
    columns = {name: [values.get(name, "") for values in parameters] for name in names}
    return {name: column for name, column in columns.items() if len(set(column)) > 1}


def rank_trainings(
    owner: Experiment,
    runs: Sequence[MlflowRun],
    histories: Mapping[str, History],
    evaluations: Mapping[str, MlflowRun],
    versions: Mapping[str, str],
) -> pd.DataFrame:
    """Rank finished trainings, one row each, the best first; those on the most common data before those on other data.

    Args:
        runs: all that are compared; each parameter that differs between them gets a column.
        histories: by run id, of one metric; runs without a history come last.
        evaluations: by run id; the source of the test scores.
        versions: by run id, as text.

    Returns:
        :func:`fixed_columns` and the parameters. data: what the training was measured on; test_rows: the digest of the
        test rows; test_seen: how many of the test rows the model has seen. These three are empty or missing where
        unknown. best_value: the metric at best_epoch, the checkpoint's epoch. seconds: training time until the last
        epoch's end, from the history.
    """
    rows = []
    for run in runs:
        history, tags = histories.get(run.info.run_id), run.data.tags
        row = {
            "run_id": run.info.run_id,
            "run_name": run.info.run_name or "",
            "state": status_of(run),
            "data": name_data(run),
        }
        if history is not None:
            # A training of this project may have monitored another metric than the compared one.
            kept = int(run.data.metrics.get(BEST_EPOCH, 0)) if VERB in tags else 0
            best = kept or history.best_epoch
            row |= {
                "best_value": history.values[best - 1],
                "best_epoch": best,
                "stopped_epoch": len(history.values),
                "seconds": history.seconds[-1],
            }
        row |= {"stop_reason": tags.get(STOP_REASON, ""), "version": versions.get(run.info.run_id, "")}
        if evaluation := evaluations.get(run.info.run_id):
            metrics = evaluation.data.metrics
            row |= {name: metrics.get(name) for name in (*_scores(owner), f"test_{owner.terms.rows}")}
            row["evaluation_run_id"], row["test_seen"] = evaluation.info.run_id, count_leaked(owner, evaluation)
            row["test_rows"] = evaluation.data.tags.get(ROWS_DIGEST, "")[:12]
        rows.append(row)
    table = pd.DataFrame(rows, columns=fixed_columns(owner))
    for name, column in differing_parameters(runs).items():
        table[name if name not in fixed_columns(owner) else f"param_{name}"] = column
    for name in ("best_epoch", "stopped_epoch", f"test_{owner.terms.rows}", "test_seen"):
        table[name] = table[name].astype("Int64")
    is_min = next(iter(histories.values())).mode == "min" if histories else True
    table = table.sort_values("best_value", ascending=is_min, kind="stable", ignore_index=True)
    known = table["data"].where(table["data"] != "")
    groups = known.map(known.value_counts()).fillna(0)  # trainings on unknown data come last
    order = table.assign(size=groups, first=table.groupby("data", sort=False).ngroup())
    return table.loc[order.sort_values(["size", "first"], ascending=[False, True], kind="stable").index].reset_index(
        drop=True
    )


def format_table(owner: Experiment, table: pd.DataFrame) -> pd.DataFrame:
    """Format the table for people; test scores on rows that the model has seen, or may have seen, are marked."""
    marked = format_cells(table)
    for name in _scores(owner):
        if name in marked:
            marked[name] = [
                value if value == "-" or seen == "0" else f"{value} ({'?' if seen == '-' else seen} seen)"
                for value, seen in zip(marked[name], marked["test_seen"], strict=True)
            ]
    return marked


def list_others(runs: Sequence[MlflowRun]) -> pd.DataFrame:
    """List unfinished trainings: run_id, run_name, state and stop_reason."""
    rows = [
        {"run_id": run.info.run_id, "run_name": run.info.run_name or "", "state": status_of(run),
         "stop_reason": run.data.tags.get(STOP_REASON, "")}
        for run in runs
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["run_id", "run_name", "state", "stop_reason"])


def fit_to_width(table: pd.DataFrame, width: int) -> str:
    """Format a table in at most ``width`` characters: long names are shortened, then the last columns dropped."""
    cells = format_cells(table)
    while True:
        text = cells.to_string(index=False)
        excess = max(map(len, text.splitlines())) - width
        if excess <= 0:
            return text
        longest = cells["run_name"].str.len().max()
        shortest = 12 if len(cells.columns) <= 5 else 40  # characters of a name; below it, columns are dropped
        if longest > shortest:
            cells["run_name"] = [shorten(name, max(longest - excess, shortest)) for name in cells["run_name"]]
        elif len(cells.columns) > 2:
            cells = cells[cells.columns[:-1]]
        else:
            return text


def format_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Format a table cell by cell."""
    return pd.DataFrame({name: [format_cell(str(name), value) for value in table[name]] for name in table})


def shorten_names(names: Sequence[str]) -> list[str]:
    """Drop the words that all names share; a name of only such words stays whole."""
    words = [name.split() for name in names]
    common = set(words[0]).intersection(*words[1:]) if words else set()
    return [
        " ".join(word for word in own if word not in common) or name for own, name in zip(words, names, strict=True)
    ]


def shorten(text: str, size: int) -> str:
    """Cut a text to at most ``size`` characters, with an ellipsis."""
    return text if len(text) <= size else f"{text[: size - 1]}…"


def format_cell(column: str, value: object) -> str:
    """Format a value for people; a missing value is a dash."""
    if value is None or value is pd.NA or value != value or value == "":
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if column == "seconds" else f"{value:.4f}"
    return str(value)
