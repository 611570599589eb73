"""Which trainings of a process share a dataset."""

import gc
import weakref
from collections.abc import Sequence
from typing import Any, ClassVar

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from tracked.console.errors import UserError
from tracked.console.train_parameters import TrainParameters
from tracked.experiment import Experiment, Metric, require
from tracked.training.dataset_cache import DatasetCache
from tracked.training.table_dataset import TableDataset

pytestmark = pytest.mark.unit


class Parameters(TrainParameters):
    """Train on rows up to a number."""

    rows: int = Field(5, ge=1, le=100, description="Rows")
    units: int = Field(3, ge=1, le=100, description="Units")


class Counted(Experiment):
    """Counts how often it reads, and is refused by more than 50 units on 5 rows."""

    name = "counted"
    Parameters = Parameters
    metrics = (Metric("loss", "min"),)
    data_parameters: ClassVar[Sequence[str]] = ("rows",)

    def __init__(self) -> None:
        self.read: list[tuple[int, str]] = []

    def load(self, parameters: Parameters, source: str) -> Any:
        self.read.append((parameters.rows, source))
        table = pd.DataFrame({"a": range(parameters.rows), "b": range(parameters.rows)})
        return TableDataset(source or "made up", table, "b")

    def check_data(self, parameters: Parameters, dataset: Any) -> None:
        if parameters.units > 50 and len(dataset.table) == 5:
            raise UserError("too many units")


class Uncounted(Counted):
    """Says of no parameter that its data depend on it."""

    data_parameters: ClassVar[Sequence[str]] = ()


@given(st.lists(st.tuples(st.sampled_from([4, 5]), st.integers(1, 50), st.sampled_from(["", "there"])), max_size=12))
def test_dataset_is_read_again_where_its_parameters_or_its_source_change(trials: list[tuple[int, int, str]]) -> None:
    experiment = Counted()
    cache, former = DatasetCache(experiment), None
    for rows, units, source in trials:
        times = len(experiment.read)
        found = cache.load(Parameters(rows=rows, units=units), source)
        assert (found.counts, found.source) == (
            experiment.load(Parameters(rows=rows), source).counts,
            source or "made up",
        )
        experiment.read.pop()
        assert (len(experiment.read) == times) == (former is not None and former == (rows, source))
        former = rows, source


def test_dataset_without_parameters_of_its_data_is_read_for_each_training() -> None:
    experiment = Uncounted()
    cache = DatasetCache(experiment)
    assert cache.load(Parameters(), "") is not cache.load(Parameters(), "")
    assert experiment.read == [(5, "")] * 2


def test_former_dataset_is_given_up_before_another_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = Counted()
    cache = DatasetCache(experiment)
    held = weakref.ref(cache.load(Parameters(), ""))
    load, alive = experiment.load, []

    def look(parameters: Parameters, source: str) -> Any:
        gc.collect()
        alive.append(held() is not None)
        return load(parameters, source)

    monkeypatch.setattr(experiment, "load", look)
    cache.load(Parameters(rows=6), "")
    assert alive == [False]


def test_dataset_that_cannot_be_read_leaves_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = Counted()
    cache = DatasetCache(experiment)
    cache.load(Parameters(), "")

    def fail(*_: object) -> None:
        raise UserError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(experiment, "load", fail)
        with pytest.raises(UserError, match="gone"):
            cache.load(Parameters(rows=6), "")
    cache.load(Parameters(), "")
    assert experiment.read == [(5, "")] * 2


def test_dataset_of_the_cache_is_checked_against_each_trainings_parameters() -> None:
    experiment = Counted()
    cache = DatasetCache(experiment)
    cache.load(Parameters(), "")
    with pytest.raises(UserError, match="too many units"):
        cache.load(Parameters(units=51), "")
    assert cache.load(Parameters(units=50), "") is cache.load(Parameters(), "")
    assert experiment.read == [(5, "")]


def test_data_parameter_that_is_no_parameter_is_refused() -> None:
    class Wrong(Counted):
        data_parameters: ClassVar[Sequence[str]] = ("rows", "lines")

    with pytest.raises(UserError, match=r"^experiment 'counted': data_parameters names 'lines'; allowed: names"):
        require(Wrong())


def test_source_with_a_password_is_refused_as_it_would_be_logged() -> None:
    with pytest.raises(UserError, match=r"data: 'postgresql://ann:\*\*\*@host/rows' holds a password"):
        DatasetCache(Counted()).load(Parameters(), "postgresql://ann:short@host/rows")
    assert (
        DatasetCache(Counted()).load(Parameters(), "postgresql://ann@host/rows").source == "postgresql://ann@host/rows"
    )
