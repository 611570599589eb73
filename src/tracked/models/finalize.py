"""Complete a training: its model, its version, its totals, and last the tag that marks it complete."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tracked.console.errors import RunFailed
from tracked.console.signals import Signals
from tracked.experiment import Dataset
from tracked.models import publisher
from tracked.models.loader import reserved_metadata
from tracked.reports import training_report
from tracked.runs import registry
from tracked.runs.registry import StoredModel
from tracked.runs.schema import BEST_EPOCH, BEST_VALUE, DATA_DIGEST, DATA_SOURCE, EXPERIMENT, REGISTERED
from tracked.runs.writer import Run
from tracked.training.files import BEST
from tracked.training.trainer import Trainer


@dataclass(frozen=True)
class Origin:
    """How a search has chosen a training: a paragraph of Markdown, and tags of the version."""

    note: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


NO_SEARCH = Origin()


def register_best(
    run: Run, data: Dataset, trainer: Trainer, signals: Signals, origin: Origin = NO_SEARCH
) -> StoredModel:
    """Store the best checkpoint as a model, check it, register it, and log it at the run; returns the version.

    After a kill at any step, another call completes the work: a registered version is kept, a model without one is
    replaced. The tag ``REGISTERED`` is set last, so a run that has it is complete.

    Args:
        origin: what the version's description and tags say of the search that has chosen the training.

    Raises:
        Interrupted: if a signal comes before the model is registered; a later signal undoes nothing.
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
        metadata = {switch: getattr(parameters, switch)} if switch else {}
        metadata |= {DATA_SOURCE: data.source, DATA_DIGEST: data.digest, EXPERIMENT: experiment.name}
        if taken := sorted(set(reserved_metadata(experiment)) & set(package.metadata)):
            raise RunFailed(f"experiment {experiment.name!r} packages the reserved metadata {taken[0]!r}; rename it")
        metadata |= package.metadata
        strings = parameters.as_logged()  # as the run's, which MLflow gives the model, too
        model_id = publisher.store_model(name, package, checkpoint, trainer.best_epoch, strings, metadata)
        publisher.require_same_loss(model_id, package, trainer.best[f"val_{experiment.metrics[0].name}"])
    tags = {BEST_EPOCH: str(trainer.best_epoch), BEST_VALUE.format(monitor=monitor): repr(trainer.best[monitor])}
    tags |= {DATA_DIGEST: data.digest, EXPERIMENT: experiment.name, **origin.tags}
    signals.hold_until_exit()  # a signal must not leave a version half registered
    version = publisher.register(name, model_id, run.id, training_report.describe(data, trainer, origin.note), tags)
    stored = registry.locate_version(version, model_id)
    training_report.log_totals(run, trainer, model_id)  # MLflow cannot delete a metric: only once no epoch can follow
    run.set_description(
        training_report.describe(
            data, trainer, "\n\n".join([f"Registered as **{stored.title}**.", origin.note]).strip()
        )
    )
    run.flush()
    run.set_tags({REGISTERED: version.version})
    return stored
