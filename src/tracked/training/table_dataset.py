"""A table of numbers as a dataset: its rows named and divided by what is in them, whatever their order."""

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

    A row's part follows from the SHA-256 of its values and from nothing else: the smallest are the test part, the next
    the validation part. So the same rows in another order are the same data, and equal rows are in the same part.

    Args:
        source: finds the data again.
        table: numbers alone, a row each.
        target: the column that is predicted.
        test: share of the rows that is held out to evaluate; ``validation`` of those that are left, to validate.

    Raises:
        UserError: if a part is left without a row.
    """

    source: str
    table: pd.DataFrame
    target: str
    test: float = 0.2
    validation: float = 0.2

    def __post_init__(self) -> None:
        for part in PARTS:
            if not self.counts[part]:
                raise UserError(f"data: {self.source} has no rows in its {part} part; allowed: data with more rows")

    @cached_property
    def keys(self) -> pd.Series:
        """SHA-256 of each row's values, in the order of the table: equal rows have one."""
        values = self.table.to_numpy(dtype=np.float64) + 0.0  # -0, which equals 0, has other bytes
        return pd.Series([hashlib.sha256(row.tobytes()).hexdigest() for row in values])

    @cached_property
    def ids(self) -> pd.Series:
        """A name for each row, in the order of the table: of equal rows, the second has a number behind its key."""
        copies = self.keys.groupby(self.keys).cumcount()
        return self.keys.where(copies == 0, self.keys + "-" + copies.astype(str))

    @cached_property
    def split(self) -> pd.Series:
        """The part of each row, in the order of the table."""
        order = self.keys.rank(method="min").to_numpy() - 1  # equal rows have one rank
        test = round(len(self.table) * self.test)
        validation = test + round((len(self.table) - test) * self.validation)
        names = np.where(order < test, "test", np.where(order < validation, "validation", "train"))
        return pd.Series(names)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all rows, the columns' names, and what decides the test part."""
        head = [*map(str, self.table), self.target, repr(float(self.test))]
        return hashlib.sha256("\n".join([*head, *sorted(self.ids)]).encode()).hexdigest()

    @property
    def columns(self) -> dict[str, str]:
        """All numbers are doubles to MLflow."""
        return {str(name): "double" for name in self.table}

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of rows by part."""
        return {part: int((self.split == part).sum()) for part in PARTS}

    @property
    def summary(self) -> str:
        """How many rows each part has."""
        return ", ".join(f"{count:,} {part}" for part, count in self.counts.items())

    def rows(self, parameters: Any) -> pd.DataFrame:
        """Tell each row's id and part."""
        return pd.DataFrame({"id": self.ids, "split": self.split})

    def places(self, part: str) -> np.ndarray:
        """Where the rows of a part are in the table, in the order of their ids."""
        return self.ids[self.split == part].sort_values().index.to_numpy()

    def arrays(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Inputs [n, columns] and targets [n, 1] of a part, float32, in the order of the rows' ids."""
        rows = self.table.iloc[self.places(part)].astype(np.float32) + np.float32(0)
        return rows.drop(columns=self.target).to_numpy(), rows[[self.target]].to_numpy()

    def part(self, name: str) -> "TablePart":
        """The rows of a part, to be predicted."""
        return TablePart(self, name)


@dataclass(frozen=True)
class TablePart:
    """Rows of a part of a table, in the order of their ids."""

    dataset: TableDataset
    name: str

    @property
    def source(self) -> str:
        """Of the whole table, as ``digest`` and ``columns``."""
        return self.dataset.source

    @property
    def digest(self) -> str:
        """SHA-256 of the whole table."""
        return self.dataset.digest

    @property
    def columns(self) -> dict[str, str]:
        """MLflow's types."""
        return self.dataset.columns

    @cached_property
    def places(self) -> np.ndarray:
        """Where the rows are in the table."""
        return self.dataset.places(self.name)

    @property
    def ids(self) -> list[str]:
        """The rows' names."""
        return self.dataset.ids.iloc[self.places].tolist()

    @property
    def rows_digest(self) -> str:
        """SHA-256 of the rows' names."""
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
        return self.dataset.table.iloc[self.places].reset_index(drop=True)

    @property
    def keys(self) -> list[str]:
        """Names of what is in the rows: equal rows have one."""
        return self.dataset.keys.iloc[self.places].tolist()

    def seen(self, trained_on: TrainedOn) -> list[bool | None]:
        """Tell which rows a model was trained or chosen on.

        None where that is not known: of a row that the training's table lacks, as rounding alone makes another row.
        """
        rows = trained_on.rows
        if rows is None or not {"id", "split"} <= set(rows):
            return [None] * self.count
        parts = dict(zip(rows["id"].str.split("-").str[0], rows["split"].isin(SEEN_PARTS).tolist(), strict=True))
        return [parts.get(key) for key in self.keys]
