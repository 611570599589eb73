"""One evaluation: which rows are predicted, and a run with what came out. Each can be refused before a run begins."""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mlflow.exceptions import MlflowException

from tracked.console.errors import RunFailed, UserError
from tracked.console.lines import one_line, say
from tracked.console.parameters import refusal
from tracked.console.signals import Signals
from tracked.experiment import Experiment, Part
from tracked.models import loader, predictions
from tracked.models.loader import DownloadedModel, ModelMetadata
from tracked.reports import evaluation_report
from tracked.runs import context, evaluations, schema
from tracked.runs.registry import StoredModel
from tracked.training import reproducibility


@dataclass(frozen=True, eq=False)
class Subject:
    """Rows to predict, and whether they are the test part of what the model was trained on."""

    part: Part
    own_test_part: bool

    def for_another(self, record: ModelMetadata | None) -> "Subject":
        """The same rows for another model, trained on what ``metadata`` says."""
        own = self.own_test_part and record is not None and record.data_digest == self.part.digest
        return replace(self, own_test_part=own)


def find_subject(owner: Experiment, stored: StoredModel, record: ModelMetadata | None, name: str) -> Subject:
    """The rows that ``data`` means for a model.

    Args:
        name: the parameter data; auto is the test part of what the model was trained on.

    Raises:
        UserError: if they are not at hand, are not what the model was trained on (for auto), or cannot be scored.
    """
    own_test_part = name == "auto"
    if own_test_part and not record:
        raise refusal("data", "auto", f"the name or path of data, since {stored.title} has no record of its training")
    part = owner.load_part(record.data_source if own_test_part and record else name, whole=not own_test_part)
    if own_test_part and record and part.digest != record.data_digest:
        raise UserError(
            f"data: {part.source} is not what {stored.title} was trained on (digest {part.digest[:12]}, "
            f"not {record.data_digest[:12]}); allowed: the same data for auto, or a path"
        )
    if not part.count:
        raise UserError(f"data: {part.source} has no {owner.terms.rows} to predict; allowed: data that has some")
    say(f"data: {part.source}, {part.count:,} of {part.total:,} {owner.terms.rows}, digest {part.digest[:12]}")
    return Subject(part, own_test_part)


def evaluate(
    owner: Experiment,
    stored: StoredModel,
    model: DownloadedModel,
    chosen: Subject,
    parameters: Mapping[str, str],
    signals: Signals,
) -> str:
    """Predict the rows with the model in a run of ``evaluate``; returns the run's id."""
    reproducibility.import_tensorflow()
    part, loaded = chosen.part, loader.load(str(model.path))
    with tempfile.TemporaryDirectory(prefix=f"{owner.name}-") as folder:
        trained_on = loader.read_trained_on(stored, model.metadata, Path(folder))
    pieces = owner.predict(loaded, part, trained_on)
    with context.run(owner, "evaluate", f"evaluate {stored.short}", parameters, signals) as run:
        say(f"run {run.id} 'evaluate {stored.short}'")
        run.log_input(part.source, part.digest, "evaluation", {"rows": part.total}, part.columns)
        run.set_tags({
            schema.MODEL_URI: stored.uri, schema.MODEL_NAME: stored.name, schema.MODEL_VERSION: stored.version,
            schema.ROWS_DIGEST: part.rows_digest, schema.EVALUATION_FORMAT: evaluations.FORMAT,
            schema.LOSS_OF_ROWS: evaluations.loss_of_rows(owner),
        })  # fmt: skip
        if stored.model_id:
            run.log_model_input(stored.model_id)
            run.set_tags({schema.MODEL_ID: stored.model_id})
        if stored.run_id:
            run.set_tags({schema.TRAINING_RUN_ID: stored.run_id})
        started = time.perf_counter()
        try:
            found = predictions.write(
                pieces, part.count, run.folder / schema.PREDICTIONS, lambda n: _progress(owner, n)
            )
        except MlflowException as error:  # such as an input that its signature does not take
            # What comes before is the input itself, which may be private.
            why = str(error).rpartition("Error: ")[2] if "Error: " in str(error) else type(error).__name__
            told = f"{stored.title} cannot predict these {owner.terms.rows} ({one_line(ValueError(why))})"
            raise RunFailed(told) from None
        seconds = time.perf_counter() - started
        switch = owner.inputs_switch
        may_show = not switch or (parameters.get(switch) != "false" and not (model.metadata and model.metadata.private))
        may_show = may_show and not evaluations.are_private(owner, part.digest)
        say(
            evaluation_report.log_report(
                run, owner, stored, found.rows, found.worst, seconds, may_show, chosen.own_test_part
            )
        )
    return run.id


def _progress(owner: Experiment, rows: int) -> None:
    say(f"scored {rows:,} {owner.terms.rows}")
