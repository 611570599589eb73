"""What a replay leaves at its run: the table, pictures, figures, and the few lines of them for the terminal."""

import time
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from tracked.analysis.recommendation import pool_rules, recommend
from tracked.analysis.rule_replay import History, drop_repeats
from tracked.console.lines import format_count, format_duration
from tracked.reports import rule_plots
from tracked.runs import schema
from tracked.runs.writer import Run, escape_markdown

ROWS = 12  # of a table on the terminal


def log_one(run: Run, experiment_id: str, history: History, table: pd.DataFrame) -> str:
    """Queue the replay of one training; returns lines for the terminal."""
    best = history.best_epoch
    lines = [
        f"{history.monitor} of run {history.run_id} {history.run_name!r}: "
        f"{format_count(len(history.values), 'epoch')}, the best is {history.values[best - 1]:.4f} after epoch {best}"
    ]
    whole = table[table["best_epoch"].eq(best).fillna(False)].sort_values(
        ["patience", "epochs_saved"], ascending=[True, False]
    )
    if whole.empty:
        lines.append("no rule of the grid is answered and keeps that epoch")
    else:
        rule = whole.iloc[0]
        minutes = "" if pd.isna(rule["seconds_saved"]) else f" ({format_duration(rule['seconds_saved'])})"
        saved = (
            f"{format_count(rule['epochs_saved'], 'epoch')} saved{minutes}" if rule["epochs_saved"] else "nothing saved"
        )
        lines.append(
            f"patience {rule['patience']} with min_delta {rule['min_delta']:g} keeps that epoch and stops after epoch "
            f"{rule['stopped_epoch']}: {saved}"
        )
        figures = {schema.SHORTEST_PATIENCE: rule["patience"], schema.EPOCHS_SAVED: rule["epochs_saved"]}
        _figures(run, {**figures, schema.SECONDS_SAVED: rule["seconds_saved"]})
    link = (
        f"[{escape_markdown(history.run_name) or history.run_id}](#/experiments/{experiment_id}/runs/{history.run_id})"
    )
    run.set_tags({schema.SOURCE_RUN_ID: history.run_id, schema.PARENT_RUN_ID: history.run_id})
    run.set_description(
        f"Replay of {link}.\n\n" + "\n\n".join(f"{line[0].upper()}{line[1:]}." for line in map(escape_markdown, lines))
    )
    title = f"{history.monitor}: what each rule loses, and when it stops"
    heat = rule_plots.draw_heat_map(table.assign(epochs=table["stopped_epoch"].astype(float)), title)
    _files(
        run, {schema.REPLAY_TABLE: table}, {schema.HEAT_MAP: heat, schema.CURVE: rule_plots.draw_curve(history, table)}
    )
    columns = [
        "patience",
        "min_delta",
        "stopped_epoch",
        "best_epoch",
        "best_value",
        "epochs_saved",
        "seconds_saved",
        "regret",
    ]
    return "\n".join([*lines, _shown(table, "best_epoch", columns)])


def log_pooled(
    run: Run, experiment_id: str, histories: Sequence[History], table: pd.DataFrame, tolerance: float, unlike: str
) -> str:
    """Queue the replay of several trainings of one metric; returns lines for the terminal.

    Args:
        unlike: a sentence where the trainings are not of the same data; else empty.
    """
    different = drop_repeats(histories)
    judged = table[table["run_id"].isin([history.run_id for history in different])]
    pool, found = pool_rules(judged), recommend(judged, tolerance)
    metric, trained = histories[0].monitor, sum(len(history.values) for history in histories)
    many = format_count(len(histories), "training")
    lines = [f"{metric} of {many}, {format_count(trained, 'epoch')}", *filter(None, [unlike]), found.sentence]
    if repeated := len(histories) - len(different):
        lines.insert(
            1, f"{format_count(repeated, 'training')} left out, as another one has the same values from epoch 1 on"
        )
    if found.patience is not None:
        _figures(run, {
            schema.RECOMMENDED_PATIENCE: found.patience, schema.RECOMMENDED_MIN_DELTA: found.min_delta,
            schema.REGRET: found.regret, schema.REGRET_LOW: found.regret_low, schema.REGRET_HIGH: found.regret_high,
            schema.REGRET_WORST: found.regret_worst, schema.SERVED: found.served, schema.ANSWERED: found.runs,
            schema.EPOCHS_SAVED: found.epochs_saved, schema.SECONDS_SAVED: found.seconds_saved,
        })  # fmt: skip
    _figures(run, {schema.RUNS: len(histories), schema.RUNS_COMPARED: found.runs})
    run.set_tags({schema.SOURCE_EXPERIMENT_ID: experiment_id})
    link = f"[{many}](#/experiments/{experiment_id}/runs)"
    run.set_description(
        f"Replay of {link}, named in {schema.REPLAY_TABLE}.\n\n" + "\n\n".join(map(escape_markdown, lines[1:]))
    )
    least, most = pool["runs"].min(), pool["runs"].max()
    answers = f"{most:,} runs" if pool["population"].nunique() == 1 else f"the {least:,} to {most:,} runs that answer"
    pictures = {
        schema.HEAT_MAP: rule_plots.draw_heat_map(pool, f"{metric}: each rule's mean regret and stop, of {answers}"),
        schema.POOLED: rule_plots.draw_pooled(pool, metric, tolerance, found.patience),
    }
    _files(run, {schema.REPLAY_TABLE: table, schema.POOLED_TABLE: pool}, pictures)
    columns = [
        "patience",
        "min_delta",
        "runs",
        "regret",
        "regret_low",
        "regret_high",
        "regret_worst",
        "epochs",
        "epochs_saved",
        "seconds_saved",
    ]
    return "\n".join([*lines, _shown(pool, "regret", columns)])


def _figures(run: Run, values: Mapping[str, float]) -> None:
    known = {name: float(value) for name, value in values.items() if not pd.isna(value)}
    run.log_metrics(known, round(time.time() * 1000), step=0)


def _files(run: Run, tables: Mapping[str, pd.DataFrame], pictures: Mapping[str, Figure]) -> None:
    for name, table in tables.items():
        table.to_csv(run.folder / name, index=False)
        run.log_artifact(run.folder / name)
    for name, picture in pictures.items():
        run.log_figure(picture, name)


def _shown(table: pd.DataFrame, by: str, columns: Sequence[str]) -> str:
    """The rows at which, with growing patience, ``by`` changes, and the longest patience of each min_delta."""
    rows = table.sort_values(["min_delta", "patience"])
    text = rows[by].map(lambda value: _cell(by, value))
    changes = (text != text.groupby(rows["min_delta"]).shift()) | ~rows["min_delta"].duplicated(keep="last")
    few = rows[changes].drop_duplicates([name for name in columns if name != "min_delta"]).head(ROWS)
    cells = pd.DataFrame({name: [_cell(name, value) for value in few[name]] for name in columns})
    return f"{cells.to_string(index=False)}\n{len(few)} of {len(table):,} rules; all of them are in the run's tables"


def _cell(column: str, value: float) -> str:
    if pd.isna(value):
        return "-"
    digits = {"regret": ".4f", "best": ".4f", "seconds": ".1f", "epochs": ".4g", "min": "g"}
    return format(value, digits.get(column.split("_")[0], "") if isinstance(value, float) else "")
