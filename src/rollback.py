"""Make the former champion the champion again.

mlflow run . -e rollback
python src/rollback.py --model_name imdb-conv1d
"""

from collections.abc import Sequence

from imdb_conv1d.parameters import RollbackParameters
from tracked.console import entry
from tracked.console.lines import say
from tracked.console.parameters import refusal
from tracked.console.signals import Signals


def main(argv: Sequence[str], signals: Signals) -> None:
    """Registry, the move, tracking. What is slow to import comes after the parameters' check."""
    parameters = RollbackParameters.parse(argv)

    from tracked.models import champions
    from tracked.runs import connection, context, run_start

    connection.require_answers()
    run_start.require_own_run("rollback")
    name = parameters.model_name
    with champions.alone(name):
        current, before = champions.standing(name)
        if not before:
            now = f"version {current} is the first" if current else "it has none now"
            allowed = f"a model with a former {champions.CHAMPION}, which this one has not: {now}"
            raise refusal("model_name", name, allowed)
        former = before[-1]
        with context.run("rollback", f"rollback to v{former} {name}", parameters.spelled(), signals) as run:
            say(f"run {run.id} 'rollback to v{former} {name}'")
            place = f", in place of version {current}." if current else "; no version had the alias."
            sentence = f"Rolled back: {name} version {former} is the {champions.CHAMPION} again{place}"
            run.settle()  # a store that takes nothing more is seen before anything moves
            signals.hold_to_the_end()
            champions.roll_back(name, before)
            run.describe(sentence)
            run.tags({"model_name": name, "model_version": former, "champion_version": current or "none"})
            champions.tell(run, name, former, "restored", current, sentence, None)
            if current:
                champions.tell(run, name, current, "withdrawn", former, sentence, None)
    say(sentence)


if __name__ == "__main__":
    entry.run(main)
