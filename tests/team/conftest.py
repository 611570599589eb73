"""A team's stack for all tests of a file, and the user ann as who the test works."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from helpers.team import TeamStack, team_stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamStack]:
    """A stack with the users ann and bob."""
    with team_stack(tmp_path_factory.mktemp("stack")) as started:
        for user in ("ann", "bob"):
            started.add_user(user)
        yield started


@pytest.fixture
def ann(
    stack: TeamStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[str]:
    """Work as ann, in an MLflow experiment of the test; its id."""
    for name, value in stack.environment("ann").items():
        monkeypatch.setenv(name, value)
    mlflow.set_tracking_uri(stack.uri)
    made = mlflow.create_experiment(request.node.name)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    yield made
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)
