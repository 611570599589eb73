"""Replay other early-stopping rules on recorded trainings, without training again.

mlflow run . -e replay -P run=RUN_ID
mlflow run . -e replay -P experiment=NAME
python src/replay.py --help
"""

from imdb_conv1d.experiment import EXPERIMENT
from tracked.verbs import command

if __name__ == "__main__":
    command.run(EXPERIMENT, "replay")
