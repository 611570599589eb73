"""List what is in nobody's way, such as snapshots of finished runs and models without a version, and remove it.

mlflow run . -e tidy
python src/tidy.py --yes true --keep 5
python src/tidy.py --help
"""

from imdb_conv1d.experiment import EXPERIMENT
from tracked.verbs import command

if __name__ == "__main__":
    command.run(EXPERIMENT, "tidy")
