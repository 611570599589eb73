"""List unfinished trainings with their status and the command that resumes them; close dead ones.

mlflow run . -e unfinished
python src/unfinished.py
python src/unfinished.py --close dead
"""

from imdb_conv1d.experiment import EXPERIMENT
from tracked.verbs import command

if __name__ == "__main__":
    command.run(EXPERIMENT, "unfinished")
