"""Where a training is killed: the phases of its main thread, the points at which it kills itself."""

import importlib
import mmap
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers.subjects import Subject

PHASES = (
    "starts", "loads data", "encodes text", "fits n-grams", "writes n-grams", "numbers n-grams", "builds", "epoch",
    "checkpoint", "journal", "snapshot", "report", "flushes", "packages", "stores the model", "checks the model",
    "registers", "removes the folder", "ends",
)  # fmt: skip


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # no thread of this process may do anything more


def around(owner: Any, name: str, before: Callable[..., Any] | None, after: Callable[..., Any] | None = None) -> None:
    """Wrap a function so that ``before`` and ``after`` are called with its arguments."""
    function = getattr(owner, name)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        if before:
            before(*arguments, **named)
        result = function(*arguments, **named)
        if after:
            after(*arguments, **named)
        return result

    setattr(owner, name, wrapped)


def track_phases(subject: Subject, phase: mmap.mmap) -> None:
    """Wrap a training's functions so that each writes its phase's number to shared memory."""
    from tracked.models import publisher
    from tracked.reports import training_report
    from tracked.runs import context
    from tracked.runs.writer import Run
    from tracked.training.callbacks import BestCheckpoint
    from tracked.training.journal import Journal
    from tracked.training.run_folder_lock import RunFolderLock
    from tracked.training.snapshots import Snapshots
    from tracked.training.trainer import Trainer

    def within(name: str, owner: Any, function_name: str) -> None:
        function, number = getattr(owner, function_name), PHASES.index(name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            former, phase[0] = phase[0], number
            result = function(*arguments, **named)
            phase[0] = former
            return result

        setattr(owner, function_name, wrapped)

    experiment = subject.experiment()
    for phase_name, owner, function_name in (
        ("loads data", experiment, "load"), ("builds", experiment, "build"), ("epoch", Trainer, "fit"),
        ("checkpoint", BestCheckpoint, "on_epoch_end"), ("journal", Journal, "append"),
        ("snapshot", Snapshots, "write"), ("report", training_report, "log_report"), ("flushes", Run, "flush"),
        ("packages", experiment, "package"),
        ("stores the model", publisher, "store_model"), ("checks the model", publisher, "require_same_loss"),
        ("registers", publisher, "register"), ("removes the folder", RunFolderLock, "remove"),
        ("ends", context, "_end"),
        *((name, importlib.import_module(module), function) for name, module, function in subject.phases),
    ):  # fmt: skip
        within(phase_name, owner, function_name)


class Countdown:
    """Kill the process at the n-th call."""

    def __init__(self, times: int) -> None:
        self.remaining = times

    def is_over(self) -> bool:
        self.remaining -= 1
        return self.remaining <= 0

    def __call__(self, *_: Any, **__: Any) -> None:
        if self.is_over():
            die()


def _is_epoch(*_: Any, metrics: Any = (), **__: Any) -> bool:
    return any(point.key == "val_loss" for point in metrics)


def _is_end(*_: Any, tags: Any = (), **__: Any) -> bool:
    return any(tag.key == "registered_version" for tag in tags)


def _when(condition: Callable[..., bool], then: Callable[..., None]) -> Callable[..., None]:
    return lambda *arguments, **named: then(*arguments, **named) if condition(*arguments, **named) else None


def _named(prefix: str) -> Callable[..., bool]:
    return lambda path, *_, **__: path.name.startswith(prefix)


def points() -> dict[str, tuple[int, Callable[[Countdown], None]]]:
    """By name: how many times at most a training passes the point, and a function that arms the kill there."""
    import mlflow

    from tracked.reports import training_report
    from tracked.training import callbacks, journal
    from tracked.training.run_folder_lock import RunFolderLock
    from tracked.training.trainer import Trainer

    client, write_bytes = mlflow.MlflowClient, Path.write_bytes

    def half_a_snapshot(count: Countdown) -> None:
        def write(path: Path, content: bytes) -> int:
            if path.name.startswith("partial-epoch") and count.is_over():
                write_bytes(path, content[: len(content) // 2])
                die()
            return write_bytes(path, content)

        Path.write_bytes = write  # type: ignore[method-assign]

    def half_a_checkpoint(count: Countdown) -> None:
        write_safely = callbacks.write_safely

        def broken(path: Path, write: Callable[[Path], object]) -> None:
            def half(partial: Path) -> None:
                write(partial)
                if count.is_over():
                    os.truncate(partial, partial.stat().st_size // 2)
                    die()

            write_safely(path, half)

        callbacks.write_safely = broken

    def half_a_line(count: Countdown) -> None:
        pwrite = os.pwrite

        def write(descriptor: int, content: bytes, offset: int) -> int:
            if content.startswith(b'{"epoch"') and count.is_over():
                pwrite(descriptor, content[: len(content) // 2], offset)
                die()
            return pwrite(descriptor, content, offset)

        journal.os.pwrite = write  # type: ignore[attr-defined]

    def renamed(prefix: str) -> Callable[[Countdown], None]:
        condition = _named(prefix)
        return lambda count: around(Path, "replace", None, _when(condition, count))

    def about_to_be_renamed(prefix: str) -> Callable[[Countdown], None]:
        condition = _named(prefix)
        return lambda count: around(Path, "replace", _when(condition, count))

    def half_removed(count: Countdown) -> None:
        def half(folder_lock: RunFolderLock) -> None:
            if count.is_over():
                for path in sorted(folder_lock.folder.iterdir())[::2]:
                    path.unlink()
                die()

        around(RunFolderLock, "remove", half)

    def before(owner: Any, name: str) -> Callable[[Countdown], None]:
        return lambda count: around(owner, name, count)

    def after(owner: Any, name: str) -> Callable[[Countdown], None]:
        return lambda count: around(owner, name, None, count)

    return {
        "the run is created": (1, lambda count: around(client, "create_run", None, count)),
        "a journal's line is half written": (5, half_a_line),
        "a checkpoint is half written": (3, half_a_checkpoint),
        "a checkpoint is about to be renamed": (3, about_to_be_renamed("partial-best")),
        "a checkpoint is renamed": (3, renamed("partial-best")),
        "a snapshot is half written": (5, half_a_snapshot),
        "a snapshot is about to be renamed": (5, about_to_be_renamed("partial-epoch")),
        "a snapshot is renamed": (5, renamed("partial-epoch")),
        "an epoch is about to be logged": (5, lambda count: around(client, "log_batch", _when(_is_epoch, count))),
        "an epoch is logged": (5, lambda count: around(client, "log_batch", None, _when(_is_epoch, count))),
        "a training is restored": (1, after(Trainer, "restore")),
        "an artifact is about to be uploaded": (6, before(client, "log_artifact")),
        "the report is queued": (1, after(training_report, "log_report")),
        "a model is about to be uploaded": (1, before(client, "log_model_artifacts")),
        "a model is uploaded": (1, after(client, "log_model_artifacts")),
        "a model is finalized": (1, after(client, "finalize_logged_model")),
        "a version is about to be registered": (1, before(client, "create_model_version")),
        "a version is registered": (1, after(client, "create_model_version")),
        "the alias is about to move": (1, before(client, "set_registered_model_alias")),
        "the alias has moved": (1, after(client, "set_registered_model_alias")),
        "the run is tagged with its version": (
            1,
            lambda count: around(client, "log_batch", None, _when(_is_end, count)),
        ),
        "the folder is half removed": (1, half_removed),
        "the run is about to end": (1, before(client, "set_terminated")),
        "the run has ended": (1, after(client, "set_terminated")),
    }
