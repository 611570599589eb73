"""Begin or resume a prediction with its output, its MLflow run and its workers."""

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracked.console.errors import Interrupted, RunFailed
from tracked.console.lines import format_count, say
from tracked.console.signals import Signals
from tracked.experiment import Experiment
from tracked.models import loader
from tracked.predict import former_answers, output, prediction_run
from tracked.predict.coordinator import Coordinator
from tracked.predict.executors import MakeWorkers, choose_workers
from tracked.predict.journal import JOURNAL, Journal
from tracked.predict.manifest import MANIFEST, write_manifest
from tracked.predict.opening import open_prediction
from tracked.predict.part_files import REJECTED
from tracked.predict.parts_input import cut
from tracked.predict.state import State
from tracked.predict.tasks import Setting, TrainingTask
from tracked.runs import connection, registry, rights
from tracked.runs.queries import MlflowRun
from tracked.runs.registry import StoredModel
from tracked.tables.files import TableFile, find_files
from tracked.training import run_folder
from tracked.training.run_folder_lock import RunFolderLock
from tracked.workers.lifetime import STOP, wait_for_workers


def predict(owner: Experiment, parameters: Any, signals: Signals) -> None:
    """Answer a table into the output, or the rest of it.

    Raises:
        UserError: for a mistake, before anything is answered.
        RunFailed: if not all rows could be answered; what was done is kept.
    """
    make_workers = choose_workers(parameters)
    run = prediction_run.find_own(owner)
    rights.require_run(run)
    files = find_files(parameters.data)
    folder = output.find(parameters.output, parameters.data, prediction_run.find_clone(run))
    stored = registry.find(parameters.model)
    say(f"model: {stored.title}" + (f" ({parameters.model})" if stored.uri != parameters.model else ""))
    say(f"output: {folder}")
    with RunFolderLock(output.FILES) as lock, output.hold(folder, lock) as work:
        wait_for_workers(work, signals, "a worker of the former attempt")
        (work / STOP).unlink(missing_ok=True)
        prediction = _Prediction(owner, parameters, stored, folder, work, signals)
        prediction.open(files)
        if prediction.state.is_complete and prediction_run.has_finished(owner, prediction.state.run_id):
            say(f"{_tell(prediction.state, owner)}: complete already, by run {prediction.state.run_id}")
            if run is not None:
                prediction_run.point_to(prediction.state.run_id, run)
            output.remove_work(lock)
            return
        try:
            prediction.run(make_workers, run)
        except (RunFailed, OSError, Interrupted) as error:
            if prediction.state.parts:
                command = "the same command" + (" without fresh=true" if parameters.fresh else "")
                error.add_note(f"what was done is kept: {command} resumes it")
            raise
        prediction.close()
        output.remove_work(lock)


def _tell(state: State, owner: Experiment) -> str:
    return (
        f"{state.answered:,} of {state.rows:,} {owner.terms.rows} answered in {format_count(len(state.parts), 'part')}"
    )


