"""What trainings of one dataset take from one another, and what stays each one's own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from helpers.reviews import make_noisy_reviews
from imdb_conv1d import ngram_model, tokenizer
from imdb_conv1d.dataset import LabelledTexts
from imdb_conv1d.experiment import EXPERIMENT
from imdb_conv1d.parameters import TrainParameters
from tracked.training import reproducibility
from tracked.training.dataset_cache import DatasetCache

SMALL = TrainParameters(maxlen=12, max_features=60, embedding_dims=4, filters=4, hidden_dims=3, ngrams=2, batch_size=16)


def load(tmp_path: Path) -> LabelledTexts:
    """Load a new dataset of the same reviews."""
    path = tmp_path / "reviews.csv"
    make_noisy_reviews(120).to_csv(path, index=False)
    dataset = DatasetCache(EXPERIMENT).load(SMALL.model_copy(update={"data": str(path)}), "")
    assert isinstance(dataset, LabelledTexts)
    return dataset


def train(dataset: LabelledTexts, folder: Path, **changes: object) -> tuple[dict[str, list[float]], list[np.ndarray]]:
    """Train for an epoch; the metrics and the state after it."""
    parameters = TrainParameters(**(SMALL.model_dump() | changes))
    reproducibility.make_repeatable(parameters.seed)
    trainee, kept = EXPERIMENT.build(parameters, dataset, folder, {}), keras.callbacks.History()
    trainee.fit([kept], 0, 1)
    return dict(kept.history), trainee.state()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("network", ["conv", "gated"])
def test_second_training_equals_one_of_a_new_dataset_and_outlives_the_first_ones_run_folder(
    network: str, tmp_path: Path, folders: Iterator[Path], made: list[str]
) -> None:
    dataset, first, second, alone = load(tmp_path), next(folders), next(folders), next(folders)
    train(dataset, first, network=network, hidden_dims=5)
    keys = dataset.keys
    once = ["encode_parts"] if network == "conv" else ["encode_parts", "fit", "number_in_file"]
    kept = names(first)
    assert len(kept) == (1 if network == "conv" else 2)
    shutil.rmtree(first)
    history, state = train(dataset, second, network=network)
    assert made == once
    expected, expected_state = train(load(tmp_path), alone, network=network)
    assert made == once * 2
    assert history == expected
    assert len(state) == len(expected_state)
    for found, other in zip(state, expected_state, strict=True):
        assert np.array_equal(found, other)
    assert names(second) == names(alone) == kept
    for name in kept:
        assert (second / name).read_bytes() == (alone / name).read_bytes()
    assert dataset.keys is keys


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "again"),
    [
        ({"max_features": 50}, ["encode_parts", "fit", "number_in_file"]),
        ({"maxlen": 11}, ["encode_parts", "fit", "number_in_file"]),
        ({"tokens": "characters"}, ["encode_parts", "fit", "number_in_file"]),
        ({"ngrams": 1}, ["fit", "number_in_file"]),
        ({"seed": 8}, ["fit"]),  # other folds of the same n-grams
        ({"dropout": 0.5, "batch_size": 8, "members": 2, "class_weight": "balanced"}, []),
    ],
)
def test_change_of_a_parameter_makes_anew_what_depends_on_it(
    changes: dict[str, object], again: list[str], tmp_path: Path, folders: Iterator[Path], made: list[str]
) -> None:
    dataset, second = load(tmp_path), next(folders)
    train(dataset, next(folders), network="gated")
    made.clear()
    train(dataset, second, network="gated", **changes)
    assert made == again
    alone = next(folders)
    train(load(tmp_path), alone, network="gated", **changes)
    assert names(second) == names(alone)


@pytest.mark.slow
def test_network_without_ngrams_in_between_leaves_them_held(
    tmp_path: Path, folders: Iterator[Path], made: list[str]
) -> None:
    dataset = load(tmp_path)
    for network in ("gated", "conv", "gated"):
        train(dataset, next(folders), network=network)
    assert made == ["encode_parts", "fit", "number_in_file"]


@pytest.mark.slow
def test_resumed_trainings_own_files_are_taken_and_given_to_no_new_training(
    tmp_path: Path, folders: Iterator[Path], made: list[str]
) -> None:
    dataset, resumed, new = load(tmp_path), next(folders), next(folders)
    train(dataset, next(folders), network="gated")
    own = tokenizer.keep_vocabulary(resumed, lambda: [*tokenizer.RESERVED, "funny", "awful"])
    made.clear()
    train(dataset, resumed, network="gated")
    assert made == ["encode_parts", "fit", "number_in_file"]
    assert tokenizer.find_vocabulary(resumed) == own
    assert dataset.prepared.take((60, 12, "words"), lambda: pytest.fail("not held")).encoding.vocabulary == own
    train(dataset, new, network="gated")
    assert made == ["encode_parts", "fit", "number_in_file"] * 2
    assert own.name not in names(new)


@pytest.mark.slow
def test_resumed_training_with_equal_files_takes_what_is_held(
    tmp_path: Path, folders: Iterator[Path], made: list[str]
) -> None:
    dataset, folder = load(tmp_path), next(folders)
    history, _ = train(dataset, folder, network="gated")
    written = [(path.name, path.stat().st_mtime_ns) for path in sorted(folder.iterdir())]
    assert train(dataset, folder, network="gated")[0] == history
    assert made == ["encode_parts", "fit", "number_in_file"]
    assert [(path.name, path.stat().st_mtime_ns) for path in sorted(folder.iterdir())] == written


@pytest.mark.slow
def test_damaged_kept_files_are_written_again_from_what_is_held(
    tmp_path: Path, folders: Iterator[Path], made: list[str]
) -> None:
    dataset, first, second = load(tmp_path), next(folders), next(folders)
    train(dataset, first, network="gated")
    contents = {path.name: path.read_bytes() for path in first.iterdir()}
    for name, content in contents.items():
        (second / name).write_bytes(content[:-1])
    train(dataset, second, network="gated")
    assert made == ["encode_parts", "fit", "number_in_file"]
    assert {path.name: path.read_bytes() for path in second.iterdir()} == contents
    assert ngram_model.find(second).name in contents


@pytest.mark.slow
def test_gated_training_after_others_in_the_process_has_the_bits_of_the_first(
    tmp_path: Path, folders: Iterator[Path]
) -> None:
    """The layers' names decide in which order two members' gradients are added up."""
    dataset, states = load(tmp_path), []
    for network, members in (("gated", 2), ("gated", 2), ("conv", 1), ("gated", 2)):
        _, state = train(dataset, next(folders), network=network, members=members, batch_size=8, hidden_dims=8)
        if network == "gated":
            states.append(b"".join(array.tobytes() for array in state))
    assert states[0] == states[1] == states[2]
