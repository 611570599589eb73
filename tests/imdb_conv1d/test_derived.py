"""What of texts is kept for later processes: equal arrays and bits, all that a key has, and what is never kept."""

import ast
import importlib.metadata
import platform
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from helpers import SRC
from helpers.resuming import ARGUMENTS, assert_same_run
from helpers.reviews import make_noisy_reviews
from helpers.runs import last_run, run_train
from helpers.verbs import find_rate
from imdb_conv1d import derived, gated, tokenizer, words
from imdb_conv1d.dataset import LabelledTexts
from imdb_conv1d.experiment import EXPERIMENT
from imdb_conv1d.parameters import TrainParameters
from imdb_conv1d.prepare import encode
from tracked.console.errors import RunFailed
from tracked.console.signals import Signals
from tracked.training import reproducibility
from tracked.training.array_file import read_arrays
from tracked.training.derived_cache import DerivedCache

SMALL = {"maxlen": 12, "max_features": 60, "embedding_dims": 4, "filters": 4, "hidden_dims": 3, "ngrams": 2}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache, which is on; the table of characters is read without it."""
    words.clean("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setenv("IMDB_CONV1D_CACHE_GB", "1")
    return DerivedCache(EXPERIMENT.name).folder


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    make_noisy_reviews(120).to_csv(path, index=False)
    return path


def load(table: Path, **changes: object) -> tuple[LabelledTexts, TrainParameters]:
    parameters = TrainParameters(data=str(table), **(SMALL | changes))
    dataset = EXPERIMENT.load(parameters, "")
    return dataset, parameters


def train(table: Path, folder: Path, **changes: object) -> tuple[dict[str, list[float]], bytes]:
    """Train for an epoch as a new process does; the metrics and the state after it."""
    dataset, parameters = load(table, **changes)
    reproducibility.make_repeatable(parameters.seed)
    trainee, kept = EXPERIMENT.build(parameters, dataset, folder, {}), keras.callbacks.History()
    trainee.fit([kept], 0, 1)
    return dict(kept.history), b"".join(array.tobytes() for array in trainee.state())


@pytest.fixture
def derive(table: Path, folders: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Derive all that a training with n-grams needs, without its network."""

    def build(**changes: object) -> None:
        dataset, parameters = load(table, network="gated", **changes)
        EXPERIMENT.build(parameters, dataset, next(folders), {})

    monkeypatch.setattr(gated.networks, "build_gated", lambda *given: None)
    monkeypatch.setattr(gated, "NetworkTrainee", lambda *given: None)
    return build


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("tokens", ["words", "characters"])
def test_encoding_that_was_kept_equals_the_one_made_array_for_array(
    cache: Path, made: list[str], table: Path, folders: Iterator[Path], tokens: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [next(folders), next(folders)]
    of = [encode(*load(table, tokens=tokens), place, DerivedCache(EXPERIMENT.name)).encoding for place in places]
    assert made == ["encode_parts"]
    assert f"words to ids: taken from an earlier training ({cache})" in capsys.readouterr().out.splitlines()
    first, second = of
    assert second.vocabulary.parent == places[1]
    assert (first.vocabulary.name, first.vocabulary.read_bytes()) == (
        second.vocabulary.name, second.vocabulary.read_bytes(),
    )  # fmt: skip
    pairs = [(first.keys, second.keys)]
    for one, other in zip(first.parts, second.parts, strict=True):
        assert one.maxlen == other.maxlen
        pairs += [(one.values, other.values), (one.starts, other.starts), (one.lengths, other.lengths)]
    for one, other in pairs:
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    values = second.parts[0].values
    assert second.parts[1].values is values
    assert values.flags.writeable
    assert values.ctypes.data % 64 == 0


@pytest.mark.slow
@pytest.mark.parametrize("network", ["conv", "gated"])
def test_training_of_what_was_kept_has_the_bits_of_one_without_a_cache(
    cache: Path, made: list[str], table: Path, folders: Iterator[Path], network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, alone = next(folders), next(folders), next(folders)
    found = [train(table, first, network=network)]
    once = list(made)
    kept = names(first)
    shutil.rmtree(first)
    found.append(train(table, second, network=network))
    assert made == once == (["encode_parts"] if network == "conv" else ["encode_parts", "fit", "number_in_file"])
    monkeypatch.setenv("IMDB_CONV1D_CACHE_GB", "0")
    found.append(train(table, alone, network=network))
    assert made == once * 2
    assert found[0] == found[1] == found[2]
    assert names(second) == names(alone) == kept
    assert [(second / name).read_bytes() for name in kept] == [(alone / name).read_bytes() for name in kept]


@pytest.mark.slow
def test_runs_of_a_command_with_and_without_a_hit_are_the_same(
    cache: Path, made: list[str], store: str, noisy: Path, straight: dict[str, dict[int, float]]
) -> None:
    for _ in range(2):
        run_train(f"--data={noisy}", *ARGUMENTS)
        assert_same_run(last_run(), straight)
    assert made == ["encode_parts"]


def test_what_ids_do_not_depend_on_finds_them(
    cache: Path, made: list[str], table: Path, folders: Iterator[Path]
) -> None:
    changes = {"epochs": 3, "patience": 9, "seed": 8, "dropout": 0.5, "batch_size": 8, "filters": 5, "network": "gated",
               "class_weight": "balanced", "learning_rate": 0.1, "model_name": "other"}  # fmt: skip
    for change in ({}, *({name: value} for name, value in changes.items())):
        dataset, parameters = load(table, **change)
        encode(dataset, parameters, next(folders), DerivedCache.of(EXPERIMENT, parameters))
    assert made == ["encode_parts"]


def change_text(path: Path) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1].replace(" ", " new ", 1), *lines[2:]]))


