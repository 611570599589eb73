"""Hand tasks to workers and note what they have done: a part counts once it is on the disk and noted."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tracked.console.errors import RunFailed
from tracked.console.lines import warn
from tracked.console.signals import Signals
from tracked.predict import output
from tracked.predict.journal import Journal
from tracked.predict.state import State
from tracked.predict.tasks import Event, Failed, Outcome, Part, Task, Training, TrainingTask, Workers
from tracked.workers.dispatching import Retry, dispatch

MAX_DEATHS = 3  # of a task's workers, before the prediction ends


class Dispatcher:
    """Carries out tasks, each once; a task whose worker has died is given to another.

    Args:
        folder: the output.
    """

    def __init__(self, folder: Path, state: State, journal: Journal, workers: Workers, signals: Signals) -> None:
        self._folder, self._state, self._journal = folder, state, journal
        self._workers, self._signals = workers, signals
        self._deaths = Counter[str]()

    def carry_out(self, tasks: Iterator[Task]) -> Iterator[Part | None]:
        """Hand tasks to the workers; yields each part once it is noted, None for the training part."""
        return dispatch(self._workers, tasks, self._settle, self._signals)

    def _settle(self, event: Event) -> Retry[Task] | Part | None:
        outcome = event.outcome or self._give_up(event)
        return Retry(event.task) if outcome is None else self._note(outcome)

    def _note(self, outcome: Outcome) -> Part | None:
        """Note what a worker has done.

        Raises:
            RunFailed: if it could not be done, or cannot be noted.
        """
        if isinstance(outcome, Failed):
            raise RunFailed(outcome.error)
        try:
            if isinstance(outcome, Part):
                self._journal.note(part=vars(outcome))
                self._state.parts[outcome.number] = outcome
                return outcome
            assert isinstance(outcome, Training)
            self._journal.note(training=vars(outcome))
        except OSError as error:
            raise output.explain_lost(self._folder, error) from error
        self._state.training = outcome
        if outcome.problem:
            warn(f"drift is not known: {outcome.problem}")
        return None

    def _give_up(self, event: Event) -> Outcome | None:
        """Decide what becomes of a task whose worker has died: None if another worker shall carry it out."""
        name = event.task.name
        self._deaths[name] += 1
        if self._deaths[name] < MAX_DEATHS:
            warn(f"the worker of {name} {event.death}; another takes it over")
            return None
        problem = f"its worker {event.death}, {MAX_DEATHS} times; give the machine more memory"
        if isinstance(event.task, TrainingTask):
            return Training(None, f"{name}: {problem}")
        return Failed(f"{name}: {problem}, or a new output with a smaller part_rows")
