"""Restore the former champion.

mlflow run . -e rollback
python src/rollback.py --model_name imdb-conv1d
"""

from imdb_conv1d.experiment import EXPERIMENT
from tracked.verbs import command

if __name__ == "__main__":
    command.run(EXPERIMENT, "rollback")
