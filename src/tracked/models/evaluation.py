"""Find the rows of an evaluation, and predict and score them in a run. Mistakes are refused before the run starts."""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException

from tracked.console.errors import RunFailed, UserError
from tracked.console.lines import one_line, say
from tracked.console.progress import track
from tracked.console.signals import Signals
from tracked.experiment import Experiment, Part, Request
from tracked.models import baselines, loader, predictions
from tracked.models.loader import DownloadedModel, ModelMetadata
from tracked.models.model_process import Load
from tracked.reports import evaluation_report
from tracked.runs import context, evaluations, registry, schema
from tracked.runs.registry import StoredModel


@dataclass(frozen=True, eq=False)
class Subject:
    """Rows to predict, and whether they are the test part of the model's training data."""

    part: Part
    own_test_part: bool

    def for_another(self, metadata: ModelMetadata | None) -> "Subject":
        """Return the same rows for another model, with the metadata of its training."""
        own = self.own_test_part and metadata is not None and metadata.data_digest == self.part.digest
        return replace(self, own_test_part=own)


def find_subject(owner: Experiment, stored: StoredModel, metadata: ModelMetadata | None, parameters: Any) -> Subject:
    """Find the rows to predict with a model.

    Args:
        parameters: the verb's; ``data`` is auto for the test part of the model's training data.

    Raises:
        UserError: if the data cannot be found, differ from the training data (for auto), or have no rows to predict.
    """
    own_test_part = parameters.data == "auto"
    if own_test_part and not metadata:
        raise UserError(f"data: {stored.title} does not name its training data; give the name or path of data")
    source = metadata.data_source if own_test_part and metadata else parameters.data
    part = owner.load_part(Request(source, not own_test_part, parameters, metadata.own if metadata else {}))
    if own_test_part and metadata and part.digest != metadata.data_digest:
        raise UserError(
            f"data: {part.source} differs from what {stored.title} was trained on (digest "
            f"{metadata.data_digest[:12]} -> {part.digest[:12]}); restore it, or give the path of other data"
        )
    if not part.count:
        raise UserError(f"data: {part.source} has no {owner.terms.rows} to predict; give other data")
    say(f"data: {part.source}, {part.count:,} of {part.total:,} {owner.terms.rows}, digest {part.digest[:12]}")
    return Subject(part, own_test_part)


def evaluate(
    owner: Experiment,
    stored: StoredModel,
    model: DownloadedModel,
    subject: Subject,
    parameters: Mapping[str, str],
    signals: Signals,
    load: Load | None = None,
) -> str:
    """Predict and score the rows in a run of ``evaluate``; returns the run's id.

    Args:
        parameters: the verb's, to be logged; the baselines are scored too if ``baseline`` is true.
        load: loads a model that was downloaded; None for :func:`tracked.models.loader.load`.

    Raises:
        RunFailed: if the model cannot predict the rows, or they cannot be scored.
    """
    part, loaded = subject.part, (load or loader.load)(str(model.path))
    with tempfile.TemporaryDirectory(prefix=f"{owner.name}-") as folder:
        trained_on = loader.read_trained_on(stored, model.metadata, Path(folder))
    pieces = owner.predict(loaded, part, trained_on)
    with context.run(owner, "evaluate", f"evaluate {stored.short}", parameters, signals) as run:
        say(f"run {run.id} 'evaluate {stored.short}'")
        run.log_input(part.source, part.digest, "evaluation", {"rows": part.total}, part.columns)
        registry.log_model(run, stored)
        run.set_tags({
            schema.ROWS_DIGEST: part.rows_digest, schema.EVALUATION_FORMAT: evaluations.FORMAT,
            schema.LOSS_OF_ROWS: evaluations.loss_of_rows(owner),
        })  # fmt: skip
        started = time.perf_counter()
        try:
            with track("scoring", part.count, owner.terms.rows, summary=False) as progress:
                predicted = predictions.write(pieces, part.count, run.folder / schema.PREDICTIONS, progress.advance)
        except MlflowException as error:  # such as an input that the signature does not take
            # The text before the cause is the input itself, which may be private.
            cause = str(error).rpartition("Error: ")[2] if "Error: " in str(error) else type(error).__name__
            problem = f"{stored.title} cannot predict these {owner.terms.rows} ({one_line(ValueError(cause))})"
            raise RunFailed(problem) from None
        seconds = time.perf_counter() - started
        switch = owner.inputs_switch
        may_show = not switch or (parameters.get(switch) != "false" and not (model.metadata and model.metadata.private))
        may_show = may_show and not evaluations.are_private(owner, part.digest)
        say(
            evaluation_report.log_report(
                run, owner, stored, predicted.rows, predicted.worst, seconds, may_show, subject.own_test_part
            )
        )
        if parameters.get("baseline") == "true":
            own = subject.own_test_part
            baselines.log_baselines(owner, run, stored, part, trained_on, predicted.rows, own)
    return run.id
