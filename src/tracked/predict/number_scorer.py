"""Answer rows of numbers with one number each, and count what may drift."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from tracked.analysis.observations import add_observations, count_values
from tracked.experiment import SEEN_PARTS
from tracked.predict.places import place
from tracked.training.table_dataset import TableDataset

ANSWER = "predicted"


@dataclass(frozen=True)
class NumberScorer:
    """A model that answers numbers; in batches of one shape, as a sum's last bits may depend on the row's place.

    Args:
        model: ``predict`` answers float32 [n, columns] with [n, 1], as an ``mlflow.pyfunc.PyFuncModel`` does.
        edges: of each column that the model reads, in its order: between these its values are counted; ascending.
        answer_edges: between these the answers are counted.
        batch: rows that the model gets at a time, of which a few stay empty.
        online: be quick with few rows; the last bits of an answer may depend on the others.
    """

    model: Any
    edges: Mapping[str, Sequence[float]]
    answer_edges: Sequence[float]
    batch: int = 256
    online: bool = False
    columns: ClassVar[Mapping[str, str]] = {ANSWER: "float32"}

    def find_bad(self, table: pd.DataFrame) -> dict[Any, str]:
        """Find the rows with something else than a finite number."""
        bad = ~np.isfinite(self._read(table))
        columns = np.array(list(self.edges))[bad.argmax(axis=1)]
        return {
            label: f"{column} is no finite number"
            for label, column, is_bad in zip(table.index, columns, bad.any(axis=1), strict=True)
            if is_bad
        }

    def answer(self, table: pd.DataFrame) -> pd.DataFrame:
        """Answer each row with one number."""
        return self.describe(self.predict(table)).set_axis(table.index)

    def predict(self, table: pd.DataFrame) -> np.ndarray:
        """Compute the model's own output, float32 [n, 1]."""
        numbers = self._read(table)
        if self.online:
            return self._call_quickly(numbers)
        placed, places = place(numbers, self.batch, 0)
        output = np.empty((len(placed), 1), np.float32)
        for start in range(0, len(placed), self.batch):
            output[start : start + self.batch] = self.model.predict(placed[start : start + self.batch])
        return output[places]

    def describe(self, output: np.ndarray) -> pd.DataFrame:
        """Name the output."""
        return pd.DataFrame({ANSWER: output[:, 0]})

    def observe(self, table: pd.DataFrame, answers: pd.DataFrame) -> dict[str, Any]:
        """Count rows by each column and by the answer."""
        known = answers[ANSWER][np.isfinite(answers[ANSWER])]  # a network may overflow
        return self._count_columns(table) | {ANSWER: count_values(known, self.answer_edges)}

    def observe_dataset(self, dataset: TableDataset) -> dict[str, Any]:
        """Observe columns of the training and the validation part, and answers of the second alone.

        The model was fitted to the answers of the first.
        """
        train, validation = (pd.DataFrame(dataset.arrays(part)[0], columns=list(self.edges)) for part in SEEN_PARTS)
        held_out = self.observe(validation, self.answer(validation))
        return add_observations(self._count_columns(train), held_out)

    @cached_property
    def _call_quickly(self) -> Callable[[np.ndarray], np.ndarray]:
        """The model as a function of float32 [n, columns]."""
        from tracked.models import few_rows

        return few_rows.make_quick(self.model)

    def _count_columns(self, table: pd.DataFrame) -> dict[str, Any]:
        columns = zip(self.edges.items(), self._read(table).T, strict=True)
        return {name: count_values(column, edges) for (name, edges), column in columns}

    def _read(self, table: pd.DataFrame) -> np.ndarray:
        """Read float32 [n, columns]; NaN for what is no number."""
        numbers = [[_read_number(value) for value in table[name]] for name in self.edges]
        with np.errstate(over="ignore"):
            return np.array(numbers, dtype=np.float64).T.astype(np.float32)


def _read_number(value: Any) -> float:
    """Read a number or a text of one; NaN for anything else, also for true and 1_000."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal) or "_" in str(value):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan
