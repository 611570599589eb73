"""Compare networks by cross-validation on the reviews that are not held out for testing, paired.

python bench/folds.py [--folds 0,1]

Each of five folds is the validation part once, and the other four are the training part: 15,939 and 3,985 reviews. What
is compared: the article's network (the epoch with the least validation loss of four), preset=accurate, the same with
two members, and the linear model of the evaluations. Predictions of all folds together give accuracy, log loss, and the
differences from the article's network and from the linear model, with 95 % intervals over reviews. Each fold's
predictions are kept in bench/out, and a fold that is there is not trained again.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import epochs
from imdb_conv1d import dataset, sources
from imdb_conv1d.columns import Layout
from imdb_conv1d.parameters import TrainParameters
from tracked.training import reproducibility

FOLDS = 5
TRIED: dict[str, dict[str, Any]] = {
    "article": {"epochs": 4},
    "accurate": {"preset": "accurate"},
    "accurate, two members": {"preset": "accurate", "members": 2},
}
LINEAR = "linear model"
EPSILON = 1e-7
FILE = "fold-{number}.parquet"


@dataclass(frozen=True, eq=False)
class Fold:
    """A training part and a validation part: texts and labels, float32 [n]."""

    texts: tuple[list[str], list[str]]
    labels: tuple[np.ndarray, np.ndarray]


def read_reviews() -> tuple[list[str], np.ndarray]:
    """Read the training and the validation part of the reviews; the test part stays unread."""
    parameters = TrainParameters(data="reviews")
    source = sources.resolve("reviews", Layout.of(parameters))
    texts = dataset.load(source, parameters.validation_split, parameters.test_split, parameters.positive_label)
    parts = ["train", "validation"]
    found = [""] * sum(map(texts.count, parts))
    for numbers, piece in texts.read_texts(parts):
        for number, text in zip(numbers.tolist(), piece, strict=True):
            found[number] = text
    return found, np.concatenate([texts.labels(part) for part in parts])


def assign_folds(labels: np.ndarray) -> np.ndarray:
    """Assign each review a fold, as many of each label to each."""
    random, folds = np.random.default_rng(123), np.empty(len(labels), int)
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        folds[rows] = np.arange(len(rows)) % FOLDS
    return folds


def make_fold(texts: Sequence[str], labels: np.ndarray, is_held_out: np.ndarray) -> Fold:
    """Divide the reviews."""
    rows = np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
    train, held_out = ([texts[row] for row in part] for part in rows)
    return Fold((train, held_out), (labels[rows[0]].astype(np.float32), labels[rows[1]].astype(np.float32)))


def train_network(fold: Fold, parameters: TrainParameters) -> np.ndarray:
    """Train, and predict the validation part with the epoch of the least loss: probabilities [n]."""
    import keras

    from imdb_conv1d import gated, ids, networks

    reproducibility.make_repeatable(parameters.seed, 1)
    count = len(fold.texts[0])
    positions = [np.arange(count), np.arange(count, count + len(fold.texts[1]))]
    pieces = [(np.concatenate(positions), [*fold.texts[0], *fold.texts[1]])]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        encoding = ids.encode_parts(pieces, positions, folder, parameters.max_features, parameters.maxlen)
        train, validation = zip(encoding.parts, fold.labels, strict=True)
        if parameters.network == "gated":
            trainee = gated.build(parameters, train, validation, 2, folder, None)
        else:
            network = networks.build(parameters, rows=count)
            trainee = networks.NetworkTrainee(network, parameters, train, validation)
    least, best = np.inf, np.zeros(0)

    class Predict(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            nonlocal least, best
            if (loss := float((logs or {})["val_loss"])) < least:
                batches = (trainee.model(inputs, training=False) for inputs, _ in trainee.validation)
                least, best = loss, np.concatenate([np.asarray(batch)[:, 0] for batch in batches])

    trainee.fit([Predict()], 0, parameters.epochs)
    predicted = np.empty(len(best))
    predicted[np.argsort(validation[0].lengths, kind="stable")] = best  # the order of the validation batches
    return predicted


def fit_linear(fold: Fold) -> np.ndarray:
    """Fit the linear model that evaluations are compared with, and predict the validation part likewise.

    It chooses its regularisation by the loss there, among three.
    """
    from imdb_conv1d import linear_model

    samples = linear_model.Sample(linear_model.MAX_VALUES), linear_model.Sample(linear_model.MAX_VALIDATION_VALUES)
    for sample, texts, labels in zip(samples, fold.texts, fold.labels, strict=True):
        sample.add(texts, labels.astype(int), "words")
    return linear_model.fit(*samples, 2, "words").predict(fold.texts[1])[:, 1]


def summarize(labels: np.ndarray, predicted: dict[str, np.ndarray]) -> list[list[Any]]:
    """Summarize each one's predictions in a row of the table."""
    losses, right = {}, {}
    for name, probability in predicted.items():
        of_label = np.where(labels == 1, probability, 1 - probability)
        losses[name], right[name] = -np.log(np.clip(of_label, EPSILON, 1)), 100.0 * ((probability > 0.5) == labels)
    rows = []
    for name in predicted:
        row: list[Any] = [name, _describe(right[name], 2), _describe(losses[name], 4)]
        for other in ("article", LINEAR):
            row.append("" if name == other else _describe(right[name] - right[other], 2))
            row.append("" if name == other else _describe(losses[name] - losses[other], 4))
        rows.append(row)
    return rows


