"""What a training leaves at its run when it has ended, whatever ended it."""

import shutil
from pathlib import Path

import pandas as pd

from imdb_conv1d.dataset import Reviews
from tracked.analysis.early_stopping import BY_ITSELF, NOT_A_NUMBER
from tracked.console.errors import RunFailed
from tracked.console.lines import one_line, warn
from tracked.reports import plots
from tracked.runs.queries import STOP_REASON
from tracked.runs.writer import Run
from tracked.training import journal
from tracked.training.snapshots import BEST
from tracked.training.trainer import Training

REASONS = {
    "patience": "no improvement of more than {min_delta} for {patience} epochs",
    "epochs": "all {epochs} epochs are trained",
    NOT_A_NUMBER: "a loss is not a finite number",
    "interrupted": "it was interrupted",
    "error": "an error ended it",
}


def queue(run: Run, reviews: Reviews, training: Training) -> None:
    """Queue the tags, the description, tables, the picture of the curves and the best checkpoint.

    The figures of the whole are queued only where no epoch can follow: MLflow cannot take a figure back.

    Raises:
        RunFailed: if they cannot be made, and nothing else has gone wrong. Else a line says so: what ended the training
            must not be hidden by its report.
    """
    run.stop_reason = training.reason
    run.tags({STOP_REASON: training.reason})
    try:
        if training.reason == NOT_A_NUMBER:
            figures(run, training)
        run.describe(description(reviews, training, "Nothing is registered."))
        _files(run, training)
    except Exception as error:  # a full disk, say
        problem = f"not all tables and pictures of the training could be made ({one_line(error)})"
        if training.reason in BY_ITSELF:
            raise RunFailed(problem) from error
        warn(problem)


def _files(run: Run, training: Training) -> None:
    best = _linked(training.checkpoint_path, run.folder / BEST) if training.best_epoch else None
    if training.stopped_epoch < max(training.record.logged, default=0):
        return  # it began anew, and has not come as far as the checkpoint and the tables that the run has
    if best:
        run.file(best, "checkpoint")
    entries, monitor = training.entries, training.parameters.monitor
    for table in journal.write_tables(entries, training.rule, monitor, run.folder):
        run.file(table)
    if entries:
        history = pd.DataFrame([{"epoch": entry.epoch} | entry.values for entry in entries])
        run.figure(
            plots.training(history, monitor, training.best_epoch, training.stopped_epoch, training.reason),
            "training.png",
        )


def _linked(source: Path, path: Path) -> Path:
    """The same file under another name; a copy where the disk has no links."""
    path.unlink(missing_ok=True)
    try:
        path.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, path)
    return path


def figures(run: Run, training: Training, model_id: str | None = None) -> None:
    """Queue the figures of the whole training; with ``model_id``, they are shown at the model as well."""
    values = {"stopped_epoch": float(training.stopped_epoch), "best_epoch": float(training.best_epoch)}
    if training.best:
        values[f"best_{training.parameters.monitor}"] = training.best[training.parameters.monitor]
    # At step 0, since the UI draws such a metric as bars, a run each, and any other as a curve, here of one point. A
    # point that is sent again with the same time is no second one.
    run.metrics(values, training.record.milliseconds, 0, model_id)


def headline(training: Training) -> str:
    """One line: the best epoch and where and why the training ended."""
    why = REASONS[training.reason].format(**training.parameters.spelled())
    ended = f"ended after epoch {training.stopped_epoch}: {why}"
    if not training.best_epoch:
        return ended
    best = training.best
    shown = f"val_loss {best['val_loss']:.4f}, val_accuracy {best['val_accuracy']:.4f}"
    return f"best epoch {training.best_epoch}: {shown}; {ended}"


def description(reviews: Reviews, training: Training, registered: str = "") -> str:
    """A few lines of Markdown that say what came out; ``registered`` is one of them."""
    line = headline(training)
    lines = [
        f"{line[0].upper()}{line[1:]}.",
        registered,
        f"Data: {reviews.source.name} ({reviews.summary()}), digest `{reviews.digest[:12]}`.",
    ]
    return "\n\n".join(line for line in lines if line)
