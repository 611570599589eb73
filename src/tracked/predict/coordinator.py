"""Hand parts to workers and note what they have written: a part counts once it is on the disk and noted.

Loads neither TensorFlow nor Keras.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tracked.console.errors import RunFailed, UserError
from tracked.console.lines import warn
from tracked.console.progress import Progress, track
from tracked.console.signals import Signals
from tracked.predict import output
from tracked.predict.manifest import Journal, State
from tracked.predict.tasks import Event, Failed, Part, PartTask, Task, Training, TrainingTask, Workers
from tracked.tables.reader import TableReader

MAX_DEATHS = 3  # of a task's workers, before the prediction ends
WAIT = 1.0  # seconds between two looks at signals


class Coordinator:
    """Answers the parts of an input that are not noted yet.

    Args:
        folder: the output.
        rows: the experiment's word for rows.
        max_rejected: rows that may be without an answer.
    """

    def __init__(
        self, folder: Path, state: State, journal: Journal, workers: Workers, signals: Signals, max_rejected: int
    ) -> None:
        self.folder, self.state, self.journal = folder, state, journal
        self.workers, self.signals, self.max_rejected = workers, signals, max_rejected
        self._deaths = Counter[str]()
        self._seen = 0  # parts of the input

    def answer(self, reader: TableReader, parts: Iterator[PartTask], training: TrainingTask | None, rows: str) -> None:
        """Answer all parts, then observe the training part.

        Args:
            parts: of the reader's rows.
            training: None if there is nothing to observe.
            rows: the experiment's word.

        Raises:
            RunFailed: if the input cannot be read any longer, a part cannot be answered or written, or too many rows
                are rejected.
            Interrupted: if a signal came.
        """
        self._require_few_rejected()
        progress = track("answering", reader.estimate_rows(), rows, summary=False)
        progress.count = self.state.rows  # before the clock starts: its rate is that of this attempt
        with progress:
            for part in self._carry_out(self._make_tasks(parts, training)):
                if part:
                    progress.total = reader.estimate_rows()
                    self._advance(progress, part)
                    self._require_few_rejected()
        if not self._seen:
            raise RunFailed("data: the input has no rows; give other data")

    @staticmethod
    def _advance(progress: Progress, part: Part) -> None:
        progress.advance(part.rows)

    def _make_tasks(self, parts: Iterator[PartTask], training: TrainingTask | None) -> Iterator[Task]:
        """Make the tasks that are left, each when a worker is idle.

        Raises:
            RunFailed: if the input cannot be read any longer, or is read otherwise than before.
        """
        try:
            for part in parts:
                self._seen += 1
                known = self.state.parts.get(part.number)
                if known is None:
                    yield part
                elif known.input_digest != part.digest:
                    raise RunFailed(f"data: the rows of {part.name} are read otherwise than before; give fresh=true")
        except UserError as error:  # no user's mistake any longer: the work has begun
            raise RunFailed(str(error)) from None
        if training and self.state.training is None:
            yield training

    def _carry_out(self, tasks: Iterator[Task]) -> Iterator[Part | None]:
        """Hand tasks to the workers; yields each part once it is noted, None for the training part."""
        again: list[Task] = []
        running = 0
        while True:
            while self.workers.idle:
                task = again.pop() if again else next(tasks, None)
                if task is None:
                    break
                self.workers.submit(task)
                running += 1
            if not running:
                return
            for event in self.workers.wait(WAIT):
                running -= 1
                self.signals.check()
                if event.outcome is None:
                    again.append(self._try_again(event))
                else:
                    yield self._note(event)
            self.signals.check()

    def _note(self, event: Event) -> Part | None:
        """Note what a worker has done.

        Raises:
            RunFailed: if it could not be done, or cannot be noted.
        """
        outcome = event.outcome
        if isinstance(outcome, Failed):
            raise RunFailed(outcome.error)
        try:
            if isinstance(outcome, Part):
                self.journal.note(part=vars(outcome))
                self.state.parts[outcome.number] = outcome
                return outcome
            assert isinstance(outcome, Training)
            self.journal.note(training=vars(outcome))
        except OSError as error:
            raise output.explain_lost(self.folder, error) from error
        self.state.training = outcome
        if outcome.problem:
            warn(f"drift is not known: {outcome.problem}")
        return None

    def _try_again(self, event: Event) -> Task:
        """Give a task to another worker.

        Raises:
            RunFailed: if too many have died of it.
        """
        name = event.task.name
        self._deaths[name] += 1
        if self._deaths[name] >= MAX_DEATHS:
            raise RunFailed(
                f"{name}: its worker {event.death}, {MAX_DEATHS} times; give the machine more memory, or a new output "
                "with a smaller part_rows"
            )
        warn(f"the worker of {name} {event.death}; another answers it")
        return event.task

    def _require_few_rejected(self) -> None:
        """Require that not too many rows are rejected.

        Raises:
            RunFailed: if there are.
        """
        rejected = self.state.rejected
        if rejected > self.max_rejected:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in list(self.state.reasons.items())[:3])
            raise RunFailed(
                f"{rejected:,} rows are rejected ({reasons}), and max_rejected is {self.max_rejected:,}; see "
                f"{self.folder / 'rejected'}"
            )
