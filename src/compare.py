"""Put the trainings of an experiment side by side, and tell whether their test figures really differ.

mlflow run . -e compare
python src/compare.py --runs RUN_ID,RUN_ID
python src/compare.py --help
"""

from imdb_conv1d.experiment import EXPERIMENT
from tracked.verbs import command

if __name__ == "__main__":
    command.run(EXPERIMENT, "compare")
