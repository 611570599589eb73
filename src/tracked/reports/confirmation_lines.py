"""Tell people who won a search, whether the lead is confirmed, and how optimistic the search was."""

import math

from tracked.analysis.confirmation import Confirmation, Confirmed
from tracked.console.lines import format_count

DIGITS = 4  # significant digits of a value


def describe_confirmation(confirmation: Confirmation, monitor: str) -> str:
    """Describe the decision in sentences: who won, whether the lead is confirmed, the bias, the version's training.

    Args:
        monitor: the name of the metric, such as "val_loss".
    """
    pieces = (
        describe_winner(confirmation, monitor),
        describe_optimism(confirmation, monitor),
        describe_version(confirmation, monitor),
    )
    return " ".join(f"{piece[0].upper()}{piece[1:]}." for piece in pieces if piece)


def describe_winner(confirmation: Confirmation, monitor: str) -> str:
    """Describe who won, by which means over the new seeds, and whether the lead is confirmed; without a full stop."""
    winner, defaults = confirmation.winner, confirmation.defaults
    new = format_count(confirmation.seeds, "new seed")
    if winner.number is None:
        others = [one for one in confirmation.candidates if not math.isnan(one.difference)]
        best = min(others, key=lambda one: (one.missing, -one.difference), default=None)
        beside = "" if best is None else f"; {name(best)}, the best candidate, has {_format_mean(best)}"
        return f"no trial is better than the defaults: with {new} they have {monitor} {_format_mean(winner)}{beside}"
    line = f"{name(winner)} wins: with {new} it has {monitor} {_format_mean(winner)}"
    if not defaults.values:
        return f"{line}, and no training of the defaults has a value; its lead is not confirmed"
    line += f", the defaults {_format_mean(defaults)}"
    return f"{line} ({_describe_interval(winner)}); its lead is {'' if confirmation.confirmed else 'not '}confirmed"


def describe_optimism(confirmation: Confirmation, monitor: str) -> str:
    """Describe by how much the search's values looked better than new seeds; empty where that was not measured."""
    if math.isnan(confirmation.optimism):
        return ""
    looked = _describe_optimism(confirmation.optimism)
    known = [one for one in confirmation.candidates if not math.isnan(one.optimism)]
    if len(known) == 1:
        return f"in the search, {monitor} of {name(known[0])} looked {looked} than with the new seeds"
    best = f"the best {len(known)} trials"
    line = f"in the search, {monitor} of {best} looked {looked} than with the new seeds on average"
    if confirmation.winner.number is None or math.isnan(confirmation.winner.optimism):
        return line
    return f"{line}, that of {name(confirmation.winner)} {_describe_optimism(confirmation.winner.optimism)}"


def describe_version(confirmation: Confirmation, monitor: str) -> str:
    """Describe which of the winner's trainings becomes the version; without a full stop."""
    value = confirmation.winner.values[confirmation.seed]
    whose = "their" if confirmation.winner.number is None else "its"
    which = f"{whose} only training" if len(confirmation.winner.values) == 1 else f"the median of {whose} trainings"
    return f"the version is {which}, with seed {confirmation.seed}: {monitor} {value:.{DIGITS}g}"


def describe_unconfirmed(number: int) -> str:
    """Describe a search's best trial that no new seed was trained for; without a full stop."""
    return (
        f"trial {number} is the best of the search; its lead is not confirmed (confirm=0), and the best of many is "
        "chosen for its luck, too"
    )


def name(one: Confirmed) -> str:
    """Name a candidate or the defaults."""
    return "the defaults" if one.number is None else f"trial {one.number}"


def _format_mean(one: Confirmed) -> str:
    """Format a mean, and how many trainings lack a value."""
    lacking = f" ({format_count(one.missing, 'training')} without a value)" if one.missing else ""
    return f"{one.mean:.{DIGITS}g}{lacking}"


def _describe_interval(one: Confirmed) -> str:
    """Describe the difference to the defaults with its interval, or why it has none."""
    if math.isnan(one.difference):
        return "no seed that both have a value for"
    gap = f"{'better' if one.difference >= 0 else 'worse'} by {abs(one.difference):.2g}"
    if math.isnan(one.low):
        return f"{gap}; the trainings allow no interval"
    return f"{gap}, 95 % interval {one.low:.2g} to {one.high:.2g}"


def _describe_optimism(optimism: float) -> str:
    return f"{'better' if optimism >= 0 else 'worse'} by {abs(optimism):.2g}"
