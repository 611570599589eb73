"""What a training leaves at its run when it has ended, whatever ended it."""

import shutil
from pathlib import Path

import pandas as pd

from tracked.analysis.early_stopping import COMPLETED, NOT_A_NUMBER
from tracked.console.errors import RunFailed
from tracked.console.lines import one_line, warn
from tracked.experiment import Dataset
from tracked.reports import plots
from tracked.runs.schema import BEST_EPOCH, BEST_VALUE, CHECKPOINT_FOLDER, STOP_REASON, STOPPED_EPOCH
from tracked.runs.writer import Run
from tracked.training import journal
from tracked.training.files import BEST, CURVES
from tracked.training.trainer import Trainer

REASONS = {
    "patience": "no improvement of more than {min_delta} for {patience} epochs",
    "epochs": "all {epochs} epochs are trained",
    NOT_A_NUMBER: "a loss is not a finite number",
    "interrupted": "it was interrupted",
    "error": "an error ended it",
}


def log_report(run: Run, data: Dataset, trainer: Trainer) -> None:
    """Queue the tags, the description, tables, the picture of the curves and the best checkpoint.

    The figures of the whole are queued only where no epoch can follow: MLflow cannot take a figure back.

    Raises:
        RunFailed: if they cannot be made, and nothing else has gone wrong. Else a line says so: what ended the training
            must not be hidden by its report.
    """
    run.stop_reason = trainer.reason
    run.set_tags({STOP_REASON: trainer.reason})
    try:
        if trainer.reason == NOT_A_NUMBER:
            log_totals(run, trainer)
        run.set_description(describe(data, trainer, "Nothing is registered."))
        _files(run, trainer)
    except Exception as error:  # a full disk, say
        problem = f"not all tables and pictures of the training could be made ({one_line(error)})"
        if trainer.reason in COMPLETED:
            raise RunFailed(problem) from error
        warn(problem)


def _files(run: Run, trainer: Trainer) -> None:
    best = _linked(trainer.checkpoint_path, run.folder / BEST) if trainer.best_epoch else None
    if trainer.stopped_epoch < max(trainer.recorder.logged, default=0):
        return  # it began anew, and has not come as far as the checkpoint and the tables that the run has
    if best:
        run.log_artifact(best, CHECKPOINT_FOLDER)
    entries, monitor = trainer.entries, trainer.parameters.monitor
    for table in journal.write_tables(entries, trainer.rule, monitor, run.folder):
        run.log_artifact(table)
    if entries:
        history = pd.DataFrame([{"epoch": entry.epoch} | entry.values for entry in entries])
        names = [metric.name for metric in trainer.experiment.metrics]
        ended = trainer.best_epoch, trainer.stopped_epoch, trainer.reason
        run.log_figure(plots.draw_training(history, names, monitor, *ended), CURVES)


def _linked(source: Path, path: Path) -> Path:
    """The same file under another name; a copy where the disk has no links."""
    path.unlink(missing_ok=True)
    try:
        path.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, path)
    return path


def log_totals(run: Run, trainer: Trainer, model_id: str | None = None) -> None:
    """Queue the figures of the whole training; with ``model_id``, they are shown at the model as well."""
    values = {STOPPED_EPOCH: float(trainer.stopped_epoch), BEST_EPOCH: float(trainer.best_epoch)}
    if trainer.best:
        values[BEST_VALUE.format(monitor=trainer.parameters.monitor)] = trainer.best[trainer.parameters.monitor]
    # At step 0, since the UI draws such a metric as bars, a run each, and any other as a curve, here of one point. A
    # point that is sent again with the same time is no second one.
    run.log_metrics(values, trainer.recorder.milliseconds, 0, model_id)


def summarize(trainer: Trainer) -> str:
    """One line: the best epoch and where and why the training ended."""
    why = REASONS[trainer.reason].format(**trainer.parameters.as_strings())
    ended = f"ended after epoch {trainer.stopped_epoch}: {why}"
    if not trainer.best_epoch:
        return ended
    best = trainer.best
    names = [f"val_{metric.name}" for metric in trainer.experiment.metrics]
    shown = ", ".join(f"{name} {best[name]:.4f}" for name in names)
    return f"best epoch {trainer.best_epoch}: {shown}; {ended}"


def describe(data: Dataset, trainer: Trainer, registered: str = "") -> str:
    """A few lines of Markdown that say what came out; ``registered`` is one of them."""
    line = summarize(trainer)
    lines = [
        f"{line[0].upper()}{line[1:]}.",
        registered,
        f"Data: {data.source} ({data.summary}), digest `{data.digest[:12]}`.",
    ]
    return "\n\n".join(line for line in lines if line)
