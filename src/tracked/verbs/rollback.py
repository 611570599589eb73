"""Restore the former champion."""

from collections.abc import Sequence

from tracked.console import verb_parameters
from tracked.console.errors import UserError
from tracked.console.lines import say
from tracked.console.signals import Signals
from tracked.experiment import Experiment, require


def main(experiment: Experiment, argv: Sequence[str], signals: Signals) -> None:
    """Check the parameters; only then import what is slow: find the former champion, move the alias, log."""
    require(experiment)
    parameters = verb_parameters.make_verb_parameters("rollback", experiment).parse(argv)

    from tracked.models import champions
    from tracked.runs import connection, context, registry, rights, run_start
    from tracked.runs.schema import CHAMPION, CHAMPION_VERSION, MODEL_NAME, MODEL_VERSION

    connection.require_answers()
    rights.require_run(run_start.require_own_run(experiment, "rollback"))
    name = parameters.model_name
    rights.require_alias(name, CHAMPION)
    with champions.promotion_lock(experiment, name):
        current, history = champions.find_champions(name)
        if not history:
            reason = f"version {current} is its first" if current else "it has no champion"
            raise UserError(f"model_name: {name} has no former {CHAMPION}: {reason}; promote a version first")
        former = history[-1]
        for version in filter(None, (former, current)):
            registry.require_own_version(experiment, name, version)
        with context.run(
            experiment, "rollback", f"rollback to v{former} {name}", parameters.as_strings(), signals
        ) as run:
            say(f"run {run.id} 'rollback to v{former} {name}'")
            replaced = f", in place of version {current}." if current else "; no version had the alias."
            sentence = f"Rolled back: {name} version {former} is the {CHAMPION} again{replaced}"
            run.flush()  # fail before the alias moves if the store accepts nothing
            signals.hold_until_exit()
            champions.roll_back(name, current, history)
            run.set_description(sentence)
            run.set_tags({MODEL_NAME: name, MODEL_VERSION: former, CHAMPION_VERSION: current or "none"})
            champions.log_outcome(experiment, run, name, former, "restored", current, sentence, None)
            if current:
                champions.log_outcome(experiment, run, name, current, "withdrawn", former, sentence, None)
    say(sentence)