class _Prediction:
    """One attempt at a prediction."""

    def __init__(
        self, owner: Experiment, parameters: Any, stored: StoredModel, folder: Path, work: Path, signals: Signals
    ) -> None:
        self.owner, self.parameters, self.stored = owner, parameters, stored
        self.folder, self.work, self.signals = folder, work, signals

    def open(self, files: list[TableFile]) -> None:
        """Download the model, look at the input, and read what the former attempts have done.

        Raises:
            UserError: if the model or the input cannot be used, or is another one than before.
        """
        place = self.work / output.MODEL
        shutil.rmtree(place, ignore_errors=True)  # a killed attempt's
        self.model = loader.download(self.owner, self.stored, place / "files")
        self.opened = open_prediction(
            self.owner, self.parameters, self.stored, self.model, self.folder, files, self._end_run
        )
        self.state, self.journal = self.opened.state, Journal(self.work / JOURNAL)
        if self.state.parts and not self.state.is_complete:
            parts = format_count(len(self.state.parts), "part")
            say(f"resuming after {self.state.rows:,} {self.owner.terms.rows} in {parts}")

    def run(self, make_workers: MakeWorkers, own: MlflowRun | None) -> None:
        """Answer what is left in the prediction's run, and complete the output.

        Raises:
            RunFailed: if not all rows could be answered, or something could not be logged.
        """
        training = None if self.state.is_complete else self._make_training_task()
        former = prediction_run.find_former(self.owner, self.state.run_id)
        opened = prediction_run.open_run(self.owner, self.stored, self.parameters, former, own, self.signals)
        with opened as run:
            is_new_run, rate = run.id != self.state.run_id, 0.0
            say(f"{'run' if is_new_run else 'resuming run'} {run.id} {prediction_run.name_run(self.stored)!r}")
            self.state.run_id = run.id
            if not self.state.is_complete:
                if is_new_run:
                    self._note_run()
                rate = self._answer(make_workers, training)
            elif not is_new_run:
                return  # only its end was missing
            known = former.data.metrics if former and not is_new_run else {}
            prediction_run.log(run, self.owner, self.stored, self.state, self.parameters.data, rate, known)
            run.flush()  # before the manifest, which says that nothing is missing
            try:
                former_answers.remove_partial(self.folder)
                write_manifest(self.folder, self.state)
            except OSError as error:
                raise output.explain_lost(self.folder, error) from error

    def _end_run(self, run_id: str) -> None:
        prediction_run.end_former(prediction_run.find_former(self.owner, run_id))

    def _note_run(self) -> None:
        try:
            self.journal.note(run_id=self.state.run_id)
        except OSError as error:
            raise output.explain_lost(self.folder, error) from error

    def _answer(self, make_workers: MakeWorkers, training: TrainingTask | None) -> float:
        """Answer what is left; returns the number of rows a second."""
        before, started, rows = self.state.rows, time.perf_counter(), self.owner.terms.rows
        with make_workers(self.owner, self._make_setting()) as workers:
            coordinator = Coordinator(
                self.folder, self.state, self.journal, workers, self.signals, self.parameters.max_rejected
            )
            opened, size = self.opened, self.parameters.part_rows
            parts = cut(opened.reader, opened.fingerprints, size, opened.inputs.columns, opened.has_ids)
            coordinator.answer(opened.reader, parts, training, rows)
        rate = (self.state.rows - before) / (time.perf_counter() - started)
        say(f"{_tell(self.state, self.owner)}" + (f", {rate:,.0f} a second" if rate else ""))
        if self.state.rejected:
            say(f"{self.state.rejected:,} rejected ({self.state.describe_reasons()}): see {self.folder / REJECTED}")
        return rate

    def _make_training_task(self) -> TrainingTask | None:
        """Make the task of observing the training part, if the experiment can."""
        if self.state.training or type(self.owner).observe_training is Experiment.observe_training:
            return None
        return TrainingTask(
            loader.read_trained_on(self.stored, self.model.metadata, self.work / output.MODEL / "training")
        )

    def _make_setting(self) -> Setting:
        switch = self.owner.inputs_switch
        is_private = self.model.metadata is not None and self.model.metadata.private
        shows = not switch or (getattr(self.parameters, switch) and not is_private)
        given: Mapping[str, Any] = self.parameters.model_dump()
        environment = {
            "MLFLOW_TRACKING_URI": connection.tracking_uri(), "MLFLOW_REGISTRY_URI": connection.registry_uri()
        }  # fmt: skip
        return Setting(
            str(self.work), run_folder.last_holder(self.work), str(self.folder), str(self.model.path),
            self.opened.version, self.parameters.data, given, self.opened.request.metadata, bool(shows), environment,
            os.getcwd(),
        )  # fmt: skip

    def close(self) -> None:
        """Tell where the answers are."""
        say(f"manifest: {self.folder / MANIFEST}")
