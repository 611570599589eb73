"""Hand a search's tasks to its workers, and read from the store what came of each."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tracked.analysis.trials import Trial
from tracked.console.errors import RunFailed
from tracked.console.lines import warn
from tracked.console.search_parameters import SearchParameters
from tracked.console.signals import Signals
from tracked.runs import run_calls, trials
from tracked.runs.schema import ERROR, STOP_REASON
from tracked.search import trial_folders
from tracked.search.tasks import Event, Setting, Task, Workers
from tracked.workers.dispatching import WAIT, Retry, dispatch

MAX_DEATHS = 10  # of a training's workers in a row without another epoch, before it counts as failed


class Dispatcher:
    """Carries out tasks, each until its training has an end: what a worker leaves unfinished, another resumes.

    Args:
        search_id: of the search's run.
    """

    def __init__(
        self, parameters: SearchParameters, search_id: str, setting: Setting, workers: Workers, signals: Signals
    ) -> None:
        self._parameters, self._search_id, self._setting = parameters, search_id, setting
        self._workers, self._signals = workers, signals
        self._root = Path(setting.folder).parent  # of the run folders
        self._deaths: Counter[str] = Counter()
        self._epochs: dict[str, int] = {}

    def carry_out(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Trial]]:
        """Hand tasks to the workers, and yield each with what its run tells at its end."""
        return dispatch(self._workers, tasks, self._settle, self._signals)

    def _settle(self, event: Event) -> Retry[Task] | tuple[Task, Trial]:
        trial = self._read(event)
        if trial is None:
            return Retry(replace(event.task, run_id=self._find(event.task).run_id))
        return event.task, trial

    def _read(self, event: Event) -> Trial | None:
        """Read from the store what came of a task; None if its training must be resumed."""
        task, outcome = event.task, event.outcome
        if outcome is not None and outcome.status == "ended":
            (found,) = trials.read_trials(
                [run_calls.get(outcome.run_id)], self._parameters.monitor, self._parameters.direction
            )
            return found
        found = self._find(task)  # if the store is gone, this ends the search
        if found.is_result:
            return found  # its worker died, or lost the store's answer, between the end of its run and the outcome
        is_failed = outcome is not None and outcome.status == "failed"
        problem = outcome.error if outcome and is_failed else self._count_death(event, found.run_id)
        if not problem and not is_failed:
            return None
        if found.run_id and found.status == "running":
            run_calls.set_tags("tagging the failed trial", found.run_id, {ERROR: problem, STOP_REASON: "error"})
            run_calls.end(found.run_id, "FAILED")
        return replace(found, status="failed", note=problem)

    def _count_death(self, event: Event, run_id: str) -> str:
        """Count the workers that left a task before its end; returns why it is not tried again, or an empty text.

        Where the store had failed, its training is resumed, even if its run says FAILED.
        """
        task = event.task
        epochs = trial_folders.count_epochs(self._root, run_id) if run_id else 0
        if epochs > self._epochs.get(task.name, 0):
            self._epochs[task.name], self._deaths[task.name] = epochs, 0
        self._deaths[task.name] += 1
        told, advice = event.death or "stopped", "give the machine more memory, or search with fewer workers"
        if event.outcome is not None and event.outcome.error:
            told, advice = f"failed ({event.outcome.error})", "resume the search once that is mended"
        if self._deaths[task.name] >= MAX_DEATHS:
            return f"its worker {told}, {MAX_DEATHS} times without another epoch; {advice}"
        warn(f"the worker of {task.name} {told}; another resumes its training")
        return ""

    def register(self, task: Task) -> str:
        """Carry out the task that registers a version; returns the version's title.

        Raises:
            Interrupted: if a signal came.
            RunFailed: if it failed.
        """
        self._workers.submit(task)
        while True:
            for event in self._workers.wait(WAIT):
                if event.outcome is not None and event.outcome.status == "ended":
                    return event.outcome.version
                if event.outcome is not None and event.outcome.status == "failed":
                    raise RunFailed(f"{task.name} failed: {event.outcome.error}")
                self._signals.check()
                if problem := self._count_death(event, task.run_id):
                    raise RunFailed(f"{task.name} failed: {problem}")
                self._workers.submit(task)
            self._signals.check()

    def _find(self, task: Task) -> Trial:
        """Find the run of a task in the store; a trial without a run id if there is none."""
        found = trials.find_run(self._search_id, self._setting.experiment_id, task.tags, self._seed_of(task))
        if found is not None:
            (trial,) = trials.read_trials([found], self._parameters.monitor, self._parameters.direction)
            if trial is not None:
                return trial
        return trials.make_trial(task.tags)

    def _seed_of(self, task: Task) -> int:
        return int(task.given.get("seed", self._parameters.seed))
