"""Read the true and the predicted class of each row from a table of predictions."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from imdb_conv1d.labels import ZERO_ONE, Classes


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What a classifier has predicted, a value for each row.

    Args:
        classes: those that occur as true or as predicted, in the order of the model's codes; of two classes always
            both, so that position 1 is the positive label.
        codes: the model's code of each of them.
        true: the position of each row's class in ``classes``; ``predicted`` likewise.
        probability: of the positive label, of two classes; of the predicted class, of more.
        loss: in nats.
        keys: rows with equal keys are copies of a text.
        ids: names of the rows.
        is_binary: whether the classifier knows two classes.
    """

    classes: Classes
    codes: np.ndarray
    true: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray
    loss: np.ndarray
    keys: np.ndarray
    ids: np.ndarray
    is_binary: bool

    def __len__(self) -> int:
        return len(self.true)

    @cached_property
    def right(self) -> np.ndarray:
        """Whether each row's prediction is right."""
        return np.asarray(self.true == self.predicted)

    @cached_property
    def texts(self) -> np.ndarray:
        """A number for each row's text; copies have the same."""
        return np.asarray(pd.factorize(self.keys)[0])

    @cached_property
    def by_text(self) -> pd.DataFrame:
        """Count each text's rows by class, a row for each class that a text is of or predicted to be of.

        Columns: class and text; support, rows of the class; predicted, rows predicted to be of it; hits, both; either.
        """
        wrong = ~self.right
        classes = np.concatenate([self.true, self.predicted[wrong]])
        texts = np.concatenate([self.texts, self.texts[wrong]])
        of_true = np.arange(len(classes)) < len(self)
        of_predicted = np.concatenate([self.right, np.ones(wrong.sum(), dtype=bool)])
        width = int(texts.max(initial=0)) + 1
        cells, rows = np.unique(classes * width + texts, return_inverse=True)
        columns = {"support": of_true, "predicted": of_predicted, "hits": of_true & of_predicted}
        counts = {name: np.bincount(rows, marked, len(cells)).astype(int) for name, marked in columns.items()}
        table = pd.DataFrame({"class": cells // width, "text": cells % width, **counts})
        return table.assign(either=table["support"] + table["predicted"] - table["hits"])

    @classmethod
    def of(cls, predictions: pd.DataFrame) -> "Outcomes":
        """Read a table of predictions: of labels 0 and 1, of two named ones, or of more."""
        true = predictions["label"].to_numpy(dtype=int)
        probability = predictions["probability"].to_numpy(dtype=float)
        is_binary = "predicted_label" not in predictions
        predicted = (probability > 0.5).astype(int) if is_binary else predictions["predicted_label"].to_numpy(dtype=int)
        names = _read_names(predictions, true, predicted)
        codes = np.arange(2) if is_binary else np.union1d(true, predicted)
        return cls(
            classes=Classes(tuple(names.get(code, str(code)) for code in codes.tolist())),
            codes=codes,
            true=np.searchsorted(codes, true),
            predicted=np.searchsorted(codes, predicted),
            probability=probability,
            loss=predictions["loss"].to_numpy(dtype=float),
            keys=predictions["key"].to_numpy(),
            ids=predictions["id"].to_numpy(),
            is_binary=is_binary,
        )


def _read_names(predictions: pd.DataFrame, true: np.ndarray, predicted: np.ndarray) -> Mapping[int, str]:
    """Read the name of each code that occurs; labels 0 and 1 need no names."""
    if "class" not in predictions:
        return dict(enumerate(ZERO_ONE))
    names: dict[int, str] = {}
    for codes, column in ((true, "class"), (predicted, "predicted")):
        present, first = np.unique(codes, return_index=True)
        names |= dict(zip(present.tolist(), map(str, predictions[column].iloc[first]), strict=True))
    return names
