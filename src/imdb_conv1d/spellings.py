"""Spell the values of a label column as texts: a table of any format, and any type of labels, gives the same ones."""

import decimal
import math
import numbers
from typing import Any

import numpy as np
import pandas as pd

NOT_ALLOWED, TEXT, NUMBER, BOOLEAN = range(4)
KINDS = {TEXT: "a text", NUMBER: "a number", BOOLEAN: "a truth value"}


def spell_labels(labels: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Spell labels as texts; a float without a fraction is a whole number.

    Returns:
        the spellings, objects [n], and the kind of each label, int8 [n]: ``TEXT``, ``NUMBER``, ``BOOLEAN``, or
        ``NOT_ALLOWED`` for one that is missing, empty, no whole number, or of another type.
    """
    dtype = labels.dtype
    if isinstance(dtype, pd.StringDtype) and not labels.hasnans:
        spelled = labels.to_numpy(dtype=object)
        return spelled, np.where((labels.str.strip() == "").to_numpy(dtype=bool), NOT_ALLOWED, TEXT).astype(np.int8)
    if isinstance(dtype, np.dtype) and dtype.kind in "iub":
        kind = BOOLEAN if dtype.kind == "b" else NUMBER
        return labels.astype(str).to_numpy(dtype=object), np.full(len(labels), kind, np.int8)
    pairs = [_spell(value) for value in labels.astype(object)]
    spelled = np.empty(len(pairs), dtype=object)
    spelled[:] = [spelling for spelling, _ in pairs]
    return spelled, np.array([kind for _, kind in pairs], dtype=np.int8)


def _spell(value: Any) -> tuple[str, int]:
    if isinstance(value, str):
        return value, TEXT if value.strip() and is_unicode(value) else NOT_ALLOWED
    if isinstance(value, bool | np.bool_):
        return str(bool(value)), BOOLEAN
    if isinstance(value, numbers.Integral):
        return str(int(value)), NUMBER
    if isinstance(value, numbers.Real | decimal.Decimal) and math.isfinite(value) and value == math.floor(value):
        return str(math.floor(value)), NUMBER
    return "", NOT_ALLOWED


def is_unicode(text: str) -> bool:
    """Check that a text has no half of a surrogate pair, which JSON can spell and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
