"""Read a dataset once for the trainings of a process that follow one another, such as the trials of a search."""

from typing import Any

from tracked.console.parameters import require_no_secret
from tracked.experiment import Dataset, Experiment
from tracked.training.derived_cache import read_limit


class DatasetCache:
    """Load an experiment's datasets, and hold the last one for the next training that asks for the same.

    Datasets are the same if they have the same source and equal values of the experiment's ``data_parameters``. At
    most one is held: the former is given up before another one is read. Without ``data_parameters`` none is held.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self._held: tuple[tuple[Any, ...], Dataset] | None = None

    def load(self, parameters: Any, source: str) -> Dataset:
        """Return the dataset held, or read one; check it against the parameters in either case.

        Args:
            source: the ``source`` of the resumed training's dataset; empty for a new training.

        Raises:
            UserError: if the data cannot be read, or cannot be trained on with these parameters, or if the setting of
                the cache of what is derived from them is wrong.
        """
        read_limit(self.experiment.name)
        names = self.experiment.data_parameters
        key = source, *(getattr(parameters, name) for name in names)
        if self._held and self._held[0] == key:
            dataset = self._held[1]
        else:
            self._held = None
            dataset = self.experiment.load(parameters, source)
            require_no_secret("data", dataset.source)  # it is logged, and finds the data again
            self._held = (key, dataset) if names else None
        self.experiment.check_data(parameters, dataset)
        return dataset
