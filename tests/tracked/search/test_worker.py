"""A worker of a search: when it works, and for whom."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest

from diabetes import Diabetes
from helpers.search_workers import made_setting, make_task
from tracked.console.errors import StoreFailed
from tracked.console.signals import Signals
from tracked.runs import run_start
from tracked.search.tasks import Setting
from tracked.search.worker import Worker
from tracked.training import reproducibility
from tracked.training.trainer import Trainer


@pytest.fixture
def setting(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setting]:
    monkeypatch.chdir(tmp_path)  # a worker changes its process
    monkeypatch.setattr(os, "environ", os.environ.copy())
    with made_setting(tmp_path, store, Diabetes()) as made:
        yield made


def test_worker_whose_search_was_killed_and_resumed_before_it_came_makes_no_run(setting: Setting) -> None:
    """The resumed search could not wait for it, and hands the same trial to another worker."""
    assert setting.holder is not None
    former = replace(setting, holder=replace(setting.holder, pid=1, start="1"))
    outcome = Worker(Diabetes(), former, Signals(), ends_process=False).run(make_task(0))
    assert (outcome.status, outcome.run_id) == ("interrupted", "")
    assert mlflow.search_runs(search_all_experiments=True, output_format="list") == []


def test_worker_of_the_present_search_makes_a_run_and_imports_nothing_ahead(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead, fit = list[Sequence[str]](), Trainer.fit
    monkeypatch.setattr(Trainer, "fit", lambda self, modules=(): (ahead.append(modules), fit(self, modules))[1])
    outcome = Worker(Diabetes(), setting, Signals(), ends_process=False).run(make_task(0, epochs=1))
    assert (outcome.status, ahead) == ("ended", [()])
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert (run.info.run_id, run.info.status) == (outcome.run_id, "FINISHED")


def test_worker_that_finds_other_code_than_its_search_refuses_the_task(setting: Setting, tmp_path: Path) -> None:
    """One that takes the place of a killed worker imports what is there now."""
    file = tmp_path / "model.py"
    file.write_text("UNITS = 64\n")
    began = replace(setting, code=reproducibility.digest_code(file), code_files=(str(file),))
    file.write_text("UNITS = 32\n")
    outcome = Worker(Diabetes(), began, Signals(), ends_process=False).run(make_task(0))
    assert (outcome.status, outcome.run_id) == ("failed", "")
    assert outcome.error == "the code changed since the search began; restore it, then resume the search"
    assert mlflow.search_runs(search_all_experiments=True, output_format="list") == []


def test_worker_without_a_store_tells_that_and_no_failure_of_the_trial(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise StoreFailed("creating a run failed")

    monkeypatch.setattr(run_start, "start", fail)
    outcome = Worker(Diabetes(), setting, Signals(), ends_process=False).run(make_task(0))
    assert (outcome.status, outcome.run_id, outcome.error) == ("interrupted", "", "creating a run failed")
