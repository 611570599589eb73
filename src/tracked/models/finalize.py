"""What makes a training complete that has come to its end: its figures, its model, its version, a tag that says so."""

from tracked.console.signals import Signals
from tracked.experiment import Dataset
from tracked.models import publisher
from tracked.reports import training_report
from tracked.runs.schema import BEST_EPOCH, BEST_VALUE, DATA_DIGEST, DATA_SOURCE, EXPERIMENT, REGISTERED
from tracked.runs.writer import Run
from tracked.training.files import BEST
from tracked.training.trainer import Trainer


def register_best(run: Run, data: Dataset, trainer: Trainer, signals: Signals) -> str:
    """Store the best checkpoint as a model, compare it, register it, and note it at the run; returns what it is called.

    Each step finds what an earlier attempt has done of it, and leaves it or does it anew. What is done last says that
    all of it is done.

    Raises:
        Interrupted: if a signal comes before the model is registered; one that comes later undoes nothing.
        RunFailed: naming the step that failed.
    """
    experiment, parameters = trainer.experiment, trainer.parameters
    name, monitor = parameters.model_name, parameters.monitor
    run.milliseconds = trainer.recorder.milliseconds
    model_id = publisher.find_registered(name, run.id)
    if not model_id:
        checkpoint = run.folder / BEST
        package = experiment.package(parameters, data, run.folder, checkpoint)
        switch = experiment.inputs_switch
        about = {switch: getattr(parameters, switch)} if switch else {}
        about |= {DATA_SOURCE: data.source, DATA_DIGEST: data.digest, EXPERIMENT: experiment.name}
        step, said = trainer.best_epoch, parameters.as_strings()
        model_id = publisher.store_model(name, package, checkpoint, step, said, about)
        publisher.require_same_loss(model_id, package, trainer.best[f"val_{experiment.metrics[0].name}"])
    tags = {BEST_EPOCH: str(trainer.best_epoch), BEST_VALUE.format(monitor=monitor): repr(trainer.best[monitor])}
    tags |= {DATA_DIGEST: data.digest, EXPERIMENT: experiment.name}
    signals.hold_until_exit()  # from here on the work is done: a signal no longer undoes it
    version = publisher.register(name, model_id, run.id, training_report.describe(data, trainer), tags)
    title = f"{version.name} version {version.version}"
    training_report.log_totals(run, trainer, model_id)  # once no epoch can follow: MLflow cannot take a figure back
    run.set_description(training_report.describe(data, trainer, f"Registered as **{title}**."))
    run.flush()
    run.set_tags({REGISTERED: version.version})
    return title
