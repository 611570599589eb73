"""Decide a promotion by the gate on both versions' predictions of the same rows, move the alias, log the outcome."""

import hashlib
import time
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from tracked.analysis import noninferiority
from tracked.console.errors import RunFailed
from tracked.console.lines import format_count, say
from tracked.console.signals import Signals
from tracked.console.verb_parameters import PromoteParameters, make_verb_parameters
from tracked.experiment import Experiment
from tracked.models import champions, evaluation
from tracked.models.contest import Contest, find_evaluation
from tracked.runs import evaluations, schema
from tracked.runs.queries import MlflowRun
from tracked.runs.registry import StoredModel
from tracked.runs.writer import Run


@dataclass(frozen=True)
class Verdict:
    """The outcome of a promotion, a sentence that describes it, and the gate's decision if it made one.

    ``overtaken``: the alias was not moved, since another version became the champion in the meantime.
    """

    outcome: Literal["promoted", "kept", "unchanged", "overtaken"]
    sentence: str
    decision: noninferiority.Decision | None = None


def decide(owner: Experiment, run: Run, contest: Contest, parameters: PromoteParameters, signals: Signals) -> Verdict:
    """Let the gate decide, log its metrics, and move the alias if it promotes.

    The alias moves only after everything queued for the run is stored.

    Raises:
        RunFailed: if the evaluations cannot be read or compared, or MLflow keeps failing.
    """
    version, champion, decision = contest.version, contest.champion, None
    if contest.current == version.version:
        return Verdict("unchanged", f"Unchanged: {version.title} is the {schema.CHAMPION} already.")
    sentence = f"{version.title} is the first {schema.CHAMPION}"
    if contest.again:
        sentence = f"{version.title} is the {schema.CHAMPION} again; no version had the alias"
    if champion:
        decision, reason = _apply_gate(owner, run, contest, champion, parameters, signals)
        promoted = decision is not None and decision.promoted
        verb = "replaces" if promoted else "does not replace"
        former = f"version {champion.version}" + ("" if contest.current else ", the last one that still exists,")
        sentence = f"{version.title} {verb} {former} as {schema.CHAMPION}: {reason}"
        if not promoted:
            unset = f"; no version has the alias until a promotion, or a rollback to version {champion.version}"
            return Verdict("kept", f"Kept: {sentence}{'' if contest.current else unset}.", decision)
    run.flush()  # the evidence is stored before the alias moves
    signals.hold_until_exit()
    moved = champions.promote(version.name, version.version, contest.current)
    return Verdict("promoted", f"Promoted: {sentence}.", decision) if moved else Verdict("overtaken", "")


def _apply_gate(
    owner: Experiment,
    run: Run,
    contest: Contest,
    champion: StoredModel,
    parameters: PromoteParameters,
    signals: Signals,
) -> tuple[noninferiority.Decision | None, str]:
    """Return the gate's decision and its reason; no decision (None) if the rows cannot tell how good the version is.

    The gate decides on the rows that neither model has seen in its training, each distinct row once.
    """
    evaluated = [_find_or_evaluate(owner, contest, one, parameters, signals) for one in (contest.version, champion)]
    ids = [evaluation_run.info.run_id for evaluation_run in evaluated]
    run.set_tags(dict(zip((schema.EVALUATION_RUN_ID, schema.CHAMPION_EVALUATION_RUN_ID), ids, strict=True)))
    first, second = (evaluations.read_predictions(owner, one, run.folder) for one in evaluated)
    terms = owner.terms
    if not evaluations.have_same_rows(first, second):
        raise RunFailed(
            f"the evaluations {' and '.join(ids)} do not have the same {terms.rows}; delete both runs and promote again"
        )
    if first["seen"].isna().any():
        return (
            None,
            f"whether it was trained on some of these {terms.rows} is not known, so they cannot tell how good it is",
        )
    unseen = evaluations.find_unseen(first, second)
    own, others = first[unseen], second[unseen]
    left_out = ""
    if len(own) < len(first):
        left_out = (
            f"; {len(first) - len(own):,} {terms.rows} that a training has seen are left out "
            f"({first['seen'].sum():,} seen by the version, {second['seen'].sum():,} by the {schema.CHAMPION})"
        )
    if own.empty:
        return None, f"no {terms.row} is left that neither has seen in its training{left_out}"
    try:
        decision = noninferiority.decide(
            own["loss"], others["loss"], parameters.margin, parameters.confidence, terms.max_loss, own["key"]
        )
    except ValueError as error:
        raise RunFailed(f"the evaluations {' and '.join(ids)} cannot be compared: {error}") from None
    sentence = f"{decision.describe(terms)}{left_out}"
    if not decision.enough:
        return None, sentence
    uses = _count_earlier_decisions(owner, run, contest, own) + 1
    metrics = {
        schema.fill(schema.DIFFERENCE, owner): decision.difference,
        schema.fill(schema.UPPER, owner): decision.upper,
        schema.fill(schema.TEST_ROWS, owner): float(decision.rows),
        schema.fill(schema.DECISIONS, owner): float(uses),
    }
    run.log_metrics(metrics, round(time.time() * 1000), step=0)
    unknown = ""
    if second["seen"].isna().any():
        unknown = f"; whether the {schema.CHAMPION} was trained on some of them is not known"
    used = f"; these {terms.rows} have decided {format_count(uses, 'promotion')} so far"
    return decision, f"{sentence}{unknown}{_describe_other_data(contest.version, champion, terms.rows)}{used}"


