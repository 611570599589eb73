"""Fixtures: tiny reviews, and a separate tracking store for each test."""

import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

pytest.register_assert_rewrite("helpers")  # before the first of them is imported

from helpers import system, units
from helpers.reviews import TINY, make_noisy_reviews, make_reviews
from helpers.shared import make_once
from helpers.stores import copied_store

if TYPE_CHECKING:
    from helpers.trainings import Trainings

collect_ignore = [] if "wheel" in os.environ.get("EXTRAS", "").split() else ["system/test_installed_wheel.py"]
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ |= {"IMDB_CONV1D_CACHE_GB": "0", "DIABETES_CACHE_GB": "0"}  # not the user's own cache
# As in a training: TensorFlow may begin its work in another test, and the bits of plain layers depend on the number.
os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
for name, examples in {"quick": 20, "all": 100, "long": 500}.items():
    # Derandomized: what a commit's tests say is a function of the commit.
    hypothesis.settings.register_profile(name, max_examples=examples, deadline=None, derandomize=name != "long")
hypothesis.settings.load_profile(os.environ.get("EXAMPLES", "quick"))
guard = units.Guard()
MEMORY = Path("/dev/shm")  # a tmpfs, where stores commit without waiting for a disk
if (
    os.access(MEMORY, os.W_OK)
    and shutil.disk_usage(MEMORY).free > 8e9
    and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC  # tests write scripts
):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where unit tests alone are asked for, other files are not imported, and nobody imports what these may not."""
    guard.is_on = config.option.markexpr.startswith("unit")
    if not guard.is_on:
        return None
    files = collection_path.rglob("test_*.py") if collection_path.is_dir() else [collection_path]
    return None if any(file.suffix == ".py" and units.is_unit(file) for file in files) else True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Hold a unit test to its mark."""
    before, guard.is_on = guard.is_on, guard.is_on or units.is_unit(item.path)
    try:
        return (yield)
    finally:
        guard.is_on = before


def pytest_report_header() -> list[str]:
    return system.describe_missing(system.find_missing())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    missing = system.find_missing()
    system.require_asked(missing)
    items[:], lacking = system.split(items, missing)
    # Workers take files in this order: those that wait for processes first, beside those that compute; then large ones.
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, -item.path.stat().st_size, str(item.path)))
    if lacking:
        config.hook.pytest_deselected(items=lacking)


def pytest_collection_finish() -> None:
    """Leave out of garbage collections what the imports have made: they took a tenth of the tests' time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MLFLOW_") and name != "MLFLOW_DISABLE_TELEMETRY"]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary folders that failed runs keep go to the test's folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def reviews_csv(tmp_path: Path) -> Path:
    """A CSV file of 200 tiny reviews."""
    path = tmp_path / "reviews.csv"
    make_reviews(200).to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny reviews with a quarter of the labels wrong, so that a training has a best epoch and stops early."""

    def write(folder: Path) -> Path:
        make_noisy_reviews(200).to_csv(folder / "noisy.csv", index=False)
        return folder / "noisy.csv"

    return make_once(tmp_path_factory, "noisy", write)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite store."""

    def create(folder: Path) -> Path:
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        SqlAlchemyStore(f"sqlite:///{folder}/mlflow.db", f"{folder}/artifacts")
        return folder / "mlflow.db"

    return make_once(tmp_path_factory, "store", create)


def train_uninterrupted(
    factory: pytest.TempPathFactory, store: Path, name: str, train: Callable[[], None]
) -> dict[str, dict[int, float]]:
    """Train without an interruption, once for all workers; the metrics by name and step."""
    from helpers import resuming

    def make(folder: Path) -> dict[str, dict[int, float]]:
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("MLFLOW_RUN_ID", raising=False)
            with copied_store(store, folder, patch):
                train()
                return resuming.metrics(resuming.last_run())

    return make_once(factory, name, make)


@pytest.fixture(scope="session")
def straight(tmp_path_factory: pytest.TempPathFactory, empty_store: Path, noisy: Path) -> dict[str, dict[int, float]]:
    """The metrics of an uninterrupted training, by name and step."""
    from helpers import resuming

    train = partial(resuming.run_train, f"--data={noisy}", *resuming.ARGUMENTS)
    return train_uninterrupted(tmp_path_factory, empty_store, "straight", train)


@pytest.fixture
def store(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URI of a fresh SQLite store for this test."""
    with copied_store(empty_store, tmp_path, monkeypatch) as uri:
        yield uri


@pytest.fixture(scope="session")
def imdb(noisy: Path, straight: dict[str, dict[int, float]]) -> "Trainings":
    """Trainings on the noisy reviews."""
    from helpers.trainings import Trainings

    return Trainings("imdb-conv1d", [f"--data={noisy}", *TINY], 2, straight)


@pytest.fixture(scope="session")
def diabetes(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> "Trainings":
    """Trainings of the second experiment, diabetes."""
    from helpers.trainings import Trainings

    trainings = Trainings("diabetes", ["--learning_rate=0.1"], 9, {})  # stops after epoch 6, keeps epoch 3
    metrics = train_uninterrupted(tmp_path_factory, empty_store, "diabetes", trainings.train)
    trainings.uninterrupted.update(metrics)
    return trainings


@pytest.fixture
def trainings(request: pytest.FixtureRequest, imdb: "Trainings", diabetes: "Trainings") -> "Trainings":
    """Trainings of the experiment in the test's parameter, diabetes by default."""
    return {"imdb": imdb, "diabetes": diabetes}[getattr(request, "param", "diabetes")]
