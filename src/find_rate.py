"""Suggest a learning rate by a range test: a few hundred steps at growing rates; nothing is registered.

mlflow run . -e find_rate
python src/find_rate.py --data reviews
python src/find_rate.py --help
"""

from imdb_conv1d.experiment import EXPERIMENT
from tracked.verbs import command

if __name__ == "__main__":
    command.run(EXPERIMENT, "find_rate")
