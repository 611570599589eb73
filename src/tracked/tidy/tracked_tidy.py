"""Carry out a tidy in a run that has the list of what goes before the first of it goes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tracked.console import locks
from tracked.console.errors import RunFailed
from tracked.console.lines import format_count, say, warn
from tracked.console.signals import Signals
from tracked.console.tidy_parameters import TidyParameters
from tracked.experiment import Experiment
from tracked.runs import context, sight, tidy_runs
from tracked.runs.connection import tracking_uri
from tracked.tidy import report
from tracked.tidy.plan import Plan
from tracked.tidy.removal import REMOVED, remove
from tracked.tidy.things import Thing

REFUSED = 5  # removals that fail one after the other, of those of one kind, before the rest of it is left


@contextmanager
def lock(owner: Experiment) -> Iterator[None]:
    """Keep out this user's other tidies of the store on this host.

    Raises:
        RunFailed: if another one does not end.
    """
    with locks.lock(owner.name, f"tidy of {tracking_uri()}", "another tidy"):
        yield


def choose(plan: Plan, parameters: TidyParameters) -> list[Thing]:
    """Choose what goes: leftovers only if they may."""
    return [thing for thing in plan.things if thing.kind != "leftover" or parameters.leftovers]


def tell(plan: Plan, parameters: TidyParameters) -> None:
    """Print what might go, a line each, and why other things stay."""
    lines = [thing.line for thing in choose(plan, parameters)]
    left = [thing for thing in plan.things if thing.kind == "leftover"]
    if left and not parameters.leftovers:
        lines += [thing.line for thing in left]
        lines += report.summarize(left, "left over, and kept without leftovers=true, as another store may write there")
    lines += report.describe_kept(plan.kept)
    if plan.blind:
        lines.append(f"only run folders are looked at: {plan.blind}, so artifacts may be needed unseen; {sight.ADVICE}")
    if lines:
        say("\n".join(lines))


def carry_out(
    owner: Experiment,
    parameters: TidyParameters,
    plan: Plan,
    things: Sequence[Thing],
    experiment_id: str | None,
    signals: Signals,
) -> None:
    """Remove things in a run of tidy, each after it was checked once more.

    What cannot be removed is told in a line, and the rest goes on.

    Raises:
        Interrupted: if a signal came; the next tidy goes on.
        RunFailed: after all was tried, if something could not be removed; or if the store keeps failing.
    """
    name = f"tidy {format_count(len(things), 'thing')}"
    outcomes: dict[Thing, str] = {}
    with context.run(owner, "tidy", name, parameters.as_strings(), signals, experiment_id) as run:
        say(f"run {run.id} {name!r}")
        report.log_plan(run, things)
        run.flush()  # what was begun is known to the next tidy, whatever comes
        failed = Counter[str]()
        try:
            for thing in things:
                if failed[thing.kind] >= REFUSED:
                    outcomes[thing] = "not tried: others of its kind could not be removed"
                    continue
                with signals.hold():
                    outcomes[thing] = _try(plan, thing, failed)
                signals.check()
        finally:
            with signals.hold():
                report.log_outcome(run, things, outcomes)
        removed = [one for one in things if outcomes[one] == REMOVED]
        say("\n".join(report.summarize(removed, "removed")))
        run.flush()
        if failed.total():
            raise RunFailed(f"{format_count(failed.total(), 'thing')} could not be removed; the others were")
        tidy_runs.mark_continued(plan.former, run.id)


def _try(plan: Plan, thing: Thing, failed: Counter[str]) -> str:
    try:
        outcome = remove(plan, thing)
    except RunFailed as error:
        failed[thing.kind] += 1
        warn(f"error: {thing.kind} {thing.model_id or thing.of} was not removed: {error}")
        return f"failed: {error}"
    if outcome != REMOVED:
        say(f"kept {thing.kind} {thing.model_id or thing.of}: {outcome}")
    return outcome
