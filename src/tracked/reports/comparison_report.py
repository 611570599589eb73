"""Log a comparison: tables, page and description at its run; and lines for the terminal."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from tracked.analysis.paired import compare_losses
from tracked.analysis.rule_replay import History
from tracked.console.errors import RunFailed
from tracked.console.lines import format_count, warn
from tracked.experiment import Experiment
from tracked.reports import page
from tracked.reports.comparison_table import fit_to_width, fixed_columns, format_table, list_others, shorten_names
from tracked.reports.csv_table import format_csv
from tracked.runs import evaluations, schema
from tracked.runs.queries import MlflowRun, describe_other_data
from tracked.runs.writer import Run, escape_markdown

BEFORE = ("run_name", "best_value", "best_epoch", "stopped_epoch")
MAX_ROWS = 20  # on the terminal and in the description
MIN_ROWS = 5  # of the description: columns are dropped until as many rows fit
MAX_DESCRIPTION = 7500  # characters; MLflow cuts a tag at 8,000
PAIR_COLUMNS = ("first_run_id", "second_run_id", "same_rows", "sentence")


def compare_pairs(owner: Experiment, run: Run, table: pd.DataFrame, evaluated: Mapping[str, MlflowRun]) -> pd.DataFrame:
    """Compare the best evaluated training with each of the others, on the rows that neither has seen, each once.

    Args:
        table: what ``comparison_table.rank_trainings`` returns.
        evaluated: the evaluations, by the training's run id.

    Returns:
        ``PAIR_COLUMNS`` and ``PairedComparison.to_columns``; only the former where the evaluations have other rows.
    """
    rows = []
    best: tuple[str, str, pd.DataFrame] | None = None  # read one at a time: all of them may not fit into the memory
    data = table.set_index("run_id")["data"]
    for run_id, name in zip(table["run_id"], shorten_names(table["run_name"].tolist()), strict=True):
        if run_id not in evaluated:
            continue
        try:
            predictions = evaluations.read_predictions(owner, evaluated[run_id], run.folder)
        except RunFailed as error:
            warn(f"not paired: {error}")
            continue
        if best is None:
            best = run_id, name, predictions
            continue
        first_id, first_name, first = best
        same_ids = evaluations.have_same_rows(first, predictions)
        same = same_ids and evaluations.can_be_paired(evaluated[first_id], evaluated[run_id])
        pair = {"first_run_id": first_id, "second_run_id": run_id, "same_rows": same}
        unseen = first[evaluations.find_unseen(first, predictions)] if same else first[:0]
        if len(unseen) > 1:
            others = predictions.loc[unseen.index]
            correct = (unseen["correct"], others["correct"]) if "correct" in unseen and "correct" in others else None
            result = compare_losses(unseen["loss"], others["loss"], unseen["key"], correct)
            sentence = result.describe(first_name, name, owner.terms)
            rows.append(pair | {"sentence": sentence} | result.to_columns(owner.terms))
        else:
            counts = f"{len(first):,} and {len(predictions):,} {owner.terms.rows}"
            reason = "losses of another kind or among other labels" if same_ids else f"other rows ({counts})"
            reason = f"fewer than 2 {owner.terms.rows} that neither has seen" if same else reason
            rows.append(pair | {"sentence": f"{first_name} against {name}: not paired, {reason}."})
        notes = []
        for training, predicted in ((first_name, first), (name, predictions)):
            if predicted["seen"].isna().any():
                notes.append(f"Whether {training} was trained on some of its test {owner.terms.rows} is not known.")
            elif seen := int(predicted["seen"].sum()):
                notes.append(f"{training} has seen {seen:,} of its test {owner.terms.rows} in its training.")
        if "" in (data[first_id], data[run_id]):
            notes.append("Whether they were trained on the same data is not known.")
        elif data[first_id] != data[run_id]:
            notes.append("They were trained on different data.")
        rows[-1]["sentence"] = " ".join([str(rows[-1]["sentence"]), *notes])
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(PAIR_COLUMNS))


def log_report(
    run: Run,
    owner: Experiment,
    experiment: str,
    table: pd.DataFrame,
    unfinished: list[MlflowRun],
    histories: Mapping[str, History],
    evaluated: Mapping[str, MlflowRun],
) -> str:
    """Queue tables, page and description; returns lines for the terminal."""
    others, pair_table = list_others(unfinished), compare_pairs(owner, run, table, evaluated)
    any_history = next(iter(histories.values()))
    metric = f"{any_history.monitor}, {'lower' if any_history.mode == 'min' else 'higher'} is better"
    title = f"{format_count(len(table), 'training')} of {experiment}, by {metric}"
    warnings = list(filter(None, [describe_other_data(table["data"].tolist()), _describe_steps(histories.values())]))
    texts = {schema.COMPARISON_TABLE: format_csv(table), schema.PAIRS: format_csv(pair_table)}
    drawn = table[table["run_id"].isin(histories)]
    names = shorten_names(drawn["run_name"].tolist())
    curves = [replace(histories[run_id], run_name=name) for run_id, name in zip(drawn["run_id"], names, strict=True)]
    figure = page.draw_curves(curves, drawn["best_epoch"].tolist())
    # The last columns are dropped where there is no room, so what differs comes before them.
    loss, *scores = (f"test_{name}" for name in owner.headline)
    varied = (str(name) for name in table if name not in fixed_columns(owner))
    columns = [*BEFORE, *scores, *varied, loss, "seconds"]
    columns[1:1] = ["data"] if table["data"].nunique() > 1 else []
    formatted = format_table(owner, table)
    verdicts = pair_table["sentence"].tolist() or ["No two trainings have an evaluation on the same rows."]
    sections = [
        (
            "Trainings",
            " ".join([f"Best first, by {metric}.", *warnings]),
            formatted[[*columns, "stop_reason", "version", "run_id"]],
        ),
        ("Paired test scores", "The best evaluated training against each of the others.", pair_table[["sentence"]]),
        ("Unfinished", "Not compared: running, failed, interrupted or given up (pruned).", others),
    ]
    texts[schema.COMPARISON_PAGE] = page.render_page(title, figure, sections)
    for name, text in texts.items():
        (run.folder / name).write_text(text, encoding="utf-8")
        run.log_artifact(run.folder / name)
    sentences = [*warnings, *([f"Unfinished: {len(others):,}."] if len(others) else []), *verdicts]
    run.set_description(_format_description(f"{title[0].upper()}{title[1:]}.", formatted[columns], sentences))

    width = shutil.get_terminal_size().columns
    first = formatted[[*columns, "run_id"]].head(MAX_ROWS)
    lines = [title, *warnings, fit_to_width(first.assign(run_name=shorten_names(first["run_name"].tolist())), width)]
    if len(table) > MAX_ROWS:
        lines.append(f"{MAX_ROWS} of {len(table):,} shown; {schema.COMPARISON_TABLE} has all")
    lines += pair_table["sentence"].head(3).tolist()
    if len(others):
        lines += [
            "unfinished, not compared:",
            fit_to_width(others[["run_name", "state", "run_id"]].head(MAX_ROWS), width),
        ]
    return "\n".join(lines)


def _describe_steps(histories: Iterable[History]) -> str:
    """Say in one sentence which runs logged their values at other steps than epochs; empty for none."""
    names = [history.run_id for history in histories if history.steps is not None]
    if not names:
        return ""
    more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
    return (
        f"Evaluations are counted in the place of epochs where steps are other than 1, 2, 3, …: run {names[0]}{more}."
    )


def _format_description(title: str, table: pd.DataFrame, sentences: Sequence[str]) -> str:
    """Write Markdown of at most ``MAX_DESCRIPTION`` characters: the sentences, rows and columns that fit."""
    columns, tail = [str(name) for name in table], ""
    for sentence in map(escape_markdown, sentences):
        if len(tail) + len(sentence) < MAX_DESCRIPTION // 3:
            tail += f"\n\n{sentence}"
    while True:
        lines = [_format_row(columns), "|" + "---|" * len(columns)]
        text = f"{escape_markdown(title)}\n\n" + "\n".join(lines)
        for row in table[columns].head(MAX_ROWS).itertuples(index=False):
            line = f"\n{_format_row(row)}"
            if len(text) + len(line) + len(tail) > MAX_DESCRIPTION:
                break
            text += line
            lines.append(line)
        if len(lines) - 2 >= min(len(table), MIN_ROWS) or len(columns) == 1:
            return text + tail
        columns.pop()


def _format_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(escape_markdown, cells))} |"
