"""Log what was observed of the rows and answers of a prediction, and how it differs from the training's."""

import time
from collections.abc import Mapping

import pandas as pd

from tracked.analysis import drift
from tracked.analysis.drift import Drift
from tracked.analysis.observations import Counts
from tracked.console.lines import one_line
from tracked.experiment import Experiment, Observations
from tracked.reports.csv_table import write_csv
from tracked.reports.observed_plots import draw_observed
from tracked.runs.schema import DRIFT, DRIFT_LEAST, DRIFT_MOST, DRIFT_TABLE, OBSERVED_PICTURE, OBSERVED_TABLE
from tracked.runs.writer import Run

LISTED = 5  # classes of an answer on its line, the most frequent ones


def log_report(
    run: Run,
    owner: Experiment,
    observed: Observations,
    trained: Observations | None,
    known_metrics: Mapping[str, float] | None = None,
) -> list[str]:
    """Queue tables, picture, metrics and tag of what was observed; returns lines for the terminal.

    Args:
        observed: as the scorer observed all rows, added up.
        trained: as ``observe_training`` gives it; None where it is not known.
        known_metrics: those that the run has already.
    """
    try:
        seen = {name: Counts.read(name, values) for name, values in observed.items()}
    except ValueError as error:  # the answers are written: what they are compared with must not fail the run
        return [f"Drift: not known ({one_line(error)})."]
    try:
        known = {name: Counts.read(name, values) for name, values in (trained or {}).items() if name in seen}
        found, problem = drift.compare(trained or {}, observed), ""
    except ValueError as error:
        known, found, problem = {}, drift.compare({}, observed), one_line(error)
    if not seen:
        return []
    write_csv(tabulate(seen, known), run.folder / OBSERVED_TABLE)
    run.log_artifact(run.folder / OBSERVED_TABLE)
    run.log_figure(draw_observed(seen, known, [shift.name for shift in found.largest]), OBSERVED_PICTURE)
    lines = [describe_classes(name, counts) for name, counts in seen.items() if counts.classes and counts.rows]
    run.set_tags({DRIFT: found.verdict if trained and not problem else "unknown"})
    if problem:
        return [*lines, f"Drift: not known ({problem})."]
    if not trained:
        return [*lines, f"Drift: not known, as the {owner.terms.rows} of the training are not."]
    if found.shifts:
        _log_drift(run, found, known_metrics or {})
    return [*lines, found.describe(owner.terms.rows)]


def _log_drift(run: Run, found: Drift, known: Mapping[str, float]) -> None:
    write_csv(found.to_table(), run.folder / DRIFT_TABLE)
    run.log_artifact(run.folder / DRIFT_TABLE)
    values = {
        DRIFT_LEAST: max(shift.least for shift in found.shifts), DRIFT_MOST: max(shift.most for shift in found.shifts)
    }  # fmt: skip
    run.log_metrics(
        {name: value for name, value in values.items() if known.get(name) != value}, round(time.time() * 1000), step=0
    )


def tabulate(observed: dict[str, Counts], trained: dict[str, Counts]) -> pd.DataFrame:
    """Make the table of all classes and intervals with their rows and shares, and the training's share."""
    lines = []
    for name, own in observed.items():
        before, after = trained[name].align(own, name) if name in trained else (None, own)
        for place, (value, count) in enumerate(zip(after.names, after.counts, strict=True)):
            line = {"observed": name, "value": value, "rows": count, "share": count / max(after.rows, 1)}
            if before:
                line |= {"training_rows": before.counts[place]}
                line |= {"training_share": before.counts[place] / max(before.rows, 1)}
            lines.append(line)
    return pd.DataFrame(lines)


def describe_classes(name: str, counts: Counts) -> str:
    """Describe the shares of the most frequent classes in one line."""
    ranked = sorted(zip(counts.counts, counts.classes, strict=True), key=lambda pair: (-pair[0], pair[1]))
    shares = ", ".join(f"{label!r} {100 * count / counts.rows:.1f} %" for count, label in ranked[:LISTED])
    return f"{name}: {shares}{f' and {len(ranked) - LISTED} more' if len(ranked) > LISTED else ''}"
