"""Evaluate a registered model on unseen reviews, and log scores, figures and every prediction.

mlflow run . -e evaluate
python src/evaluate.py --model models:/imdb-conv1d@candidate
python src/evaluate.py --help
"""

from imdb_conv1d.experiment import EXPERIMENT
from tracked.verbs import command

if __name__ == "__main__":
    command.run(EXPERIMENT, "evaluate")
