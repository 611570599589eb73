"""Assign each row of an index to a part, or to the reason for dropping it.

Within a label, a row's part depends on the SHA-256 of its text alone: not on the seed, not on the order of the file.
"""

import numpy as np

from imdb_conv1d.labels import ZERO_ONE, Classes, quote_labels
from imdb_conv1d.text_index import SPLITS, TextIndex
from tracked.console.errors import UserError
from tracked.console.lines import format_count, say
from tracked.experiment import PARTS

LISTED = 10  # labels named in a line
TRAIN, VALIDATION, TEST = range(len(PARTS))
COPIES, COPIES_OF_TEST, TEXTS_OF_LABELS = range(len(PARTS), len(PARTS) + 3)
REASONS = {COPIES: "copies", COPIES_OF_TEST: "copies of test texts", TEXTS_OF_LABELS: "texts with both labels"}


def assign_parts(index: TextIndex, validation_split: float, test_split: float) -> np.ndarray:
    """Assign each row to a position in ``PARTS`` or a key of ``REASONS``, int8 [n].

    A test part of the source stays as it is; otherwise the share ``test_split`` is held out, 0 for none. Likewise for
    validation, with ``validation_split``; rows that the source marks as train may be divided. Of copies of a text one
    row stays; texts with several labels are dropped.
    """
    texts, labels = index.ranks, index.labels
    is_test = index.splits == SPLITS.index("test")
    is_validation = index.splits == SPLITS.index("validation")
    part = np.full(len(index), TRAIN, dtype=np.int8)
    part[is_test] = TEST
    in_test = np.zeros(int(texts.max(initial=-1)) + 1, dtype=bool)
    in_test[texts[is_test]] = True
    part[~is_test & in_test[texts]] = COPIES_OF_TEST
    # Of copies, a row of the source's validation part stays, then one that it marks as train, then the first one.
    free = np.flatnonzero(part == TRAIN)
    free = free[np.lexsort((-index.splits[free], texts[free]))]
    is_copy = np.concatenate([[False], texts[free][1:] == texts[free][:-1]])[: len(free)]
    first = np.maximum.accumulate(np.where(is_copy, 0, np.arange(len(free))))
    ambiguous = np.zeros(len(in_test), dtype=bool)
    ambiguous[texts[free[labels[free] != labels[free[first]]]]] = True
    part[free[is_copy]] = COPIES
    part[free[ambiguous[texts[free]]]] = TEXTS_OF_LABELS
    part[(part == TRAIN) & is_validation] = VALIDATION
    if not is_test.any():
        _hold_out(part, index, TEST, test_split)
    if not is_validation.any():
        _hold_out(part, index, VALIDATION, validation_split)
    return part


def _hold_out(part: np.ndarray, index: TextIndex, name: int, share: float) -> None:
    """Move the train rows with the smallest hashes of each label to a part, at least one of two or more."""
    if not share:
        return
    rows = np.flatnonzero(part == TRAIN)
    rows = rows[np.lexsort((index.ranks[rows], index.labels[rows]))]
    sizes = np.bincount(index.labels[rows], minlength=len(index.classes))
    for start, size in zip(np.cumsum(sizes) - sizes, sizes.tolist(), strict=True):
        held = max(round(size * share), 1) if size > 1 else 0
        part[rows[start : start + held]] = name


def count_dropped(part: np.ndarray) -> dict[str, int]:
    """Count the dropped rows by reason."""
    counts = {reason: int((part == code).sum()) for code, reason in REASONS.items()}
    return {reason: count for reason, count in counts.items() if count}


def check_labels(labels: np.ndarray, classes: Classes, part: str, source: str) -> None:
    """Refuse a part whose rows have too few labels, and name the labels that it lacks.

    Args:
        labels: the codes of the part's rows.

    Raises:
        UserError: if one of two labels is lacking, or all but one of more.
    """
    counts = np.bincount(labels, minlength=len(classes))
    lacking = [name for name, count in zip(classes.names, counts, strict=True) if not count]
    if classes.is_binary and lacking:
        label = lacking[0] if set(classes.names) == set(ZERO_ONE) else repr(lacking[0])
        raise UserError(
            f"data: {source} leaves no review of label {label} in the {part} part; "
            "allowed: data and a validation_split with both labels in each part"
        )
    if (present := len(classes) - len(lacking)) < 2:
        raise UserError(
            f"data: {source} leaves reviews of {format_count(present, 'label')} in the {part} part; "
            "allowed: data and a validation_split with two labels or more in each part"
        )
    if lacking:
        say(f"data: no review in the {part} part has {quote_labels(lacking, LISTED)}")
