"""Compare the trainings of an experiment, and test whether their test figures differ.

mlflow run . -e compare
python src/compare.py --runs RUN_ID,RUN_ID
python src/compare.py --help
"""

from imdb_conv1d.experiment import EXPERIMENT
from tracked.verbs import command

if __name__ == "__main__":
    command.run(EXPERIMENT, "compare")
