"""Search for better parameters, confirm the winner by new seeds, register one version; or resume a search.

mlflow run . -e search -P trials=20 -P workers=2
python src/search.py --trials 20 --data reviews
python src/search.py --resume latest
"""

from imdb_conv1d.experiment import EXPERIMENT
from tracked.verbs import command

if __name__ == "__main__":
    command.run(EXPERIMENT, "search")
