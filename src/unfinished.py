"""Which trainings of an experiment did not come to their end: whether they live, and how they go on. Closes dead ones.

mlflow run . -e unfinished
python src/unfinished.py
python src/unfinished.py --close dead
"""

from collections.abc import Sequence

from imdb_conv1d.parameters import UnfinishedParameters
from tracked.console import entry
from tracked.console.lines import say
from tracked.console.signals import Signals


def main(argv: Sequence[str], signals: Signals) -> None:
    """List, and close what is asked for. No run is made; the one that ``mlflow run`` makes is named for what it is."""
    parameters = UnfinishedParameters.parse(argv)

    from tracked.resume import close, training_status
    from tracked.runs import connection, queries

    connection.require_answers()
    close.name_own_run()
    experiment = queries.experiment(parameters.experiment)
    found = training_status.unfinished(experiment.experiment_id)
    chosen = close.chosen(found, parameters.close)
    say(close.table(found) if found else f"no training in the experiment {experiment.name} is unfinished")
    with signals.held():
        for stand in chosen:
            say(close.close(stand))
    signals.check()


if __name__ == "__main__":
    entry.run(main)
