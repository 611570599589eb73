"""Run the verb train in the test's process, and read its run."""

import signal
from typing import Any

import mlflow
import pandas as pd
from mlflow.entities import Run

from helpers.reviews import TINY
from helpers.verbs import train
from tracked.console.signals import Signals


def run_train(*arguments: str, signals: Signals | None = None) -> None:
    train.main([*TINY, *arguments], signals or Signals())


def last_run() -> Run:
    found: list[Run] = mlflow.search_runs(search_all_experiments=True, output_format="list", max_results=1)
    return found[0]


def points(run: Run, name: str) -> dict[int, float]:
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, name)
    assert len({point.step for point in history}) == len(history), f"two points of {name} at one step"
    return {point.step: point.value for point in history}


def table(run: Run, name: str) -> pd.DataFrame:
    return pd.read_csv(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=name))


def artifacts(run: Run) -> set[str]:
    client = mlflow.MlflowClient()
    paths = [(item.path, item.is_dir) for item in client.list_artifacts(run.info.run_id)]
    inside = [item.path for path, is_dir in paths if is_dir for item in client.list_artifacts(run.info.run_id, path)]
    return {path for path, is_dir in paths if not is_dir} | set(inside)


def versions() -> list[Any]:
    return list(mlflow.MlflowClient().search_model_versions("name = 'imdb-conv1d'"))


class SignalAfter(Signals):
    """Signals that arrive just before the check with the given number."""

    def __init__(self, checks: int, signum: int = signal.SIGTERM) -> None:
        super().__init__()
        self.left, self.pending = checks, signum

    def check(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.signum = self.pending
        super().check()
