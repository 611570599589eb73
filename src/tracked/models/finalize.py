"""What makes a training complete that has come to its end: its figures, its model, its version, a tag that says so."""

from pathlib import Path

from imdb_conv1d.dataset import Reviews
from tracked.console.signals import Signals
from tracked.models import publisher
from tracked.models.loader import Record
from tracked.reports import training_report
from tracked.runs.queries import REGISTERED
from tracked.runs.writer import Run
from tracked.training.snapshots import BEST
from tracked.training.trainer import Training


def complete(run: Run, reviews: Reviews, training: Training, vocabulary: Path, signals: Signals) -> str:
    """Store the best checkpoint as a model, compare it, register it, and note it at the run; returns what it is called.

    Each step finds what an earlier attempt has done of it, and leaves it or does it anew. What is done last says that
    all of it is done.

    Raises:
        Interrupted: if a signal comes before the model is registered; one that comes later undoes nothing.
        RunFailed: naming the step that failed.
    """
    parameters, name, monitor = training.parameters, training.parameters.model_name, training.parameters.monitor
    run.milliseconds = training.record.milliseconds
    model_id = publisher.registered(name, run.id)
    if not model_id:
        model_id = publisher.store(
            name,
            run.folder / BEST,
            vocabulary,
            parameters.maxlen,
            training.best_epoch,
            parameters.spelled(),
            Record(reviews.source.name, reviews.digest, parameters.log_texts),
        )
        publisher.require_same_loss(model_id, reviews.part("validation"), training.best["val_loss"])
    tags = {"best_epoch": str(training.best_epoch), f"best_{monitor}": repr(training.best[monitor])}
    tags["data_digest"] = reviews.digest
    signals.hold_to_the_end()  # from here on the work is done: a signal no longer undoes it
    version = publisher.register(name, model_id, run.id, training_report.description(reviews, training), tags)
    title = f"{version.name} version {version.version}"
    training_report.figures(run, training, model_id)  # once no epoch can follow: MLflow cannot take a figure back
    run.describe(training_report.description(reviews, training, f"Registered as **{title}**."))
    run.settle()
    run.tags({REGISTERED: version.version})
    return title
