"""Search with Optuna and MLflow's storage for it: a peer of ``bench/search_kills.py``.

python bench/optuna_peer.py trials JOURNAL TRIALS    run trials until so many have ended, as a loop resumes a study
python bench/optuna_peer.py share TRIALS             print the ms of a trial's share once so many are known

MLFLOW_TRACKING_URI names the store. The objective is that of ``bench/searches.py``: a made-up learning curve.
"""

import json
import os
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import mlflow
import optuna
from mlflow.optuna.storage import MlflowStorage
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

import searches

DISTRIBUTIONS = {
    "learning_rate": FloatDistribution(0.001, 0.1, log=True),
    "schedule": CategoricalDistribution(["constant", "cosine"]),
    "batch_size": CategoricalDistribution([16, 32, 64]),
    "hidden_units": IntDistribution(16, 256, step=16),
}
SECONDS = 0.1  # of an epoch


def open_study() -> optuna.Study:
    """Open the study, or make it."""
    experiment_id = mlflow.set_experiment("peer").experiment_id
    sampler = optuna.samplers.TPESampler(seed=7)
    return optuna.create_study(
        storage=MlflowStorage(experiment_id), study_name="peer", sampler=sampler, load_if_exists=True
    )


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Suggest a point of the same space as the second experiment's."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.001, 0.1, log=True),
        "schedule": trial.suggest_categorical("schedule", ["constant", "cosine"]),
        "batch_size": trial.suggest_categorical("batch_size", [16, 32, 64]),
        "hidden_units": trial.suggest_int("hidden_units", 16, 256, step=16),
    }


def run_trials(journal: Path, trials: int) -> None:
    """Run trials until so many have ended; the journal tells of the beginning and the end of each."""

    def note(what: str, values: dict[str, Any]) -> None:
        with journal.open("a") as file:
            file.write(json.dumps([what, os.getpid(), values]) + "\n")

    def train(trial: optuna.Trial) -> float:
        values = suggest(trial)
        note("begin", values)
        losses = searches.draw_curve(values, 0)
        for epoch, loss in enumerate(losses, 1):
            time.sleep(SECONDS)
            trial.report(loss, epoch)
        note("end", values)
        return min(losses)

    study = open_study()
    while sum(trial.state == optuna.trial.TrialState.COMPLETE for trial in study.trials) < trials:
        study.optimize(train, n_trials=1)


def take_share(trials: int) -> list[float]:
    """Give the study so many trials, and take the milliseconds of four more whose training takes no time."""
    study = open_study()
    for number in range(trials):
        asked = optuna.create_study(sampler=optuna.samplers.RandomSampler(number)).ask(DISTRIBUTIONS).params
        curve = searches.draw_curve(asked, number)
        steps = dict(enumerate(curve, 1))
        study.add_trial(
            optuna.trial.create_trial(
                params=asked, distributions=DISTRIBUTIONS, value=min(curve), intermediate_values=steps
            )
        )
    marks = [time.perf_counter()]
    for _ in range(4):
        study.optimize(lambda trial: suggest(trial)["learning_rate"], n_trials=1)
        marks.append(time.perf_counter())
    return [1000 * (end - begin) for begin, end in pairwise(marks)]


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if sys.argv[1] == "trials":
        run_trials(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        print(json.dumps(take_share(int(sys.argv[2]))))
