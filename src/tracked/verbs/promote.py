"""Make a version the champion if its loss is shown not worse than the present champion's on the same test rows."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tracked.console import verb_parameters
from tracked.console.lines import say
from tracked.console.signals import Signals
from tracked.experiment import EVALUATE_METHODS, Experiment, require


def main(experiment: Experiment, argv: Sequence[str], signals: Signals) -> int:
    """Registry, the contest, the gate, the move. What is slow to import comes after the parameters' check."""
    require(experiment, EVALUATE_METHODS)
    parameters = verb_parameters.make_verb_parameters("promote", experiment).parse(argv)

    from tracked.models import champions, contest, promotion
    from tracked.runs import connection, context, registry, run_start

    connection.require_answers()
    run_start.require_own_run(experiment, "promote")
    kept = 0 if "MLFLOW_RUN_ID" in os.environ else 3  # mlflow run would call a run with that status FAILED
    version = registry.find(parameters.model)
    registry.require_own(experiment, version)
    with (
        tempfile.TemporaryDirectory(prefix=f"{experiment.name}-") as folder,
        champions.promotion_lock(experiment, version.name),
    ):
        champions.require_not_withdrawn(version, parameters.model)
        found = contest.set_up_contest(experiment, version, parameters.data, Path(folder))
        with context.run(experiment, "promote", f"promote {version.short}", parameters.as_strings(), signals) as run:
            say(f"run {run.id} 'promote {version.short}'")
            verdict = promotion.decide(experiment, run, found, parameters, signals)
            while verdict.outcome == "overtaken":  # from another host: compare with the champion that there is now
                found = contest.set_up_contest(experiment, version, parameters.data, Path(folder))
                verdict = promotion.decide(experiment, run, found, parameters, signals)
            promotion.log_outcome(experiment, run, found, verdict)
    say(verdict.sentence)
    return kept if verdict.outcome == "kept" else 0
