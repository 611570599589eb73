"""What a comparison leaves at its run: the tables, the page, the description, and the table for the terminal."""

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
from tracked.runs import evaluations, schema
from tracked.runs.queries import MlflowRun, describe_other_data
from tracked.runs.writer import Run, escape_markdown

BEFORE = ("run_name", "best_value", "best_epoch", "stopped_epoch")
ROWS = 20  # at most, on the terminal and in the description
MIN_ROWS = 5  # rows of the description: columns give way to them
DESCRIPTION = 7500  # characters; MLflow cuts a tag at 8,000
PAIR_COLUMNS = ("first_run_id", "second_run_id", "same_rows", "sentence")


def compare_pairs(owner: Experiment, run: Run, table: pd.DataFrame, found: Mapping[str, MlflowRun]) -> pd.DataFrame:
    """The best training's evaluation against each other one: figures where they are on the same rows, else that.

    They are of the rows that neither model has seen in its training, each once.

    Args:
        table: what ``comparison_table.rank_trainings`` returns.
        found: the evaluations, by the training's run id.
    """
    rows, read = [], {}
    for run_id, name in zip(table["run_id"], shorten_names(table["run_name"].tolist()), strict=True):
        if run_id in found:
            try:
                read[run_id] = (name, evaluations.read_predictions(owner, found[run_id], run.folder))
            except RunFailed as error:
                warn(f"not paired: {error}")
    data = table.set_index("run_id")["data"]
    evaluated = list(read.items())
    for run_id, (name, predictions) in evaluated[1:]:
        first_id, (first_name, first) = evaluated[0]
        same = evaluations.have_same_rows(first, predictions) and evaluations.have_same_loss(
            found[first_id], found[run_id]
        )
        pair = {"first_run_id": first_id, "second_run_id": run_id, "same_rows": same}
        fresh = first[evaluations.find_unseen(first, predictions)] if same else first[:0]
        if len(fresh) > 1:
            others = predictions.loc[fresh.index]
            right = (fresh["correct"], others["correct"]) if "correct" in fresh and "correct" in others else None
            result = compare_losses(fresh["loss"], others["loss"], fresh["key"], right)
            told = result.describe(first_name, name, owner.terms)
            rows.append(pair | {"sentence": told} | result.to_columns(owner.terms))
        else:
            counts = f"{len(first):,} and {len(predictions):,} {owner.terms.rows}"
            why = "no rows that neither was trained on" if same else f"other rows ({counts})"
            rows.append(pair | {"sentence": f"{first_name} against {name}: not paired, {why}."})
        notes = []
        for one_name, one in ((first_name, first), (name, predictions)):
            if one["seen"].isna().any():
                notes.append(f"Whether {one_name} was trained on some of its test {owner.terms.rows} is not known.")
            elif seen := int(one["seen"].sum()):
                notes.append(f"{one_name} has seen {seen:,} of its test {owner.terms.rows} in its training.")
        if "" in (data[first_id], data[run_id]):
            notes.append("Whether they were trained on the same data is not known.")
        elif data[first_id] != data[run_id]:
            notes.append("They were trained on other data.")
        rows[-1]["sentence"] = " ".join([str(rows[-1]["sentence"]), *notes])
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(PAIR_COLUMNS))


def log_report(
    run: Run,
    owner: Experiment,
    experiment: str,
    table: pd.DataFrame,
    unfinished: list[MlflowRun],
    histories: Mapping[str, History],
    found: Mapping[str, MlflowRun],
) -> str:
    """Queue everything; returns lines for the terminal."""
    apart, pair_table = list_others(unfinished), compare_pairs(owner, run, table, found)
    any_history = next(iter(histories.values()))
    metric = f"{any_history.monitor}, {'less' if any_history.mode == 'min' else 'more'} is better"
    title = f"{format_count(len(table), 'training')} of {experiment}, by {metric}"
    unlike = list(filter(None, [describe_other_data(table["data"].tolist())]))
    texts = {schema.COMPARISON_TABLE: table.to_csv(index=False), schema.PAIRS: pair_table.to_csv(index=False)}
    drawn = table[table["run_id"].isin(histories)]
    names = shorten_names(drawn["run_name"].tolist())
    curves = [replace(histories[run_id], run_name=name) for run_id, name in zip(drawn["run_id"], names, strict=True)]
    figure = page.draw_curves(curves, drawn["best_epoch"].tolist())
    # What differs stands between them: the last columns give way where there is no room.
    loss, *scores = (f"test_{name}" for name in owner.headline)
    varied = (str(name) for name in table if name not in fixed_columns(owner))
    columns = [*BEFORE, *scores, *varied, loss, "seconds"]
    columns[1:1] = ["data"] if table["data"].nunique() > 1 else []
    people = format_table(owner, table)
    verdicts = pair_table["sentence"].tolist() or ["No two trainings have an evaluation on the same rows."]
    sections = [
        (
            "Trainings",
            " ".join([f"The best first, by {metric}.", *unlike]),
            people[[*columns, "stop_reason", "version", "run_id"]],
        ),
        ("Test figures, paired", "The best evaluated training against each other one.", pair_table[["sentence"]]),
        ("Not finished", "Not compared: still going, failed or interrupted.", apart),
    ]
    texts[schema.COMPARISON_PAGE] = page.render_page(title, figure, sections)
    for name, text in texts.items():
        (run.folder / name).write_text(text, encoding="utf-8")
        run.log_artifact(run.folder / name)
    sentences = [*unlike, *([f"Not finished: {len(apart):,}."] if len(apart) else []), *verdicts]
    run.set_description(_description(f"{title[0].upper()}{title[1:]}.", people[columns], sentences))

    width = shutil.get_terminal_size().columns
    first = people[[*columns, "run_id"]].head(ROWS)
    lines = [title, *unlike, fit_to_width(first.assign(run_name=shorten_names(first["run_name"].tolist())), width)]
    if len(table) > ROWS:
        lines.append(f"{ROWS} of {len(table):,}; all of them are in {schema.COMPARISON_TABLE}")
    lines += pair_table["sentence"].head(3).tolist()
    if len(apart):
        lines += [
            "not finished, and not compared:",
            fit_to_width(apart[["run_name", "state", "run_id"]].head(ROWS), width),
        ]
    return "\n".join(lines)


def _description(title: str, table: pd.DataFrame, sentences: Sequence[str]) -> str:
    """Markdown of at most ``DESCRIPTION`` characters: as many of the sentences, the rows and the columns as fit."""
    columns, tail = [str(name) for name in table], ""
    for sentence in map(escape_markdown, sentences):
        if len(tail) + len(sentence) < DESCRIPTION // 3:
            tail += f"\n\n{sentence}"
    while True:
        lines = [_line(columns), "|" + "---|" * len(columns)]
        text = f"{escape_markdown(title)}\n\n" + "\n".join(lines)
        for row in table[columns].head(ROWS).itertuples(index=False):
            line = f"\n{_line(row)}"
            if len(text) + len(line) + len(tail) > DESCRIPTION:
                break
            text += line
            lines.append(line)
        if len(lines) - 2 >= min(len(table), MIN_ROWS) or len(columns) == 1:
            return text + tail
        columns.pop()


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(escape_markdown, cells))} |"
