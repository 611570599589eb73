"""Log a replay: tables, plots and metrics at its run; and lines for the terminal."""

import time
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from tracked.analysis.plateau_replay import find_first_cuts
from tracked.analysis.recommendation import pool_rules, recommend
from tracked.analysis.rule_replay import History, drop_repeats
from tracked.console.lines import format_count, format_duration
from tracked.reports import plateau_lines, rule_plots
from tracked.reports.csv_table import write_csv
from tracked.runs import schema
from tracked.runs.writer import Run, escape_markdown

MAX_ROWS = 12  # of a table on the terminal


def log_one(run: Run, experiment_id: str, history: History, table: pd.DataFrame) -> str:
    """Queue the replay of one training; returns lines for the terminal."""
    best = history.best_epoch
    lines = [
        f"{history.monitor} of run {history.run_id} {history.run_name!r}: "
        f"{format_count(len(history.values), 'epoch')}, best value {history.values[best - 1]:.4f} after epoch {best}"
    ]
    whole = table[table["best_epoch"].eq(best).fillna(False)].sort_values(
        ["patience", "epochs_saved"], ascending=[True, False]
    )
    if whole.empty:
        lines.append("no rule of the grid stops within these epochs and keeps the best one")
    else:
        rule = whole.iloc[0]
        minutes = "" if pd.isna(rule["seconds_saved"]) else f" ({format_duration(rule['seconds_saved'])})"
        saved = (
            f"{format_count(rule['epochs_saved'], 'epoch')} saved{minutes}" if rule["epochs_saved"] else "nothing saved"
        )
        lines.append(
            f"patience {rule['patience']} with min_delta {rule['min_delta']:g} keeps it and stops after epoch "
            f"{rule['stopped_epoch']}: {saved}"
        )
        metrics = {schema.SHORTEST_PATIENCE: rule["patience"], schema.EPOCHS_SAVED: rule["epochs_saved"]}
        _log_metrics(run, {**metrics, schema.SECONDS_SAVED: rule["seconds_saved"]})
    cuts = find_first_cuts([history], table)
    lines += plateau_lines.describe_one(history, cuts)
    link = (
        f"[{escape_markdown(history.run_name) or history.run_id}](#/experiments/{experiment_id}/runs/{history.run_id})"
    )
    run.set_tags({schema.SOURCE_RUN_ID: history.run_id, schema.PARENT_RUN_ID: history.run_id})
    run.set_description(
        f"Replay of {link}.\n\n" + "\n\n".join(f"{line[0].upper()}{line[1:]}." for line in map(escape_markdown, lines))
    )
    title = f"{history.monitor}: regret and stop of each rule"
    heat = rule_plots.draw_heat_map(table.assign(epochs=table["stopped_epoch"].astype(float)), title)
    plots = {schema.HEAT_MAP: heat, schema.CURVE: rule_plots.draw_curve(history, table)}
    _log_files(run, {schema.REPLAY_TABLE: table, schema.FIRST_CUTS: cuts}, plots)
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
    return "\n".join([*lines, _format_changes(table, "best_epoch", columns)])


def log_pooled(
    run: Run,
    experiment_id: str,
    histories: Sequence[History],
    table: pd.DataFrame,
    tolerance: float,
    warning: str,
    more: Sequence[str] = (),
) -> str:
    """Queue the replay of several trainings of one metric; returns lines for the terminal.

    Args:
        warning: a sentence if the trainings were not all measured on the same data; else empty.
        more: lines of what else was replayed.
    """
    distinct = drop_repeats(histories)
    distinct_rows = table[table["run_id"].isin([history.run_id for history in distinct])]
    pool, advice = pool_rules(distinct_rows), recommend(distinct_rows, tolerance)
    metric, epochs = histories[0].monitor, sum(len(history.values) for history in histories)
    trainings = format_count(len(histories), "training")
    lines = [f"{metric} of {trainings}, {format_count(epochs, 'epoch')}", *filter(None, [warning]), advice.sentence]
    if repeats := len(histories) - len(distinct):
        lines.insert(1, f"{format_count(repeats, 'training')} left out: another has the same values from epoch 1 on")
    lines += [*plateau_lines.describe_several(histories), *more]
    if advice.patience is not None:
        _log_metrics(run, {
            schema.RECOMMENDED_PATIENCE: advice.patience, schema.RECOMMENDED_MIN_DELTA: advice.min_delta,
            schema.REGRET: advice.regret, schema.REGRET_LOW: advice.regret_low, schema.REGRET_HIGH: advice.regret_high,
            schema.REGRET_WORST: advice.regret_worst, schema.SERVED: advice.served, schema.ANSWERED: advice.runs,
            schema.EPOCHS_SAVED: advice.epochs_saved, schema.SECONDS_SAVED: advice.seconds_saved,
        })  # fmt: skip
    _log_metrics(run, {schema.RUNS: len(histories), schema.RUNS_COMPARED: advice.runs})
    run.set_tags({schema.SOURCE_EXPERIMENT_ID: experiment_id})
    link = f"[{trainings}](#/experiments/{experiment_id}/runs)"
    run.set_description(
        f"Replay of {link}, listed in {schema.REPLAY_TABLE}.\n\n" + "\n\n".join(map(escape_markdown, lines[1:]))
    )
    least, most = pool["runs"].min(), pool["runs"].max()
    answers = f"{most:,} runs" if pool["population"].nunique() == 1 else f"the {least:,} to {most:,} runs that answer"
    plots = {
        schema.HEAT_MAP: rule_plots.draw_heat_map(pool, f"{metric}: mean regret and stop of each rule, over {answers}"),
        schema.POOLED: rule_plots.draw_pooled(pool, metric, tolerance, advice.patience),
    }
    cuts = find_first_cuts(histories, table)
    _log_files(run, {schema.REPLAY_TABLE: table, schema.POOLED_TABLE: pool, schema.FIRST_CUTS: cuts}, plots)
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
    return "\n".join([*lines, _format_changes(pool, "regret", columns)])


def _log_metrics(run: Run, values: Mapping[str, float]) -> None:
    known = {name: float(value) for name, value in values.items() if not pd.isna(value)}
    run.log_metrics(known, round(time.time() * 1000), step=0)


def _log_files(run: Run, tables: Mapping[str, pd.DataFrame], plots: Mapping[str, Figure]) -> None:
    for name, table in tables.items():
        write_csv(table, run.folder / name)
        run.log_artifact(run.folder / name)
    for name, figure in plots.items():
        run.log_figure(figure, name)


def _format_changes(table: pd.DataFrame, by: str, columns: Sequence[str]) -> str:
    """Format the rows where ``by`` changes as patience grows, and the longest patience of each min_delta."""
    rows = table.sort_values(["min_delta", "patience"])
    text = rows[by].map(lambda value: _format_cell(by, value))
    changes = (text != text.groupby(rows["min_delta"]).shift()) | ~rows["min_delta"].duplicated(keep="last")
    few = rows[changes].drop_duplicates([name for name in columns if name != "min_delta"]).head(MAX_ROWS)
    cells = pd.DataFrame({name: [_format_cell(name, value) for value in few[name]] for name in columns})
    return f"{cells.to_string(index=False)}\n{len(few)} of {len(table):,} rules shown; the run's tables have all"


def _format_cell(column: str, value: float) -> str:
    if pd.isna(value):
        return "-"
    digits = {"regret": ".4f", "best": ".4f", "seconds": ".1f", "epochs": ".4g", "min": "g"}
    return format(value, digits.get(column.split("_")[0], "") if isinstance(value, float) else "")
