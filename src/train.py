"""Train with early stopping, log every epoch to MLflow, and register the best checkpoint; or resume a training.

mlflow run . -P patience=30
python src/train.py --patience 3
python src/train.py --resume latest
python src/train.py --help
"""

from imdb_conv1d.experiment import EXPERIMENT
from tracked.verbs import command

if __name__ == "__main__":
    command.run(EXPERIMENT, "train")
