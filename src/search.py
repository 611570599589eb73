"""Search for better parameters, trial by trial, each a training of its own, and register the winner; or resume.

mlflow run . -e search -P trials=20 -P epochs=4
python src/search.py --trials 20 --epochs 4 --workers 2
python src/search.py --space "learning_rate=1e-4..1e-2/log dropout=0..0.6" --sampler random
python src/search.py --resume latest
python src/search.py --help
"""

from imdb_conv1d.experiment import EXPERIMENT
from tracked.verbs import command

if __name__ == "__main__":
    command.run(EXPERIMENT, "search")
