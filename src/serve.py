"""Serve a registered model over HTTP, with the limits that it says.

mlflow run . -e serve -P model=models:/imdb-conv1d@champion -P port=5050
python src/serve.py --model models:/imdb-conv1d@candidate --workers 2
python src/serve.py --help
"""

from imdb_conv1d.experiment import EXPERIMENT
from tracked.verbs import command

if __name__ == "__main__":
    command.run(EXPERIMENT, "serve")