def _describe(values: np.ndarray, digits: int) -> str:
    """Describe a mean over reviews with its 95 % interval; with so many, the normal one."""
    mean, half = values.mean(), 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return f"{mean:.{digits}f} ({mean - half:.{digits}f} to {mean + half:.{digits}f})"


def predict_fold(texts: Sequence[str], labels: np.ndarray, is_held_out: np.ndarray, number: int) -> pd.DataFrame:
    """Predict the validation part of a fold in each way, and keep the table: a row a review, and the seconds."""
    fold = make_fold(texts, labels, is_held_out)
    ways: dict[str, Callable[[Fold], np.ndarray]] = {
        name: lambda fold, given=given: train_network(fold, TrainParameters(**given)) for name, given in TRIED.items()
    } | {LINEAR: fit_linear}
    table = pd.DataFrame({"label": fold.labels[1]})
    for name, way in ways.items():
        start = time.perf_counter()
        table[name] = way(fold)
        table[f"{name}, seconds"] = time.perf_counter() - start
        of_label = np.where(table["label"] == 1, table[name], 1 - table[name])
        loss, accuracy = -np.log(np.clip(of_label, EPSILON, 1)).mean(), (of_label > 0.5).mean()
        print(f"fold {number}  {name}: accuracy {accuracy:.4f}  loss {loss:.4f}", flush=True)
    epochs.OUT.mkdir(exist_ok=True)
    table.to_parquet(epochs.OUT / FILE.format(number=number))
    return table


def main() -> None:
    """Train what is missing, print and write bench/out/folds.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folds", default="0,1,2,3,4", help="the folds to predict, of 0 to 4")
    texts, labels = read_reviews()
    folds, tables = assign_folds(labels), []
    for number in map(int, parser.parse_args().folds.split(",")):
        path = epochs.OUT / FILE.format(number=number)
        kept = pd.read_parquet(path) if path.exists() else predict_fold(texts, labels, folds == number, number)
        tables.append(kept)
    every = pd.concat(tables)
    names = [*TRIED, LINEAR]
    rows = summarize(every["label"].to_numpy(), {name: every[name].to_numpy() for name in names})
    for row in rows:
        row.append(f"{np.mean([table[f'{row[0]}, seconds'].iloc[0] for table in tables]):.0f}")
    head = ["", "accuracy, %", "log loss", "accuracy less the article's", "log loss less the article's",
            "accuracy less the linear model's", "log loss less the linear model's", "seconds"]  # fmt: skip
    epochs.write("folds.md", f"{epochs.table(head, rows)}\n\nOf {len(every):,} reviews in {len(tables)} folds.")


if __name__ == "__main__":
    main()
