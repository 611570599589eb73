"""Search: propose trials, have them carried out, and keep in mind what the store says of each.

The store is the only truth: a killed search knows its trials from their runs. The search itself loads neither
TensorFlow nor Keras.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tracked.analysis.confirmation import Confirmation
from tracked.analysis.trials import Direction, Trial, rank
from tracked.console.errors import RunFailed
from tracked.console.lines import say
from tracked.console.progress import track
from tracked.console.search_parameters import SearchParameters, make_trial_parameters
from tracked.console.signals import Signals
from tracked.experiment import Experiment
from tracked.reports import search_report
from tracked.reports.search_scale import format_metric, format_value
from tracked.runs import trials
from tracked.runs.schema import BEST_SO_FAR
from tracked.runs.writer import Run
from tracked.search import trial_folders
from tracked.search.dispatcher import Dispatcher
from tracked.search.proposals import propose
from tracked.search.tasks import Setting, Task, Workers

MAX_FAILED = 5  # trials that fail before any has a result, before the search ends


class Search:
    """The trials of a search.

    Args:
        run: the search's.
        first: the trainings that the store already has.

    Attributes:
        version: the number of the registered version, once there is one.
        decided: the run of the winner that a former attempt had chosen; empty before that. Then nothing is trained any
            more, as it could change the choice, and a version of the winner may be registered already.
    """

    def __init__(
        self,
        experiment: Experiment,
        parameters: SearchParameters,
        run: Run,
        setting: Setting,
        workers: Workers,
        signals: Signals,
        first: trials.SearchRuns,
        decided: str = "",
    ) -> None:
        self.experiment, self.parameters, self.run = experiment, parameters, run
        self.setting = setting
        self.direction: Direction = parameters.direction
        self.space = parameters.search_space
        self.trials: dict[int, Trial] = {key: _restore(one, decided) for key, one in first.trials.items()}
        self.confirming = {key: _restore(one, decided) for key, one in first.confirming.items()}
        self.root = Path(setting.folder).parent  # of the run folders
        self.confirmation: Confirmation | None = None
        self.decided = decided
        self.version = ""  # the number of the registered one
        self.dispatcher = Dispatcher(parameters, run.id, setting, workers, signals)
        self._dropped: set[str] = set()

    @property
    def results(self) -> list[Trial]:
        """The trials whose end is known, by number."""
        return [trial for _, trial in sorted(self.trials.items()) if trial.is_result]

    @property
    def ranked(self) -> list[Trial]:
        """The finished trials, the best first."""
        return rank(self.trials.values(), self.direction)

    def run_trials(self) -> None:
        """Run all trials that have no result yet.

        Raises:
            Interrupted: if a signal came.
            RunFailed: if no trial has a result that can win, or the store keeps failing.
        """
        if self.decided:
            return
        with track("searching", self.parameters.trials, "trials") as progress:
            progress.advance(len(self.results))
            if self.results and len(self.results) not in trials.read_steps(self.run.id, BEST_SO_FAR):
                self._log_best()  # a trial has ended that the killed search did not see end
            for _, trial in self.dispatcher.carry_out(self._make_trial_tasks()):
                self.trials[trial.number] = trial
                progress.advance()
                self._tell(trial)
                self._drop_folders()
                self._require_some_result()
        if not self.ranked:
            raise RunFailed(self._explain_no_winner())

    def _make_trial_tasks(self) -> Iterator[Task]:
        """Make the tasks of trials without a result, then those of new ones, each when a worker is idle."""
        for number, trial in list(self.trials.items()):
            if not trial.is_result:
                yield self._make_trial_task(number, trial.values, trial.known, trial.run_id)
        for number in range(self.parameters.trials):
            if number not in self.trials:
                known = self.results
                seed, sampler = self.parameters.seed, self.parameters.sampler
                values = propose(self.space, sampler, seed, number, known, self.direction)
                trial = self.trials[number] = Trial(number, values, tuple(one.number for one in known))
                yield self._make_trial_task(number, values, trial.known, "")

    def _make_trial_task(self, number: int, values: Mapping[str, Any], known: Sequence[int], run_id: str) -> Task:
        name = self.name_trial(number)
        rule = self.parameters.prune
        others = [self.trials[one].history for one in known if one in self.trials] if rule != "none" else []
        tags = trials.make_tags(self.run.id, number, values, known)
        return self.make_task(name, values, tags, run_id, prune=rule, others=others)

    def name_trial(self, number: int) -> str:
        """Name a trial so that names sort as numbers do."""
        return f"trial {number:0{max(2, len(str(self.parameters.trials - 1)))}}"

    def make_task(
        self,
        name: str,
        values: Mapping[str, Any],
        tags: Mapping[str, str],
        run_id: str = "",
        seed: int | None = None,
        **more: Any,
    ) -> Task:
        """Make the task of a training with these values.

        Args:
            seed: of the training; None for the search's.
            more: of the task.
        """
        given, of_preset = make_trial_parameters(self.experiment, self.parameters, values)
        given = given if seed is None else {**given, "seed": seed}
        shown = " ".join(f"{key}={format_value(value)}" for key, value in values.items())
        return Task(name, run_id, f"{name} {shown}".rstrip(), given, of_preset, tags, **more)

    def _tell(self, trial: Trial) -> None:
        """Print a line about an ended trial, and log the best value so far."""
        best = next(iter(self.ranked), None)
        say(search_report.format_line(trial, best, self.parameters.monitor))
        if trial.is_result:  # a failed one would give the same number of results twice
            self._log_best()

    def _log_best(self) -> None:
        for best in self.ranked[:1]:
            if best.best is not None:
                self.run.log_metrics({BEST_SO_FAR: best.best}, round(time.time() * 1000), step=len(self.results))

    def tell_confirming(self, task: Task, trial: Trial) -> None:
        """Print a line about an ended training that confirms."""
        value = (
            f"{self.parameters.monitor} {format_metric(trial.best)} after epoch {trial.best_epoch} of {trial.epochs}"
        )
        note = f" ({trial.note})" if trial.note else ""
        say(f"{task.name}: {trial.status + note if trial.best is None else value}, {trial.seconds:.0f} s")

    def _drop_folders(self) -> None:
        """Remove the run folders of trials that are not among those whose checkpoints are kept."""
        kept = max(self.parameters.keep, 0 if self.parameters.confirm else 1)
        settled = self._dropped | {trial.run_id for trial in self.ranked[:kept]}
        for trial in self.results:
            if trial.run_id not in settled:
                trial_folders.remove(self.experiment, self.root, trial.run_id)
                self._dropped.add(trial.run_id)

    def _require_some_result(self) -> None:
        failed = [trial for trial in self.trials.values() if trial.status == "failed"]
        if len(failed) >= MAX_FAILED and not self.results:
            raise RunFailed(f"the first {len(failed)} trials failed; trial {failed[0].number}: {failed[0].note}")

    def _explain_no_winner(self) -> str:
        monitor, counts = self.parameters.monitor, Counter(trial.status for trial in self.trials.values())
        told = ", ".join(f"{count} {status}" for status, count in counts.items())
        note = next((f"; trial {one.number}: {one.note}" for one in self.trials.values() if one.note), "")
        return f"no trial has ended with a finite {monitor} ({told}){note}"


def _restore(trial: Trial, decided: str) -> Trial:
    """Restore what the chosen winner had been: its run is RUNNING or FAILED where registering it was cut off."""
    return replace(trial, status="finished") if decided and trial.run_id == decided else trial