def _count_earlier_decisions(owner: Experiment, run: Run, contest: Contest, rows: pd.DataFrame) -> int:
    """Count the earlier promotions that the same rows decided, in whichever file or test part."""
    digest = hashlib.sha256("\n".join(sorted(set(rows["key"]))).encode()).hexdigest()
    run.set_tags({schema.ROWS_DIGEST: contest.rows_digest, schema.DECIDING_DIGEST: digest})
    # Earlier versions of this project logged the digest of the file's rows only.
    conditions = (
        f"tags.{schema.ROWS_DIGEST} = '{contest.rows_digest}'", f"tags.{schema.DECIDING_DIGEST} = '{digest}'",
    )  # fmt: skip
    decided = {
        promotion.info.run_id
        for condition in conditions
        for promotion in evaluations.search_verb(owner, "promote", condition, f"tags.{schema.DECISION} != ''")
    }
    return len(decided - {run.id})


def _describe_other_data(version: StoredModel, champion: StoredModel, rows: str) -> str:
    """Say in a clause that the models were not trained on the same data, or may not have been; else empty."""
    if "" in (version.data_digest, champion.data_digest):
        return "; whether both were trained on the same data is not known"
    if version.data_digest == champion.data_digest:
        return ""
    digests = f"digest {version.data_digest[:12]}, the {schema.CHAMPION} on {champion.data_digest[:12]}"
    return f"; they were trained on different data (the version on {digests}), whose {rows} need not be alike"


def _find_or_evaluate(
    owner: Experiment, contest: Contest, stored: StoredModel, parameters: PromoteParameters, signals: Signals
) -> MlflowRun:
    """Find the newest evaluation of a version on the rows; evaluate the version if there is none."""
    evaluation_run = find_evaluation(owner, stored, contest.rows_digest)
    if evaluation_run is None and contest.subject and contest.models:
        say(f"evaluating {stored.title}")
        model = contest.models[stored.version]
        subject = contest.subject.for_another(model.metadata)
        strings = {"model": stored.uri, "data": "auto" if subject.own_test_part else subject.part.source}
        shared = set(make_verb_parameters("evaluate", owner).model_fields) - set(strings)
        strings |= {name: value for name, value in parameters.as_strings().items() if name in shared}
        evaluation.evaluate(owner, stored, model, subject, strings, signals)
        evaluation_run = find_evaluation(owner, stored, contest.rows_digest)
    if evaluation_run is None:
        raise RunFailed(f"the evaluation of {stored.title} on these {owner.terms.rows} was deleted; promote again")
    return evaluation_run


def log_outcome(owner: Experiment, run: Run, contest: Contest, verdict: Verdict) -> None:
    """Queue the outcome for the run and for both versions."""
    version, champion, name = contest.version.version, contest.champion, contest.version.name
    run.set_tags({schema.DECISION: verdict.outcome, schema.MODEL_NAME: name, schema.MODEL_VERSION: version})
    run.set_description(verdict.sentence)
    if verdict.outcome == "unchanged":
        return
    against, promoted = champion.version if champion else "", verdict.outcome == "promoted"
    run.set_tags({schema.CHAMPION_VERSION: against or "none"})
    result = verdict.sentence, verdict.decision
    champions.log_outcome(owner, run, name, version, "promoted" if promoted else "refused", against, *result)
    if champion:
        champions.log_outcome(
            owner, run, name, champion.version, "replaced" if promoted else "defended", version, *result
        )
