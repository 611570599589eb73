"""Which trainings of an experiment did not come to their end: whether they live, and how they go on. Closes dead ones.

mlflow run . -e unfinished
python src/unfinished.py
python src/unfinished.py --close dead
"""

from imdb_conv1d.experiment import EXPERIMENT
from tracked.verbs import command

if __name__ == "__main__":
    command.run(EXPERIMENT, "unfinished")
