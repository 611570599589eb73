"""One evaluation: which reviews are scored, and a run with what came out. Each can be refused before a run begins."""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from imdb_conv1d import dataset, evaluation_report, leaks, predict, sources
from imdb_conv1d.leaks import Seen
from imdb_conv1d.sources import Source
from tracked.console.errors import UserError
from tracked.console.lines import say
from tracked.console.parameters import refusal
from tracked.console.signals import Signals
from tracked.models import loader
from tracked.models.loader import Record, Stored
from tracked.runs import context, evaluations
from tracked.runs.evaluations import FORMAT, FORMAT_TAG, MODEL_ID, PREDICTIONS
from tracked.training import reproducibility


@dataclass(frozen=True, eq=False)
class Subject:
    """Reviews to score: those of ``rows`` (hash, label, …) of a source that ``take`` is true for.

    ``digest`` is the whole source's, ``own_test_part`` whether they are the test part of what the model was trained on.
    ``rows_digest`` is the SHA-256 of the chosen texts' hashes and labels, in no order: two evaluations with the same
    one can be paired.
    """

    source: Source
    rows: pd.DataFrame
    take: pd.Series
    digest: str
    own_test_part: bool
    rows_digest: str

    def for_another(self, record: Record | None) -> "Subject":
        """The same reviews for another model, trained on what ``record`` says."""
        own = self.own_test_part and record is not None and record.data_digest == self.digest
        return replace(self, own_test_part=own)


def subject(stored: Stored, record: Record | None, name: str) -> Subject:
    """The reviews that ``data`` means for a model.

    Args:
        name: the parameter data; auto is the test part of what the model was trained on.

    Raises:
        UserError: if they are not at hand, are not what the model was trained on (for auto), or have one label only.
    """
    own_test_part = name == "auto"
    if own_test_part and not record:
        raise refusal("data", "auto", f"the name or path of data, since {stored.title} has no record of its training")
    source = sources.resolve(record.data_source if own_test_part and record else name)
    rows = dataset.index(source)
    digest = dataset.digest(rows)
    if own_test_part and record and digest != record.data_digest:
        raise UserError(
            f"data: {source.name} is not what {stored.title} was trained on (digest {digest[:12]}, "
            f"not {record.data_digest[:12]}); allowed: the same data for auto, or a path"
        )
    take = predict.to_score(rows, whole=not own_test_part and Path(source.name).is_absolute())
    say(f"data: {source.name}, {take.sum():,} of {len(rows):,} reviews, digest {digest[:12]}")
    return Subject(source, rows, take, digest, own_test_part, dataset.digest(rows[take].assign(split="")))


def run(
    stored: Stored,
    model: loader.Fetched,
    chosen: Subject,
    parameters: Mapping[str, str],
    log_texts: bool,
    signals: Signals,
) -> str:
    """Score the reviews with the model in a run of ``evaluate``; returns the run's id."""
    reproducibility.import_tensorflow()
    score = loader.scorer(model.path)
    with tempfile.TemporaryDirectory(prefix="imdb-conv1d-") as folder:
        trained_on = _seen(stored, model.record, chosen, Path(folder))
    with context.run("evaluate", f"evaluate {stored.short}", parameters, signals) as run:
        say(f"run {run.id} 'evaluate {stored.short}'")
        run.data(chosen.source.name, chosen.digest, "evaluation", {"rows": len(chosen.rows)})
        run.tags({"model_uri": stored.uri, "model_name": stored.name, "model_version": stored.version,
                  "rows_digest": chosen.rows_digest, FORMAT_TAG: FORMAT})  # fmt: skip
        if stored.model_id:
            run.model(stored.model_id)
            run.tags({MODEL_ID: stored.model_id})
        if stored.run_id:
            run.tags({"training_run_id": stored.run_id})
        started = time.perf_counter()
        pieces = predict.chosen(chosen.source, chosen.rows, chosen.take)
        predictions = run.folder / PREDICTIONS
        scored = predict.score(pieces, score, trained_on, predictions, lambda n: say(f"scored {n:,} reviews"))
        seconds = time.perf_counter() - started
        with_texts = log_texts and (model.record is None or model.record.log_texts)
        with_texts = with_texts and not evaluations.are_private(chosen.digest)
        say(evaluation_report.queue(run, stored, scored, seconds, with_texts, chosen.own_test_part))
    return run.id


def _seen(stored: Stored, record: Record | None, chosen: Subject, folder: Path) -> Seen | None:
    """What the model was trained and chosen on, None where that cannot be known.

    A training of an earlier version has stored bytes' hashes alone. Where its data are the ones at hand, the words are
    read off them again.
    """
    rows = loader.training_rows(stored, folder)
    if rows is None:
        return None
    if found := leaks.seen(rows):
        return found
    if record is None or record.data_digest != chosen.digest or (maxlen := loader.maxlen(stored)) is None:
        return None
    say("reading again what the model was trained on: its training has not stored the words")
    hashes = frozenset(rows.loc[rows["split"].isin(leaks.SEEN_PARTS), "hash"])
    pieces = predict.chosen(chosen.source, chosen.rows, chosen.rows["hash"].isin(hashes))
    keys = [leaks.digests(leaks.split(piece["text"].tolist()), maxlen) for piece in pieces if len(piece)]
    return Seen(frozenset(key for some in keys for key in some), maxlen)
