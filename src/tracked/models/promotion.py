"""A promotion: both versions' predictions of the same rows, the gate, the move, and what is said of it where."""

import hashlib
import time
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from tracked.analysis import noninferiority
from tracked.console.errors import RunFailed
from tracked.console.lines import format_count, say
from tracked.console.signals import Signals
from tracked.console.verb_parameters import PromoteParameters
from tracked.experiment import Experiment
from tracked.models import champions, evaluation
from tracked.models.contest import Contest, find_evaluation
from tracked.runs import evaluations, schema
from tracked.runs.queries import MlflowRun
from tracked.runs.registry import StoredModel
from tracked.runs.writer import Run


@dataclass(frozen=True)
class Verdict:
    """What came out, in one sentence, and the gate's decision where there was one.

    Overtaken means that nothing is moved, since another version has become the champion meanwhile.
    """

    outcome: Literal["promoted", "kept", "unchanged", "overtaken"]
    sentence: str
    decision: noninferiority.Decision | None = None


def decide(owner: Experiment, run: Run, found: Contest, parameters: PromoteParameters, signals: Signals) -> Verdict:
    """Let the gate decide, move the alias, and queue the figures."""
    version, champion, decision = found.version, found.champion, None
    if found.holder == version.version:
        return Verdict("unchanged", f"Unchanged: {version.title} is the {schema.CHAMPION} already.")
    sentence = f"{version.title} is the first {schema.CHAMPION}"
    if found.again:
        sentence = f"{version.title} is the {schema.CHAMPION} again; no version had the alias"
    if champion:
        decision, why = _judged(owner, run, found, champion, parameters, signals)
        promoted = decision is not None and decision.promoted
        verb = "replaces" if promoted else "does not replace"
        former = f"version {champion.version}" + ("" if found.holder else ", the last one that still exists,")
        sentence = f"{version.title} {verb} {former} as {schema.CHAMPION}: {why}"
        if not promoted:
            none = f"; no version has the alias until one is promoted, or a rollback gives it to {champion.version}"
            return Verdict("kept", f"Kept: {sentence}{'' if found.holder else none}.", decision)
    run.flush()  # what decided is stored before anything moves
    signals.hold_until_exit()
    moved = champions.promote(version.name, version.version, found.holder)
    return Verdict("promoted", f"Promoted: {sentence}.", decision) if moved else Verdict("overtaken", "")


def _judged(
    owner: Experiment, run: Run, found: Contest, champion: StoredModel, parameters: PromoteParameters, signals: Signals
) -> tuple[noninferiority.Decision | None, str]:
    """The gate's decision and why it is so; None if the rows cannot tell how good the version is.

    It is made on the rows that neither model has seen in its training, each once.
    """
    recorded = [_evaluated(owner, found, stored, parameters, signals) for stored in (found.version, champion)]
    ids = [one.info.run_id for one in recorded]
    run.set_tags(dict(zip((schema.EVALUATION_RUN_ID, schema.CHAMPION_EVALUATION_RUN_ID), ids, strict=True)))
    first, second = (evaluations.read_predictions(owner, one, run.folder) for one in recorded)
    terms = owner.terms
    if not evaluations.have_same_rows(first, second):
        raise RunFailed(f"the evaluations {' and '.join(ids)} are not of the same {owner.terms.rows}")
    if first["seen"].isna().any():
        return (
            None,
            f"whether it was trained on some of these {terms.rows} is not known, so they cannot tell how good it is",
        )
    neither = evaluations.find_unseen(first, second)
    fresh, others = first[neither], second[neither]
    left_out = ""
    if len(fresh) < len(first):
        left_out = (
            f"; left out are {len(first) - len(fresh):,} {terms.rows} that a training has seen, "
            f"{first['seen'].sum():,} the version's and {second['seen'].sum():,} the {schema.CHAMPION}'s"
        )
    if fresh.empty:
        return None, f"no {terms.row} is left that neither has seen in its training{left_out}"
    try:
        decision = noninferiority.decide(
            fresh["loss"], others["loss"], parameters.margin, parameters.confidence, terms.max_loss, fresh["key"]
        )
    except ValueError as error:
        raise RunFailed(f"the evaluations {' and '.join(ids)} cannot be compared: {error}") from None
    sentence = f"{decision.describe(terms)}{left_out}"
    if not decision.enough:
        return None, sentence
    uses = _decided_before(owner, run, found, fresh) + 1
    figures = {
        schema.fill(schema.DIFFERENCE, owner): decision.difference,
        schema.fill(schema.UPPER, owner): decision.upper,
        schema.fill(schema.TEST_ROWS, owner): float(decision.rows),
        schema.fill(schema.DECISIONS, owner): float(uses),
    }
    run.log_metrics(figures, round(time.time() * 1000), step=0)
    unknown = ""
    if second["seen"].isna().any():
        unknown = f"; whether the {schema.CHAMPION} was trained on some of them is not known"
    used = f"; these {terms.rows} have decided {format_count(uses, 'promotion')} so far"
    return decision, f"{sentence}{unknown}{_of_unlike_data(found.version, champion, terms.rows)}{used}"