def change_label(path: Path) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], f"{lines[1][:-1]}{1 - int(lines[1][-1])}", *lines[2:]]))


def leave_out(path: Path) -> None:
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))


def reverse(path: Path) -> None:
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([head, *reversed(lines)]))


def test_what_ids_depend_on_finds_none(
    cache: Path, made: list[str], table: Path, folders: Iterator[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode_all(**changes: object) -> int:
        """Encode twice; returns how often the ids were made."""
        made.clear()
        for _ in range(2):
            encode(*load(table, **changes), next(folders), DerivedCache(EXPERIMENT.name))
        return len(made)

    assert encode_all() == 1
    for changes in ({"max_features": 50}, {"maxlen": 11}, {"tokens": "characters"}, {"validation_split": 0.4},
                    {"test_split": 0.4}):  # fmt: skip
        assert encode_all(**changes) == 1, changes
    original = table.read_bytes()
    for change in (change_text, change_label, leave_out, reverse):
        change(table)
        assert encode_all() == 1, change
        table.write_bytes(original)
    assert encode_all() == 0
    versions, digest = importlib.metadata.version, derived.digest_programs
    for package in ("tensorflow", "numpy", "pyarrow"):
        with monkeypatch.context() as patch:
            patch.setattr(importlib.metadata, "version", lambda name, of=package: versions(name) + "x" * (name == of))
            assert encode_all() == 1, package
    for module, function in ((platform, "python_version"), (platform, "machine")):
        with monkeypatch.context() as patch:
            patch.setattr(module, function, lambda: "other")
            assert encode_all() == 1, function
    with monkeypatch.context() as patch:
        patch.setattr(unicodedata, "unidata_version", "99.0")
        assert encode_all() == 1
    with monkeypatch.context() as patch:
        patch.setattr(derived, "digest_programs", lambda paths: f"{digest(paths)} changed")
        assert encode_all() == 1
    assert encode_all() == 0


def test_ngrams_depend_on_labels_seed_length_processor_and_code(
    cache: Path, made: list[str], derive: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    derive()
    assert len(names(cache)) == 3
    host = reproducibility.describe_host()
    for changes, expected in (
        ({}, []), ({"members": 2, "class_weight": "balanced"}, []), ({"seed": 8}, ["fit"]),
        ({"ngrams": 1}, ["fit", "number_in_file"]), ({"positive_label": "0"}, ["fit"]),
        ({"maxlen": 11}, ["encode_parts", "fit", "number_in_file"]),
    ):  # fmt: skip
        made.clear()
        derive(**changes)
        assert made == expected, changes
    made.clear()
    monkeypatch.setattr(derived, "describe_host", lambda: host | {"cpu": "other"})
    derive()
    assert made == ["fit"]


@pytest.mark.slow
def test_damaged_entries_are_made_anew_with_a_line_and_the_same_bits(
    cache: Path, made: list[str], table: Path, folders: Iterator[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    expected = train(table, next(folders), network="gated")
    contents = {path: path.read_bytes() for path in cache.iterdir()}
    for path, content in contents.items():
        path.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    made.clear()
    capsys.readouterr()
    assert train(table, next(folders), network="gated") == expected
    assert made == ["encode_parts", "fit", "number_in_file"]
    assert len(capsys.readouterr().err.splitlines()) == 3
    assert {path: path.read_bytes() for path in cache.iterdir()} == contents


def test_texts_that_may_not_be_logged_leave_nothing_and_find_nothing(
    cache: Path, made: list[str], derive: Callable[..., None]
) -> None:
    derive(log_texts=False)
    assert names(cache) == []
    derive()
    kept = names(cache)
    made.clear()
    derive(log_texts=False)
    assert made == ["encode_parts", "fit", "number_in_file"]
    assert names(cache) == kept


def test_find_rate_which_cannot_be_forbidden_to_store_texts_keeps_nothing(
    cache: Path, made: list[str], store: str, noisy: Path
) -> None:
    with suppress(RunFailed):  # so few steps may suggest no rate
        find_rate.main([f"--data={noisy}", "--steps=50", "--maxlen=12"], Signals())
    assert (made, names(cache)) == (["encode_parts"], [])


def test_resumed_training_keeps_its_vocabulary_and_leaves_the_cache_alone(
    cache: Path, made: list[str], table: Path, folders: Iterator[Path]
) -> None:
    resumed, equal = next(folders), next(folders)
    other = tokenizer.keep_vocabulary(resumed, lambda: [*tokenizer.RESERVED, "funny", "awful"])
    dataset, parameters = load(table)
    prepared = encode(dataset, parameters, resumed, DerivedCache(EXPERIMENT.name))
    assert names(cache) == []  # of an earlier version of the code, perhaps
    assert prepared.encoding.vocabulary == other
    new = encode(*load(table), equal, DerivedCache(EXPERIMENT.name))
    assert len(names(cache)) == 1
    again = encode(*load(table), resumed, DerivedCache(EXPERIMENT.name))
    assert made == ["encode_parts"] * 3
    assert again.encoding.vocabulary == other
    assert np.array_equal(again.encoding.parts[0].values, prepared.encoding.parts[0].values)
    found = encode(*load(table), equal, DerivedCache(EXPERIMENT.name))  # resumed with the vocabulary that was kept
    assert made == ["encode_parts"] * 3
    assert found.encoding.vocabulary == new.encoding.vocabulary
    assert len(names(equal)) == 1


def test_table_of_characters_is_kept_for_all_trainings_and_equals_the_one_asked_for(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = words._ask_tensorflow()
    asked: list[int] = []
    monkeypatch.setattr(words, "_ask_tensorflow", lambda: asked.append(1) or fresh)
    read: Callable[[], Any] = words._read_table.__wrapped__
    first, second = read(), read()
    assert asked == [1]
    assert np.array_equal(first.of_codes, second.of_codes)
    assert (first.of_bytes, first.longer) == (second.of_bytes, second.longer)
    assert first.longer
    (path,) = cache.iterdir()
    key = derived.describe_characters()
    assert set(read_arrays(path, key)) == {"codes", "longer"}
    for changed in (key | {"packages": {}}, key | {"code": "other"}):
        assert DerivedCache(EXPERIMENT.name).find(changed, "characters") is None


def imported_modules(name: str) -> set[str]:
    """Find the experiment's modules that one imports, its types alone left out."""
    tree = ast.parse((SRC / "imdb_conv1d" / name).read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "imdb_conv1d":
            found |= {f"{alias.name}.py" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("imdb_conv1d."):
            found.add(f"{(node.module or '').partition('.')[2]}.py")
    return found


@pytest.mark.parametrize(
    ("entry", "listed", "without"),
    [
        ("words.py", derived.OF_CHARACTERS, set()),
        ("ids.py", derived.OF_IDS, set()),
        # What only types, errors and files are taken from; the ids themselves are in the key.
        ("ngram_fit.py", derived.OF_NGRAMS, {"ids.py", "ngrams.py", "reuse.py"}),
        ("linear_model.py", derived.OF_LINEAR, set()),
        ("ngram_values.py", derived.OF_NUMBERS, {"ids.py", "ngram_model.py", "batches.py"}),
    ],
)
def test_key_has_the_code_of_every_module_that_derives(entry: str, listed: tuple[str, ...], without: set[str]) -> None:
    seen, left = set(), [entry]
    while left:
        name = left.pop()
        if name not in seen and name not in without:
            seen.add(name)
            left += imported_modules(name)
    assert seen - {"schema.py", "derived.py"} <= set(listed)
