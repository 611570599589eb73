"""A worker of a search: when it works, and for whom."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

from diabetes import Diabetes
from helpers.search_workers import made_setting, make_task
from tracked.console.signals import Signals
from tracked.search.tasks import Setting
from tracked.search.worker import Worker


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


def test_worker_of_the_present_search_makes_a_run(setting: Setting) -> None:
    outcome = Worker(Diabetes(), setting, Signals(), ends_process=False).run(make_task(0, epochs=1))
    assert outcome.status == "ended"
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert (run.info.run_id, run.info.status) == (outcome.run_id, "FINISHED")
