"""Which trainings of an experiment did not come to their end: whether they live, and how they go on. Closes dead ones.

mlflow run . -e unfinished
python src/unfinished.py
python src/unfinished.py --close dead
"""

from collections.abc import Sequence

from imdb_conv1d import console
from imdb_conv1d.config import UnfinishedParameters
from imdb_conv1d.console import Signals, say


def main(argv: Sequence[str], signals: Signals) -> None:
    """List, and close what is asked for. No run is made; the one that ``mlflow run`` makes is named for what it is."""
    parameters = UnfinishedParameters.parse(argv)

    from imdb_conv1d import closing, stands, stores, trainings

    stores.require_answers()
    closing.name_own_run()
    experiment = trainings.experiment(parameters.experiment)
    found = stands.unfinished(experiment.experiment_id)
    chosen = closing.chosen(found, parameters.close)
    say(closing.table(found) if found else f"no training in the experiment {experiment.name} is unfinished")
    with signals.held():
        for stand in chosen:
            say(closing.close(stand))
    signals.check()


if __name__ == "__main__":
    console.run(main)
