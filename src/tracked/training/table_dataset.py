"""A table of numbers as a dataset: ids and parts of rows follow from their values, not from their order."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from tracked.console.errors import UserError
from tracked.experiment import PARTS, SEEN_PARTS, TrainedOn


@dataclass(frozen=True)
class TableDataset:
    """Rows of a table, each in one of ``PARTS``.

    A row's part follows from the SHA-256 of its values: the smallest are the test part, the next the validation part.
    The same rows in another order are therefore the same data, and equal rows are in the same part.

    Args:
        source: the data's name or path.
        table: columns of numbers.
        target: the column to predict.
        test: share of the test rows; ``validation``: share of the validation rows in the rest.

    Raises:
        ValueError: if the target is no column, or a column is not numeric.
        UserError: if a part has no row.
    """

    source: str
    table: pd.DataFrame
    target: str
    test: float = 0.2
    validation: float = 0.2

    def __post_init__(self) -> None:
        if self.target not in self.table:
            raise ValueError(f"target: {self.target!r} is not a column of {self.source}")
        if texts := [
            str(name) for name, dtype in self.table.dtypes.items() if not pd.api.types.is_numeric_dtype(dtype)
        ]:
            raise ValueError(f"{self.source}: column {texts[0]!r} is not numeric; convert it to numbers")
        for part in PARTS:
            if not self.counts[part]:
                raise UserError(f"data: {self.source} has no rows in its {part} part; allowed: data with more rows")

    @cached_property
    def keys(self) -> pd.Series:
        """SHA-256 of each row's values, in the order of the table: equal rows have equal keys."""
        values = self.table.to_numpy(dtype=np.float64) + 0.0  # turns -0 into 0, whose bytes differ
        return pd.Series([hashlib.sha256(row.tobytes()).hexdigest() for row in values])

    @cached_property
    def ids(self) -> pd.Series:
        """A unique id of each row, in the order of the table: its key, with a number from the second equal row on."""
        copies = self.keys.groupby(self.keys).cumcount()
        return self.keys.where(copies == 0, self.keys + "-" + copies.astype(str))

    @cached_property
    def split(self) -> pd.Series:
        """The part of each row, in the order of the table."""
        order = self.keys.rank(method="min").to_numpy() - 1  # equal rows have equal ranks
        test = round(len(self.table) * self.test)
        validation = test + round((len(self.table) - test) * self.validation)
        names = np.where(order < test, "test", np.where(order < validation, "validation", "train"))
        return pd.Series(names)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all rows, the columns' names, the target and the share of the test part."""
        head = [*map(str, self.table), self.target, repr(float(self.test))]
        return hashlib.sha256("\n".join([*head, *sorted(self.ids)]).encode()).hexdigest()

    @property
    def columns(self) -> dict[str, str]:
        """MLflow's type of each column: double."""
        return {str(name): "double" for name in self.table}

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of rows by part."""
        return {part: int((self.split == part).sum()) for part in PARTS}

    @property
    def summary(self) -> str:
        """The number of rows of each part, for people."""
        return ", ".join(f"{count:,} {part}" for part, count in self.counts.items())

    def rows(self, parameters: Any) -> pd.DataFrame:
        """Make a table of each row's ``id`` and ``split``."""
        return pd.DataFrame({"id": self.ids, "split": self.split})

    def find_positions(self, part: str) -> np.ndarray:
        """Find the positions in the table of a part's rows, in the order of their ids."""
        return self.ids[self.split == part].sort_values().index.to_numpy()

    def arrays(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Make the inputs [n, columns] and targets [n, 1] of a part, float32, in the order of the rows' ids."""
        rows = self.table.iloc[self.find_positions(part)].astype(np.float32) + np.float32(0)
        return rows.drop(columns=self.target).to_numpy(), rows[[self.target]].to_numpy()

    def part(self, name: str) -> "TablePart":
        """Take the rows of a part, for an evaluation."""
        return TablePart(self, name)


@dataclass(frozen=True)
class TablePart:
    """Rows of a part of a table, in the order of their ids."""

    dataset: TableDataset
    name: str

    @property
    def source(self) -> str:
        """The whole table's source."""
        return self.dataset.source

    @property
    def digest(self) -> str:
        """SHA-256 of the whole table."""
        return self.dataset.digest

    @property
    def columns(self) -> dict[str, str]:
        """MLflow's type of each column."""
        return self.dataset.columns

    @cached_property
    def positions(self) -> np.ndarray:
        """The rows' positions in the table."""
        return self.dataset.find_positions(self.name)

    @property
    def ids(self) -> list[str]:
        """The rows' ids."""
        return self.dataset.ids.iloc[self.positions].tolist()

    @property
    def rows_digest(self) -> str:
        """SHA-256 of the rows' ids."""
        return hashlib.sha256("\n".join(self.ids).encode()).hexdigest()

    @property
    def count(self) -> int:
        """Number of rows of the part."""
        return self.dataset.counts[self.name]

    @property
    def total(self) -> int:
        """Number of rows of the table."""
        return len(self.dataset.table)

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets, as :meth:`TableDataset.arrays`."""
        return self.dataset.arrays(self.name)

    @property
    def inputs(self) -> pd.DataFrame:
        """The rows, for people."""
        return self.dataset.table.iloc[self.positions].reset_index(drop=True)

    @property
    def keys(self) -> list[str]:
        """SHA-256 of each row's values: equal rows have equal keys."""
        return self.dataset.keys.iloc[self.positions].tolist()

    def seen(self, trained_on: TrainedOn) -> list[bool | None]:
        """Whether a model was trained or chosen on each row.

        None, for unknown, if the training's table lacks the row: rounding alone makes another row.
        """
        rows = trained_on.rows
        if rows is None or not {"id", "split"} <= set(rows):
            return [None] * self.count
        parts = dict(zip(rows["id"].str.split("-").str[0], rows["split"].isin(SEEN_PARTS).tolist(), strict=True))
        return [parts.get(key) for key in self.keys]
