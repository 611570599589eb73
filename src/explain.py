"""Explain predictions: which windows of words made them, of a text or of an evaluation's mistakes.

mlflow run . -e explain
python src/explain.py --text "A warm and funny film."
python src/explain.py --help
"""

from imdb_conv1d.experiment import EXPERIMENT
from tracked.verbs import command

if __name__ == "__main__":
    command.run(EXPERIMENT, "explain")
