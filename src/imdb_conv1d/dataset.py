"""One table of reviews (text, label, split) for every source, and which rows each part gets.

A row's part follows from the SHA-256 of its text, within its label, and from nothing else: not from the seed and not
from the order of the file. The table is sorted by that hash, so the same texts in another order are the same data.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import pandas as pd

from imdb_conv1d import leaks
from imdb_conv1d.parameters import TrainParameters
from imdb_conv1d.sources import Source
from tracked.console.errors import UserError
from tracked.experiment import PARTS, SEEN_PARTS

TEST_PART = 0.2


@dataclass(frozen=True)
class Reviews:
    """The reviews of one source: ``table`` has the columns hash, text, label (0 or 1) and split, sorted by hash.

    ``source`` is its name, ``digest`` a SHA-256 over all texts, labels and given splits; ``dropped`` counts the rows
    left out, by reason.
    """

    source: str
    table: pd.DataFrame
    digest: str
    dropped: dict[str, int]
    columns: ClassVar[Mapping[str, str]] = {"text": "string", "label": "long"}

    def part(self, split: str) -> pd.DataFrame:
        """The rows of train, validation or test."""
        return self.table[self.table["split"] == split]

    @property
    def learned(self) -> list[pd.DataFrame]:
        """The parts that a training sees."""
        return [self.part(name) for name in SEEN_PARTS]

    @cached_property
    def words(self) -> list["leaks.Words"]:
        """The words of the parts that a training sees: many times the size of the ids, so see :meth:`forget_words`."""
        from imdb_conv1d import tokenizer  # with TensorFlow, which is not needed to read data

        return [tokenizer.split_words(part["text"]) for part in self.learned]

    def forget_words(self) -> None:
        """Free the memory of :attr:`words`."""
        self.__dict__.pop("words", None)

    def rows(self, parameters: TrainParameters) -> pd.DataFrame:
        """Tell what a training sees of each row, without its text."""
        return leaks.make_rows(self.table, self.learned, self.words, parameters.maxlen)

    @property
    def counts(self) -> dict[str, int]:
        """Number of rows by part."""
        return {split: int((self.table["split"] == split).sum()) for split in PARTS}

    @property
    def summary(self) -> str:
        """One line: how many rows each part has, and how many were left out."""
        counts = ", ".join(f"{count:,} {part}" for part, count in self.counts.items())
        dropped = ", ".join(f"{count} {why}" for why, count in self.dropped.items()) or "nothing"
        return f"{counts}; dropped: {dropped}"


def load(source: Source, validation_split: float) -> Reviews:
    """Read a whole source and give each row its part.

    Raises:
        UserError: if the source is unreadable, or a part would be left without one of the labels.
    """
    table = pd.concat([index_table(table).assign(text=table["text"]) for table in source.tables()], ignore_index=True)
    split = assign_parts(table, validation_split)
    kept = table.assign(split=split)[split.isin(PARTS)].sort_values(["hash", "label"], kind="stable", ignore_index=True)
    columns = ["hash", "text", "label", "split"]
    reviews = Reviews(source.name, kept[columns], digest_rows(table), count_dropped(split))
    for part in PARTS:
        for label in (0, 1):
            if not (reviews.part(part)["label"] == label).any():
                raise UserError(
                    f"data: {source.name} leaves no review of label {label} in the {part} part; "
                    "allowed: data, and a validation_split, that give each part reviews of both labels"
                )
    return reviews


def index_rows(source: Source) -> pd.DataFrame:
    """Hash, label and given split of every row of a source, in its order, without holding the texts."""
    return pd.concat([index_table(table) for table in source.tables()], ignore_index=True)


def index_table(table: pd.DataFrame) -> pd.DataFrame:
    """Hash, label and given split of every row of a table."""
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in table["text"]]
    label = table["label"].to_numpy(dtype="int8")
    return pd.DataFrame({"hash": pd.Series(hashes, dtype="str"), "label": label, "split": table["split"].astype("str")})


def assign_parts(rows: pd.DataFrame, validation_split: float) -> pd.Series:
    """The part of each row: train, validation or test, or the reason why it is left out.

    ``rows`` has the columns hash, label and split (what the source says; "" or train may be divided). A test part that
    the source has stays whole, otherwise a fifth is held out; likewise a validation part and ``validation_split``.
    Of copies of a text one row stays; a text that stands under both labels teaches nothing and is dropped.
    """
    given, hashes = rows["split"], rows["hash"]
    part = pd.Series("train", index=rows.index, dtype=object)
    is_test = given == "test"
    part[is_test] = "test"
    part[~is_test & hashes.isin(hashes[is_test])] = "copies of test texts"
    free = rows[part == "train"]
    part[free.index[free.groupby("hash")["label"].transform("nunique") > 1]] = "texts with both labels"
    # Among copies, the row that the source gave to validation is the one that stays.
    free = rows[part == "train"].sort_values("split", ascending=False, kind="stable")
    part[free.index[free.duplicated("hash")]] = "copies"
    part[(part == "train") & (given == "validation")] = "validation"
    if not is_test.any():
        _hold_out(part, rows, "test", TEST_PART)
    if not (given == "validation").any():
        _hold_out(part, rows, "validation", validation_split)
    return part


def _hold_out(part: pd.Series, rows: pd.DataFrame, name: str, fraction: float) -> None:
    """Give the rows with the smallest hashes of each label to ``name``, at least one where there are two."""
    left = rows[part == "train"].sort_values("hash")
    for _, group in left.groupby("label"):
        size = max(round(len(group) * fraction), 1) if len(group) > 1 else 0
        part[group.index[:size]] = name


def digest_rows(rows: pd.DataFrame) -> str:
    """SHA-256 over hash, label and given split of all rows, whatever their order."""
    lines = sorted(rows["hash"] + rows["label"].astype(str) + rows["split"])
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def count_dropped(part: pd.Series) -> dict[str, int]:
    """Number of rows left out, by reason."""
    return {str(reason): int(count) for reason, count in part[~part.isin(PARTS)].value_counts().sort_index().items()}
