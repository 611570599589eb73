"""Labelled texts of one source, each assigned to a part. The texts stay in their source and are read again as a stream.

The rows are sorted by part, hash and label, so the same texts in another order are the same data.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from imdb_conv1d import leaks
from imdb_conv1d.labels import Classes, make_classes, quote_labels
from imdb_conv1d.parameters import TrainParameters
from imdb_conv1d.reuse import Last, Prepared
from imdb_conv1d.sources import Source
from imdb_conv1d.splitting import LISTED, TEST, assign_parts, check_labels, count_dropped
from imdb_conv1d.text_index import TextIndex, make_index, read_again, read_spellings, to_hex
from tracked.experiment import PARTS, SEEN_PARTS

TEST_SPLIT = 0.2


@dataclass(eq=False)
class IndexedTexts:
    """Labelled texts that stay in their source.

    Args:
        texts: where the texts are read.
        index: all rows of the source, in its order.
    """

    texts: Source
    index: TextIndex

    @property
    def source(self) -> str:
        """The source's name."""
        return self.texts.name

    @property
    def classes(self) -> Classes:
        """The labels: of a part to predict, the model's."""
        return self.index.classes

    @property
    def columns(self) -> Mapping[str, str]:
        """MLflow's type of each column; 0 and 1 are numbers, as earlier versions stored them."""
        return {"text": "string", "label": "long" if self.classes.is_zero_one else "string"}

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all texts, labels and given splits of the source."""
        return self.index.digest()


@dataclass(eq=False)
class LabelledTexts(IndexedTexts):
    """The texts of a source without copies and such, in the parts train, validation and test.

    A row's number is its position in the order by part (as in ``PARTS``), hash and label: those of a part are
    consecutive.

    Args:
        assigned: the part of each row of the index, from ``splitting.assign_parts``.
        keys: of the words that the model gets of each row of train and validation, bytes [n], by number; set while
            the network is built.
        prepared: what the last training has derived from the texts, for the next one of the process.
    """

    assigned: np.ndarray
    keys: np.ndarray = field(default_factory=lambda: np.empty(0, "S32"))
    prepared: Last[Prepared] = field(default_factory=Last)

    @property
    def dropped(self) -> dict[str, int]:
        """The number of dropped rows by reason."""
        return count_dropped(self.assigned)

    @cached_property
    def order(self) -> np.ndarray:
        """The position in the index of each row, by its number."""
        kept = np.flatnonzero(self.assigned < len(PARTS))
        keys = self.index.labels[kept], self.index.ranks[kept], self.assigned[kept]
        return kept[np.lexsort(keys)].astype(np.int32)

    @cached_property
    def counts(self) -> dict[str, int]:
        """The number of rows of each part."""
        return {name: int((self.assigned == part).sum()) for part, name in enumerate(PARTS)}

    @property
    def summary(self) -> str:
        """The number of rows of each part and of the dropped ones, in one line."""
        counts = ", ".join(f"{count:,} {part}" for part, count in self.counts.items())
        dropped = ", ".join(f"{count} {why}" for why, count in self.dropped.items()) or "nothing"
        labels = "" if self.classes.is_zero_one else f"; labels: {self._describe_labels()}"
        return f"{counts}; dropped: {dropped}{labels}"

    def _describe_labels(self) -> str:
        names = self.classes.names
        if self.classes.is_binary:
            return f"{quote_labels(names)} (positive)"
        return quote_labels(names, LISTED) if len(names) <= LISTED else str(len(names))

    def count(self, part: str) -> int:
        """Count the rows of a part."""
        return self.counts[part]

    def positions(self, part: str) -> np.ndarray:
        """Find the numbers of a part's rows, int32 [n]."""
        span = self._span(part)
        return np.arange(span.start, span.stop, dtype=np.int32)

    def _span(self, part: str) -> slice:
        start = sum(self.counts[name] for name in PARTS[: PARTS.index(part)])
        return slice(start, start + self.counts[part])

    def hashes(self, part: str) -> list[str]:
        """List the SHA-256 of a part's texts, in hexadecimal digits."""
        return to_hex(self.index.hashes[self.order[self._span(part)]])

    def labels(self, part: str) -> np.ndarray:
        """Return the codes of a part's labels, int32 [n]."""
        return self.index.labels[self.order[self._span(part)]]

    def read_texts(self, parts: Sequence[str] = SEEN_PARTS) -> Iterator[tuple[np.ndarray, list[str]]]:
        """Read the texts of some parts in the order of the source, in pieces: the rows' numbers, and their texts.

        Raises:
            RunFailed: if the source has changed since it was read first.
        """
        numbers = np.full(len(self.index), -1, dtype=np.int32)
        for part in parts:
            numbers[self.order[self._span(part)]] = self.positions(part)
        for rows, texts in read_again(self.texts, self.index, "read", "start again"):
            found = numbers[rows]
            if (found >= 0).any():
                yield found[found >= 0], [text for text, number in zip(texts, found, strict=True) if number >= 0]

    @property
    def table(self) -> pd.DataFrame:
        """Hash, label (0 and 1 as numbers) and split of all rows, with their numbers as its index, sorted by hash."""
        order, names = self.order, np.array(self.classes.names, dtype=object)
        labels = self.index.labels[order]
        columns = {
            "hash": pd.Series(to_hex(self.index.hashes[order]), dtype="str"),
            "label": labels.astype(np.int8) if self.classes.is_zero_one else names[labels],
            "split": pd.Series(np.array(PARTS, dtype=object)[self.assigned[order]], dtype="str"),
        }
        return pd.DataFrame(columns).iloc[np.lexsort((labels, self.index.ranks[order]))]

    def rows(self, parameters: TrainParameters) -> pd.DataFrame:
        """Make the table of rows to log with a training: hash, label, split and the key of the words, without texts."""
        table = self.table
        numbers = table.index.to_numpy()
        seen = np.flatnonzero(numbers < len(self.keys))
        return leaks.make_rows(table.reset_index(drop=True), seen, self.keys[numbers[seen]], parameters.maxlen)


def load(
    source: Source, validation_split: float, test_split: float = TEST_SPLIT, positive_label: str = "auto"
) -> LabelledTexts:
    """Read a whole source and assign each row to a part.

    Raises:
        UserError: if the source cannot be read, its labels cannot be classes, or a part lacks one of two labels, or all
            but one of more.
    """
    read = read_spellings(source)
    classes, names = make_classes(read.counts, positive_label, f"{source.name}: {source.labels_in}")
    index = make_index(read, classes, names)
    texts = LabelledTexts(source, index, assign_parts(index, validation_split, test_split))
    has_test = test_split > 0 or bool((texts.assigned == TEST).any())
    for part in PARTS if has_test else SEEN_PARTS:
        check_labels(texts.labels(part), classes, part, source.name)
    return texts
