"""The classes of a classification: labels as the table has them, in a fixed order."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from imdb_conv1d.schema import LABELS
from tracked.console.errors import UserError
from tracked.console.lines import format_count

ZERO_ONE = ("0", "1")  # the labels of versions before named ones, which stored no labels with a model
ZERO_ONE_SPELLINGS = {"0": "0", "1": "1", "0.0": "0", "1.0": "1", "False": "0", "True": "1"}
MAX_CLASSES = 10_000
WHOLE_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,99})")  # as a column of whole numbers writes them: no zeros in front
WHOLE_FLOAT = re.compile(r"-?(0|[1-9][0-9]{0,99})\.0")
LISTED = 5  # labels named in a message


@dataclass(frozen=True)
class Classes:
    """The labels of a classification; a label's position is its code.

    Of two classes, the model gives the probability of the second one: the positive label.
    """

    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def is_binary(self) -> bool:
        """Whether there are two classes."""
        return len(self.names) == 2

    @property
    def is_zero_one(self) -> bool:
        """Whether the labels are 0 and 1, which need no names beside them."""
        return self.names == ZERO_ONE

    @cached_property
    def codes(self) -> Mapping[str, int]:
        """The code of each label."""
        return {name: code for code, name in enumerate(self.names)}

    @classmethod
    def of_model(cls, metadata: Mapping[str, Any] | None) -> "Classes":
        """Read a model's labels from its metadata; models of earlier versions have 0 and 1."""
        return cls(tuple(map(str, (metadata or {}).get(LABELS) or ZERO_ONE)))

    def explain_difference(self, others: "Classes") -> str:
        """Explain how these labels differ from others, with the first ones that only one side has; empty if equal."""
        if self.names == others.names:
            return ""
        sides = [
            f"{quote_labels(missing)} only in {where}"
            for where, ours, theirs in (("the first", self, others), ("the second", others, self))
            if (missing := [name for name in ours.names if name not in theirs.codes])
        ]
        counts = f"{len(self)} -> {len(others)} labels" if len(self) != len(others) else f"{len(self)} labels each"
        if sides:
            return f"{counts}, {' and '.join(sides)}"
        if not self.is_binary:
            return "another order"
        return f"another positive label: {quote_labels(self.names[1:])} -> {quote_labels(others.names[1:])}"


def make_classes(counts: Mapping[str, int], positive_label: str, where: str) -> tuple[Classes, dict[str, str]]:
    """Make the classes of a whole table from the spellings of its labels.

    Labels that are all 0 and 1 in some spelling are named so. Others keep their spelling, except whole numbers that all
    have the decimal point of a column of floats. The order is that of numbers, if all are whole ones, else of texts.

    Args:
        counts: the number of rows of each spelling.
        positive_label: of two labels the one to put last; auto keeps the order.
        where: names the data and the column, for messages.

    Returns:
        the classes, and the label of each spelling.

    Raises:
        UserError: if the labels cannot be classes, or ``positive_label`` is not one of two.
    """
    names = _unify_spellings(counts)
    labels = set(names.values()) | (set(ZERO_ONE) if set(names.values()) <= set(ZERO_ONE) else set())
    _refuse_unusable(counts, labels, where)
    if all(WHOLE_NUMBER.fullmatch(label) for label in labels):
        ordered = sorted(labels, key=lambda label: (int(label), label))
    else:
        ordered = sorted(labels)
    if positive_label != "auto":
        chosen = names.get(positive_label, positive_label)
        if len(ordered) != 2:
            raise UserError(
                f"positive_label: {positive_label!r} is not allowed with {len(ordered)} labels; allowed: auto"
            )
        if chosen not in ordered:
            raise UserError(
                f"positive_label: {positive_label!r} is not a label of {where}; allowed: auto, {quote_labels(ordered)}"
            )
        ordered.sort(key=lambda label: label == chosen)
    return Classes(tuple(ordered)), names


def map_to_model(counts: Mapping[str, int], classes: Classes, where: str) -> dict[str, str]:
    """Find the model's label of each spelling.

    Raises:
        UserError: naming the labels that the model does not know, with their rows.
    """
    if set(classes.names) == set(ZERO_ONE):
        names = {spelling: ZERO_ONE_SPELLINGS.get(spelling.strip(), spelling) for spelling in counts}
    elif set(counts) <= set(classes.names):
        names = {spelling: spelling for spelling in counts}
    else:
        names = _unify_spellings(counts)
    unknown = sorted(((-counts[spelling], spelling) for spelling, name in names.items() if name not in classes.codes))
    if unknown:
        listed = ", ".join(f"{_quote(spelling)} ({format_count(-rows, 'row')})" for rows, spelling in unknown[:LISTED])
        more = f" and {len(unknown) - LISTED} more" if len(unknown) > LISTED else ""
        raise UserError(
            f"data: {where} has {format_count(len(unknown), 'label')} that the model does not know: {listed}{more}; "
            f"allowed: {quote_labels(classes.names)}"
        )
    return names


def _unify_spellings(counts: Mapping[str, int]) -> dict[str, str]:
    """Find the label of each spelling of a whole table."""
    if all(spelling.strip() in ZERO_ONE_SPELLINGS for spelling in counts):
        return {spelling: ZERO_ONE_SPELLINGS[spelling.strip()] for spelling in counts}
    if all(WHOLE_FLOAT.fullmatch(spelling) for spelling in counts):  # pandas makes floats of whole numbers with gaps
        return {spelling: spelling.removesuffix(".0") for spelling in counts}
    return {spelling: spelling for spelling in counts}


def _refuse_unusable(counts: Mapping[str, int], labels: set[str], where: str) -> None:
    rows = sum(counts.values())
    if len(labels) < 2:
        raise UserError(
            f"data: {where} has one label only, {quote_labels(sorted(labels))}; allowed: two labels or more"
        )
    alike: dict[str, list[str]] = {}
    for label in sorted(labels):
        alike.setdefault(_fold(label), []).append(label)
    if len(alike) > max(rows / 2, 2) or len(labels) > MAX_CLASSES:
        raise UserError(
            f"data: {where} has {len(labels):,} labels in {rows:,} rows, as a column of ids has; "
            f"allowed: a label that two rows or more have on average, at most {MAX_CLASSES:,} labels"
        )
    for spellings in alike.values():
        if len(spellings) > 1:
            listed = " and ".join(
                f"{_quote(label)} ({format_count(counts[label], 'row')})" for label in spellings[:LISTED]
            )
            raise UserError(
                f"data: {where} has labels that differ only by blanks, case or '.0': {listed}; "
                "allowed: one spelling of each label"
            )


def _fold(label: str) -> str:
    """Fold a label so that two are equal if they differ by blanks, case, Unicode's composition or '.0' alone."""
    folded = unicodedata.normalize("NFC", " ".join(unicodedata.normalize("NFC", label).split()).casefold())
    return folded.removesuffix(".0") if WHOLE_FLOAT.fullmatch(folded) else folded


def quote_labels(names: Sequence[str], number: int = LISTED) -> str:
    """List the first labels, and count the others."""
    listed = ", ".join(map(_quote, names[:number]))
    return f"{listed} and {len(names) - number} more" if len(names) > number else listed


def _quote(label: str) -> str:
    return repr(label if len(label) <= 60 else f"{label[:57]}...")
