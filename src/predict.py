"""Answer the reviews of a table of any size with a registered model, each exactly once; or resume.

mlflow run . -e predict -P data=reviews.csv -P output=/data/scored
python src/predict.py --model models:/imdb-conv1d@champion --data "reviews/*.csv.gz" --output scored --workers 2
python src/predict.py --help
"""

from imdb_conv1d.experiment import EXPERIMENT
from tracked.verbs import command

if __name__ == "__main__":
    command.run(EXPERIMENT, "predict")
