"""Make a version the champion if its loss on the same test rows is shown not worse than the champion's."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tracked.console import verb_parameters
from tracked.console.lines import say
from tracked.console.signals import Signals
from tracked.experiment import EVALUATE_METHODS, Experiment, require


def main(experiment: Experiment, argv: Sequence[str], signals: Signals) -> int:
    """Check the parameters; only then import what is slow: find the version, decide, move the alias.

    Returns:
        the exit status: 0 promoted (or kept, under ``mlflow run``), 3 kept.
    """
    require(experiment, EVALUATE_METHODS)
    parameters = verb_parameters.make_verb_parameters("promote", experiment).parse(argv)

    from tracked.models import champions, contest, promotion
    from tracked.runs import connection, context, registry, rights, run_start
    from tracked.runs.schema import CHAMPION

    connection.require_answers()
    rights.require_run(run_start.require_own_run(experiment, "promote"))
    kept = 0 if connection.mlflow_run_id() else 3  # mlflow run would mark the run FAILED
    version = registry.find(parameters.model)
    registry.require_own(experiment, version)
    rights.require_alias(version.name, CHAMPION, "model")
    with (
        tempfile.TemporaryDirectory(prefix=f"{experiment.name}-") as folder,
        champions.promotion_lock(experiment, version.name),
    ):
        champions.require_not_withdrawn(version, parameters.model)
        pair = contest.set_up_contest(experiment, version, parameters, Path(folder))
        with context.run(experiment, "promote", f"promote {version.short}", parameters.as_strings(), signals) as run:
            say(f"run {run.id} 'promote {version.short}'")
            verdict = promotion.decide(experiment, run, pair, parameters, signals)
            while verdict.outcome == "overtaken":  # by another host's promotion: compare with the new champion
                pair = contest.set_up_contest(experiment, version, parameters, Path(folder))
                verdict = promotion.decide(experiment, run, pair, parameters, signals)
            promotion.log_outcome(experiment, run, pair, verdict)
    say(verdict.sentence)
    return kept if verdict.outcome == "kept" else 0
