"""Read a source into one table of reviews, and assign each row to a part.

Within a label, a row's part depends on the SHA-256 of its text alone: not on the seed, not on the order of the file.
The table is sorted by that hash, so the same texts in another order are the same data.
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

    ``source`` is the source's name, ``digest`` a SHA-256 over all texts, labels and given splits; ``dropped`` counts
    the dropped rows by reason.
    """

    source: str
    table: pd.DataFrame
    digest: str
    dropped: dict[str, int]
    columns: ClassVar[Mapping[str, str]] = {"text": "string", "label": "long"}

    def part(self, split: str) -> pd.DataFrame:
        """Return the rows of train, validation or test."""
        return self.table[self.table["split"] == split]

    @property
    def seen(self) -> list[pd.DataFrame]:
        """The parts that a training sees: train and validation."""
        return [self.part(name) for name in SEEN_PARTS]

    @cached_property
    def words(self) -> list["leaks.Words"]:
        """The words of the seen parts, many times larger than their ids: free them with :meth:`forget_words`."""
        from imdb_conv1d import tokenizer  # imports TensorFlow, which reading data does not need

        return [tokenizer.split_words(part["text"]) for part in self.seen]

    def forget_words(self) -> None:
        """Free the memory of ``words``."""
        self.__dict__.pop("words", None)

    def rows(self, parameters: TrainParameters) -> pd.DataFrame:
        """Make the table of rows to log with a training: hash, label, split and the key of the words, without texts."""
        return leaks.make_rows(self.table, self.seen, self.words, parameters.maxlen)

    @property
    def counts(self) -> dict[str, int]:
        """The number of rows of each part."""
        return {split: int((self.table["split"] == split).sum()) for split in PARTS}

    @property
    def summary(self) -> str:
        """The number of rows of each part and of the dropped ones, in one line."""
        counts = ", ".join(f"{count:,} {part}" for part, count in self.counts.items())
        dropped = ", ".join(f"{count} {why}" for why, count in self.dropped.items()) or "nothing"
        return f"{counts}; dropped: {dropped}"


def load(source: Source, validation_split: float) -> Reviews:
    """Read a whole source and assign each row to a part.

    Raises:
        UserError: if the source cannot be read, or a part lacks one of the labels.
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
                    "allowed: data and a validation_split with both labels in each part"
                )
    return reviews


def index_rows(source: Source) -> pd.DataFrame:
    """Read hash, label and given split of all rows of a source, in its order, without keeping texts in memory."""
    return pd.concat([index_table(table) for table in source.tables()], ignore_index=True)


def index_table(table: pd.DataFrame) -> pd.DataFrame:
    """Compute hash, label and given split of the rows of a table."""
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in table["text"]]
    label = table["label"].to_numpy(dtype="int8")
    return pd.DataFrame({"hash": pd.Series(hashes, dtype="str"), "label": label, "split": table["split"].astype("str")})


def assign_parts(rows: pd.DataFrame, validation_split: float) -> pd.Series:
    """Assign each row to train, validation or test, or to the reason for dropping it.

    ``rows`` has the columns hash, label and split (the source's own; "" and train may be divided). A test part of the
    source stays as it is; otherwise a fifth is held out. Likewise for validation, with ``validation_split``. Of copies
    of a text one row stays; texts with both labels are dropped.
    """
    given, hashes = rows["split"], rows["hash"]
    part = pd.Series("train", index=rows.index, dtype=object)
    is_test = given == "test"
    part[is_test] = "test"
    part[~is_test & hashes.isin(hashes[is_test])] = "copies of test texts"
    free = rows[part == "train"]
    part[free.index[free.groupby("hash")["label"].transform("nunique") > 1]] = "texts with both labels"
    # Of copies, a row of the source's validation part stays.
    free = rows[part == "train"].sort_values("split", ascending=False, kind="stable")
    part[free.index[free.duplicated("hash")]] = "copies"
    part[(part == "train") & (given == "validation")] = "validation"
    if not is_test.any():
        _hold_out(part, rows, "test", TEST_PART)
    if not (given == "validation").any():
        _hold_out(part, rows, "validation", validation_split)
    return part


def _hold_out(part: pd.Series, rows: pd.DataFrame, name: str, fraction: float) -> None:
    """Move the train rows with the smallest hashes of each label to ``name``, at least one of two or more."""
    train = rows[part == "train"].sort_values("hash")
    for _, group in train.groupby("label"):
        size = max(round(len(group) * fraction), 1) if len(group) > 1 else 0
        part[group.index[:size]] = name


def digest_rows(rows: pd.DataFrame) -> str:
    """Compute a SHA-256 over hash, label and given split of all rows, independent of their order."""
    lines = sorted(rows["hash"] + rows["label"].astype(str) + rows["split"])
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def count_dropped(part: pd.Series) -> dict[str, int]:
    """Count the dropped rows by reason."""
    return {str(reason): int(count) for reason, count in part[~part.isin(PARTS)].value_counts().sort_index().items()}
