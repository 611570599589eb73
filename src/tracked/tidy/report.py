"""Tell of a tidy: what might go, what became of it, bytes by experiment and kind."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from tracked.console.lines import format_count
from tracked.runs.schema import (
    FOUND_BYTES,
    FOUND_THINGS,
    REMOVED_BYTES,
    REMOVED_THINGS,
    TIDY_OUTCOME,
    TIDY_PLAN,
)
from tracked.runs.writer import Run
from tracked.tidy.removal import REMOVED
from tracked.tidy.things import Thing, format_size

COLUMNS = ("experiment", "kind", "of", "model_id", "title", "bytes", "why", "uri", "paths")


def summarize(things: Sequence[Thing], did: str) -> list[str]:
    """Summarize things in a line per experiment and kind, and one for all.

    Args:
        did: what becomes of them, as "may go".
    """
    lines, sizes, counts = [], Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for thing in things:
        sizes[thing.experiment, thing.kind] += thing.size
        counts[thing.experiment, thing.kind] += 1
    for (experiment, kind), count in counts.items():
        lines.append(f"{experiment}: {count:,} x {kind}, {format_size(sizes[experiment, kind])}")
    lines.append(f"{did}: {format_count(len(things), 'thing')}, {format_size(sizes.total())}")
    return lines


def describe_kept(kept: Mapping[str, int]) -> list[str]:
    """Describe in lines why things stay, the most frequent reason first."""
    ranked = sorted(kept.items(), key=lambda item: (-item[1], item[0]))
    return [f"kept {count:,}: {reason}" for reason, count in ranked]


def make_table(things: Sequence[Thing], outcomes: Mapping[Thing, str] | None = None) -> pd.DataFrame:
    """Make a table of things, one row each."""
    rows = [
        (one.experiment, one.kind, one.of, one.model_id, one.title, one.size, one.why, one.uri, " ".join(one.paths))
        for one in things
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table if outcomes is None else table.assign(outcome=[outcomes.get(one, "not reached") for one in things])


def log_plan(run: Run, things: Sequence[Thing]) -> None:
    """Queue the table of what might go."""
    run.log_table(make_table(things), TIDY_PLAN)
    _log(run, {FOUND_BYTES: sum(one.size for one in things), FOUND_THINGS: len(things)})


def log_outcome(run: Run, things: Sequence[Thing], outcomes: Mapping[Thing, str]) -> None:
    """Queue the table of what became of it, and a description."""
    removed = [one for one in things if outcomes.get(one) == REMOVED]
    run.log_table(make_table(things, outcomes), TIDY_OUTCOME)
    _log(run, {REMOVED_BYTES: sum(one.size for one in removed), REMOVED_THINGS: len(removed)})
    run.set_description("\n\n".join(summarize(removed, "removed")))


def _log(run: Run, values: Mapping[str, float]) -> None:
    run.log_metrics({name: float(value) for name, value in values.items()}, round(time.time() * 1000), step=0)