def _decided_before(owner: Experiment, run: Run, found: Contest, rows: pd.DataFrame) -> int:
    """How many other promotions the same rows have decided, whichever file or test part they came in."""
    digest = hashlib.sha256("\n".join(sorted(set(rows["key"]))).encode()).hexdigest()
    run.set_tags({schema.ROWS_DIGEST: found.rows_digest, schema.DECIDING_DIGEST: digest})
    # Earlier versions of this project have noted the file's rows alone.
    same = (f"tags.{schema.ROWS_DIGEST} = '{found.rows_digest}'", f"tags.{schema.DECIDING_DIGEST} = '{digest}'")
    decided = {
        one.info.run_id
        for by in same
        for one in evaluations.search_verb(owner, "promote", by, f"tags.{schema.DECISION} != ''")
    }
    return len(decided - {run.id})


def _of_unlike_data(version: StoredModel, champion: StoredModel, rows: str) -> str:
    if "" in (version.data_digest, champion.data_digest):
        return "; whether both were trained on the same data is not known"
    if version.data_digest == champion.data_digest:
        return ""
    digests = f"digest {version.data_digest[:12]}, the {schema.CHAMPION} on {champion.data_digest[:12]}"
    return f"; they were trained on different data (the version on {digests}), whose {rows} need not be alike"


def _evaluated(
    owner: Experiment, found: Contest, stored: StoredModel, parameters: PromoteParameters, signals: Signals
) -> MlflowRun:
    """A version's newest evaluation on the rows; it is made if there is none."""
    there = find_evaluation(owner, stored, found.rows_digest)
    if there is None and found.subject and found.models:
        say(f"evaluating {stored.title}")
        model = found.models[stored.version]
        subject = found.subject.for_another(model.metadata)
        told = {"model": stored.uri, "data": "auto" if subject.own_test_part else subject.part.source}
        told |= {name: value for name, value in parameters.as_strings().items() if name == owner.inputs_switch}
        evaluation.evaluate(owner, stored, model, subject, told, signals)
        there = find_evaluation(owner, stored, found.rows_digest)
    if there is None:
        raise RunFailed(f"the evaluation of {stored.title} on these {owner.terms.rows} is gone")
    return there


def log_outcome(owner: Experiment, run: Run, found: Contest, verdict: Verdict) -> None:
    """Queue the outcome at the run and at both versions."""
    version, champion, name = found.version.version, found.champion, found.version.name
    run.set_tags({schema.DECISION: verdict.outcome, schema.MODEL_NAME: name, schema.MODEL_VERSION: version})
    run.set_description(verdict.sentence)
    if verdict.outcome == "unchanged":
        return
    against, promoted = champion.version if champion else "", verdict.outcome == "promoted"
    run.set_tags({schema.CHAMPION_VERSION: against or "none"})
    said = verdict.sentence, verdict.decision
    champions.log_outcome(owner, run, name, version, "promoted" if promoted else "refused", against, *said)
    if champion:
        champions.log_outcome(
            owner, run, name, champion.version, "replaced" if promoted else "defended", version, *said
        )
