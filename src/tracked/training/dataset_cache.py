"""(F provides it)"""

from typing import Any


class DatasetCache:
    def __init__(self, experiment: Any) -> None:
        self._experiment = experiment

    def load(self, parameters: Any, source: str) -> Any:
        return self._experiment.load(parameters, source)
