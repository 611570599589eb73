"""What a resumed search goes on with."""

import json
from pathlib import Path

import mlflow
import pytest

from diabetes import Diabetes
from tracked.console.search_parameters import SearchParameters, make_search_parameters
from tracked.runs.schema import EXPERIMENT, LAUNCH, SPACE, VERB
from tracked.search import search_plan, search_status
from tracked.training.run_folder_lock import RunFolderLock

OTHER = "learning_rate=0.01..0.1/log"


def resume(command: SearchParameters, space: str, root: Path, *flags: str) -> SearchParameters:
    """Plan the resume of a search that the store has, and that began with a command; returns its parameters."""
    launch = {"parameters": command.as_logged(), "source": "data", "snapshots": str(root), "token": "1"}
    tags = {VERB: "search", EXPERIMENT: "diabetes", SPACE: space, LAUNCH: json.dumps(launch)}
    run = mlflow.MlflowClient().create_run("0", tags=tags)
    with RunFolderLock(search_status.FILES) as lock:
        again = make_search_parameters(Diabetes()).parse([f"--resume={run.info.run_id}", *flags])
        return search_plan.make_plan(Diabetes(), again, lock).parameters


@pytest.mark.parametrize("flags", [["--trials=4"], ["--trials=4", f"--space={OTHER}"]])
def test_resumed_search_has_the_name_and_the_space_that_it_began_with(
    store: str, tmp_path: Path, flags: list[str]
) -> None:
    command = make_search_parameters(Diabetes()).parse(flags)
    resumed = resume(command, command.search_space.text, tmp_path)
    assert (resumed.run_name, resumed.search_space.text) == (command.run_name, command.search_space.text)


def test_resumed_search_keeps_its_space_when_the_experiment_has_another_by_now(store: str, tmp_path: Path) -> None:
    command = make_search_parameters(Diabetes()).parse(["--trials=4"])
    assert resume(command, OTHER, tmp_path).search_space.text == OTHER


def test_resume_on_processes_leaves_the_cluster_of_ray_out(store: str, tmp_path: Path) -> None:
    command = make_search_parameters(Diabetes()).parse(["--trials=4", "--executor=ray", "--address=head:6379"])
    resumed = resume(command, command.search_space.text, tmp_path, "--executor=processes")
    assert (resumed.executor, resumed.address) == ("processes", "auto")
    resumed = resume(command, command.search_space.text, tmp_path)
    assert (resumed.executor, resumed.address) == ("ray", "head:6379")
