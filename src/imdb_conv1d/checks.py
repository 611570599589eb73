"""Check the tables of a source, piece by piece, and refuse the first invalid row by its number."""

import numpy as np
import pandas as pd

from imdb_conv1d.columns import Layout
from imdb_conv1d.spellings import KINDS, NOT_ALLOWED, is_unicode, spell_labels
from tracked.console.errors import UserError
from tracked.experiment import PARTS


class TableChecks:
    """Check the tables of one reading of a source, in their order: ``rows`` counts the rows so far."""

    def __init__(self, name: str, layout: Layout) -> None:
        self.name, self.layout, self.rows, self.kind = name, layout, 0, NOT_ALLOWED

    def check(self, table: pd.DataFrame) -> pd.DataFrame:
        """Convert the columns to texts; refuse the first invalid row by its number, counted from 1."""
        text, label = table["text"], table["label"]
        if not pd.api.types.is_string_dtype(text.dropna()):
            names = ", ".join(self.layout.text_columns)
            wrong = next((place for place, value in enumerate(text) if not isinstance(value, str)), 0)
            kind = (
                text.dtype
                if text.dtype != object
                else f"{type(text.iloc[wrong]).__name__} in row {self.rows + wrong + 1}"
            )
            raise UserError(f"data: {self.name}: the column {names} holds {kind}; allowed: texts")
        empty = (text.isna() | (text.str.strip() == "")).to_numpy(bool)
        # Several columns may be empty one by one, as long as their join is not.
        self._refuse(empty, " with ".join(self.layout.text_columns), None, "a text that is not empty")
        if text.dtype == object:
            self._refuse(np.array([not is_unicode(value) for value in text]), "text", None, "a text in Unicode")
        spelled, kinds = spell_labels(label)
        column = self.layout.label_column
        self._refuse(kinds == NOT_ALLOWED, column, label, "a text or a whole number")
        self.kind = self.kind or int(kinds[0]) if len(kinds) else self.kind
        others = f"labels of one type ({KINDS.get(self.kind, '')} as in row 1)"
        self._refuse(kinds != self.kind, column, label, others)
        self._refuse(~table["split"].isin(["", *PARTS]).to_numpy(bool), "split", table["split"],
            "train, validation, test or nothing")  # fmt: skip
        self.rows += len(table)
        split = table["split"].to_numpy(dtype=object)
        return pd.DataFrame({"text": text.to_numpy(dtype=object), "label": spelled, "split": split}, dtype=object)

    def _refuse(self, invalid: np.ndarray, column: str, values: pd.Series | None, allowed: str) -> None:
        if invalid.any():
            row = int(invalid.argmax())
            value = "" if values is None else f" {_show(values.iloc[row])}"
            raise UserError(
                f"data: {self.name}, row {self.rows + row + 1}: {column}{value} is not allowed; allowed: {allowed}"
            )


def _show(value: object) -> str:
    shown = repr(value if not isinstance(value, np.generic) else value.item())
    shown = shown if not isinstance(value, float | int) or isinstance(value, bool) else f"'{shown}'"
    return " ".join((shown if len(shown) <= 80 else f"{shown[:77]}...").split())
