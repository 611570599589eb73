"""Answer rows of numbers with one number each, and count what may drift."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from tracked.analysis.observations import count_values
from tracked.experiment import SEEN_PARTS
from tracked.training.table_dataset import TableDataset

ANSWER = "predicted"


@dataclass(frozen=True)
class NumberScorer:
    """A model that answers numbers; in batches of one shape, as a sum's last bits may depend on the number of rows.

    Args:
        model: ``predict`` answers float32 [n, columns] with [n, 1], as an ``mlflow.pyfunc.PyFuncModel`` does.
        edges: of each column that the model reads, in its order: between these its values are counted; ascending.
        answer_edges: between these the answers are counted.
        batch: rows that are answered at a time.
    """

    model: Any
    edges: Mapping[str, Sequence[float]]
    answer_edges: Sequence[float]
    batch: int = 256
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
        numbers = self._read(table)
        answers = np.empty(len(numbers), np.float32)
        for start in range(0, len(numbers), self.batch):
            piece = numbers[start : start + self.batch]
            filled = np.pad(piece, ((0, self.batch - len(piece)), (0, 0)))
            answers[start : start + self.batch] = self.model.predict(filled)[: len(piece), 0]
        return pd.DataFrame({ANSWER: answers}, index=table.index)

    def observe(self, table: pd.DataFrame, answers: pd.DataFrame) -> dict[str, Any]:
        """Count rows by each column and by the answer."""
        columns = zip(self.edges.items(), self._read(table).T, strict=True)
        seen = {name: count_values(column, edges) for (name, edges), column in columns}
        return seen | {ANSWER: count_values(answers[ANSWER], self.answer_edges)}

    def observe_dataset(self, dataset: TableDataset) -> dict[str, Any]:
        """Observe columns of the training and the validation part, and answers of the second alone.

        The model was fitted to the answers of the first.
        """
        train, validation = (pd.DataFrame(dataset.arrays(part)[0], columns=list(self.edges)) for part in SEEN_PARTS)
        held_out = self.observe(validation, self.answer(validation))
        both = pd.concat([train, validation], ignore_index=True)
        return self.observe(both, self.answer(both)) | {ANSWER: held_out[ANSWER]}

    def _read(self, table: pd.DataFrame) -> np.ndarray:
        """Read float32 [n, columns]; NaN for what is no number.

        By float64, so that a value's bits do not depend on what stands beside it in its column.
        """
        numbers = table[list(self.edges)].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
        with np.errstate(over="ignore"):
            return numbers.astype(np.float32)
