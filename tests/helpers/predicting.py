"""Predictions of the made-up experiment in forked processes, without a model and with a store or without."""

import gc
import importlib
import multiprocessing
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from helpers import answering
from helpers.answering import Doubler
from tracked.runs.registry import StoredModel

MODEL = StoredModel("models:/doubler/1", "doubler", "1", "", "")


def make_input(path: Path, rows: int, bad: Sequence[int] = ()) -> Path:
    """Write a CSV file of numbers; rows in ``bad`` are none."""
    lines = ["number", *("bad" if number in bad else str(number) for number in range(rows))]
    path.write_text("\n".join(lines) + "\n")
    return path


def read_output(folder: Path) -> dict[str, bytes]:
    """Read all files of answers, by name."""
    paths = [*folder.glob("part-*"), *folder.glob("rejected/*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(paths)}


def replace_model(tracked_prediction: Any) -> None:
    """Find and download a model that there is not; nothing is known of its training."""
    from tracked.models import loader
    from tracked.models.loader import DownloadedModel

    def download(owner: Any, stored: StoredModel, folder: Path) -> DownloadedModel:
        folder.mkdir(parents=True)
        (folder / "MLmodel").write_text("made up")
        return DownloadedModel(folder, None)

    tracked_prediction.registry = SimpleNamespace(find=lambda uri: MODEL)
    tracked_prediction.loader = SimpleNamespace(download=download, read_trained_on=loader.read_trained_on)


class NoRun:
    """A run that logs nothing."""

    id = "0" * 32

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def flush(self) -> None:
        """Do nothing."""


def replace_run(tracked_prediction: Any) -> None:
    """Log to no store."""

    @contextmanager
    def open_run(*_: Any) -> Iterator[NoRun]:
        yield NoRun(Path())

    without = {
        "find_own": lambda owner: None, "has_finished": lambda *_: True, "open_run": open_run,
        "log": lambda *_: None, "find_former": lambda *_: None, "end_former": lambda *_: None,
    }  # fmt: skip
    tracked_prediction.prediction_run = SimpleNamespace(**vars(tracked_prediction.prediction_run) | without)


def import_all() -> None:
    """Import all that a prediction imports, so that a fork starts at once."""
    for module in ("tracked.verbs.predict", "tracked.predict.tracked_prediction", "tracked.models.loader"):
        importlib.import_module(module)
    gc.collect()
    gc.freeze()


def fork_workers() -> None:
    """Fork this process's workers instead of starting a Python for each: they do not use TensorFlow."""
    from tracked.predict import worker
    from tracked.training.run_folder_lock import RunFolderLock
    from tracked.workers import processes

    begin, take, work = processes.ProcessWorkers.__init__, RunFolderLock.take, processes._work
    locks: list[RunFolderLock] = []
    made: list[Any] = []

    def initialize(self: Any, *arguments: Any, **named: Any) -> None:
        begin(self, *arguments, **named)
        made.append(self)
        self._context = multiprocessing.get_context("fork")

    def remember(self: RunFolderLock, *arguments: Any, **named: Any) -> Path:
        locks.append(self)
        return take(self, *arguments, **named)

    def without_lock(*arguments: Any) -> None:
        for lock in locks:
            os.close(lock._descriptor)  # else it would outlive the prediction
        for slot in [slot for workers in made for slot in workers._slots if slot.connection]:
            slot.connection.close()  # else the workers would not see the prediction's end
        worker.load_model = lambda path: None
        work(*arguments)

    processes.ProcessWorkers.__init__ = initialize  # type: ignore[method-assign]
    RunFolderLock.take = remember  # type: ignore[method-assign]
    processes._work = without_lock


def fork(experiment: Doubler, words: Sequence[str], log: Path, is_cold: bool = False) -> int:
    """Fork a process that predicts without a store; returns its PID.

    Args:
        is_cold: whether its workers are started as usual.
    """
    child = os.fork()
    if child:
        return child
    status = 99
    try:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
        sys.argv = ["predict.py", *words]
        from tracked.console import entry
        from tracked.predict import tracked_prediction
        from tracked.runs import connection
        from tracked.verbs import predict

        connection.require_answers = lambda: None
        replace_model(tracked_prediction)
        replace_run(tracked_prediction)
        if not is_cold:
            fork_workers()
        if experiment.point and experiment.point not in answering.OF_WORKERS:
            answering.arm(experiment)
        entry.run(lambda argv, signals: predict.main(experiment, argv, signals))
    except SystemExit as end:
        status = int(end.code or 0)
    except KeyboardInterrupt:  # before there was a handler
        status = 130
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]
    sys.stdout.flush()
    os._exit(status)


def wait(pid: int) -> int:
    """Wait for the end; returns the exit status."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
