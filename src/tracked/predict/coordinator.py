"""Answer the parts of an input that are left: neither TensorFlow nor Keras is loaded."""

from collections.abc import Iterator
from pathlib import Path

from tracked.console.errors import RunFailed, UserError
from tracked.console.lines import format_count
from tracked.console.progress import track
from tracked.console.signals import Signals
from tracked.predict.dispatcher import Dispatcher
from tracked.predict.journal import Journal
from tracked.predict.part_files import REJECTED
from tracked.predict.state import State
from tracked.predict.tasks import PartTask, Task, TrainingTask, Workers
from tracked.tables.reader import TableReader


class Coordinator:
    """Answers the parts of an input that are not noted yet.

    Args:
        folder: the output.
        max_rejected: rows that may be without an answer.
    """

    def __init__(
        self, folder: Path, state: State, journal: Journal, workers: Workers, signals: Signals, max_rejected: int
    ) -> None:
        self.folder, self.state, self.max_rejected = folder, state, max_rejected
        self.dispatcher = Dispatcher(folder, state, journal, workers, signals)
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
        is_first = True
        with progress:
            for part in self.dispatcher.carry_out(self._make_tasks(parts, training)):
                if part:
                    progress.total = reader.estimate_rows()
                    progress.advance(part.rows)
                    if is_first:
                        progress.forget()  # what the start of the workers took
                        is_first = False
                    self._require_few_rejected()
        if not self._seen:
            raise RunFailed("data: the input has no rows; give other data")

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

    def _require_few_rejected(self) -> None:
        """Require that not too many rows are rejected.

        Raises:
            RunFailed: if there are.
        """
        rejected = self.state.rejected
        if rejected > self.max_rejected:
            raise RunFailed(
                f"{format_count(rejected, 'row')} rejected ({self.state.describe_reasons()}), and max_rejected is "
                f"{self.max_rejected:,}; see {self.folder / REJECTED}, and raise max_rejected to go on"
            )
