"""Log a training's end, however it ended: tags, description, tables, plots and the best checkpoint."""

import shutil
from pathlib import Path

import pandas as pd

from tracked.analysis.early_stopping import COMPLETED, NOT_A_NUMBER, PRUNED
from tracked.console.errors import RunFailed
from tracked.console.lines import one_line, warn
from tracked.experiment import Dataset
from tracked.reports import plots
from tracked.runs.schema import (
    BEST_EPOCH,
    BEST_VALUE,
    CHECKPOINT_FOLDER,
    PRUNED_BECAUSE,
    STOP_REASON,
    STOPPED_EPOCH,
)
from tracked.runs.writer import Run, escape_markdown
from tracked.training import journal, plateau_rates
from tracked.training.files import BEST, CURVES
from tracked.training.trainer import Trainer

REASONS = {
    "patience": "no improvement of more than {min_delta} for {patience} epochs",
    "epochs": "all {epochs} epochs are trained",
    NOT_A_NUMBER: "a loss is not a finite number",
    PRUNED: "given up by the search",
    "interrupted": "interrupted",
    "error": "an error",
}
ENDED = (*COMPLETED, NOT_A_NUMBER, PRUNED)  # of a trial that ended by itself


def log_report(run: Run, data: Dataset, trainer: Trainer, is_trial: bool = False) -> None:
    """Queue the tags, the description, tables, the plot of the curves and the best checkpoint.

    The totals are queued only if no epoch can follow, since MLflow cannot delete a metric.

    Args:
        is_trial: whether the training is a search's trial, which ends for good, and whose checkpoint is not logged
            until the search knows that it keeps it.

    Raises:
        RunFailed: if a file cannot be written after a training that ended by itself. After any other end a warning is
            printed instead, so that the report does not hide what ended the training.
    """
    run.stop_reason = trainer.reason
    run.set_tags({STOP_REASON: trainer.reason})
    try:
        if trainer.reason in ENDED if is_trial else trainer.reason == NOT_A_NUMBER:
            log_totals(run, trainer)
        if trainer.reason == PRUNED:
            run.set_tags({PRUNED_BECAUSE: trainer.stopping.given_up})
        run.set_description(
            describe(data, trainer, "A training of a search." if is_trial else "Nothing is registered.")
        )
        _log_files(run, trainer, with_checkpoint=not is_trial)
    except Exception as error:  # such as a full disk
        problem = f"some tables or plots of the training could not be written ({one_line(error)})"
        if trainer.reason in COMPLETED:
            raise RunFailed(problem) from error
        warn(problem)


def _log_files(run: Run, trainer: Trainer, with_checkpoint: bool) -> None:
    best = _link(trainer.checkpoint_path, run.folder / BEST) if trainer.best_epoch else None
    if trainer.stopped_epoch < max(trainer.recorder.logged, default=0):
        return  # the run already has the checkpoint and tables of later epochs, from before a new start
    if best and with_checkpoint:
        run.log_artifact(best, CHECKPOINT_FOLDER)
    entries, monitor = trainer.entries, trainer.parameters.monitor
    rates = plateau_rates.list_next_rates(trainer.parameters, (entry.values for entry in entries))
    for table in journal.write_tables(entries, trainer.rule, monitor, run.folder, rates):
        run.log_artifact(table)
    if entries:
        history = pd.DataFrame([{"epoch": entry.epoch} | entry.values for entry in entries])
        names = [metric.name for metric in trainer.experiment.metrics]
        ended = trainer.best_epoch, trainer.stopped_epoch, trainer.reason
        run.log_figure(plots.draw_training(history, names, monitor, *ended), CURVES)


def _link(source: Path, path: Path) -> Path:
    """Link a file under another name; copy it where the disk has no hard links."""
    path.unlink(missing_ok=True)
    try:
        path.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, path)
    return path


def log_totals(run: Run, trainer: Trainer, model_id: str | None = None) -> None:
    """Queue the totals of the training; with ``model_id``, also for the model."""
    values = {STOPPED_EPOCH: float(trainer.stopped_epoch), BEST_EPOCH: float(trainer.best_epoch)}
    if trainer.best:
        values[BEST_VALUE.format(monitor=trainer.parameters.monitor)] = trainer.best[trainer.parameters.monitor]
    # At step 0 the UI draws a bar per run; at another step, a curve of one point. The same timestamp makes a repeated
    # point the same point.
    run.log_metrics(values, trainer.recorder.milliseconds, 0, model_id)


def summarize(trainer: Trainer) -> str:
    """Summarize in one line: the best epoch, and when and why the training ended."""
    reason = REASONS[trainer.reason].format(**trainer.parameters.as_strings())
    reason = f"{reason}: {trainer.stopping.given_up}" if trainer.reason == PRUNED else reason
    ended = f"ended after epoch {trainer.stopped_epoch}: {reason}"
    if not trainer.best_epoch:
        return ended
    best = trainer.best
    names = [f"val_{metric.name}" for metric in trainer.experiment.metrics]
    values = ", ".join(f"{name} {best[name]:.4f}" for name in names)
    return f"best epoch {trainer.best_epoch}: {values}; {ended}"


def describe(data: Dataset, trainer: Trainer, registered: str = "") -> str:
    """Describe the outcome in a few lines of Markdown, with the line ``registered`` if it is not empty."""
    line = summarize(trainer)
    read = escape_markdown(f"{data.source} ({data.summary})")  # names of files and of labels may hold any character
    lines = [
        f"{line[0].upper()}{line[1:]}.",
        registered,
        f"Data: {read}, digest `{data.digest[:12]}`.",
    ]
    return "\n\n".join(line for line in lines if line)
