"""Make a version the champion if its log loss on the same test reviews is shown not worse than the champion's.

mlflow run . -e promote -P model=models:/imdb-conv1d@candidate
python src/promote.py --margin 0.01          # exit status 0: promoted, 3: the champion was kept
python src/promote.py --help
"""

from imdb_conv1d.experiment import EXPERIMENT
from tracked.verbs import command

if __name__ == "__main__":
    command.run(EXPERIMENT, "promote")
