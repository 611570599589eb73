"""Tell from recorded trainings what other early-stopping rules would have made of them, without training again.

mlflow run . -e replay -P run=RUN_ID
mlflow run . -e replay -P experiment=NAME
python src/replay.py --help
"""

from collections.abc import Sequence

from imdb_conv1d import console
from imdb_conv1d.config import ReplayParameters
from imdb_conv1d.console import Signals, counted, say
from imdb_conv1d.parameters import refusal


def main(argv: Sequence[str], signals: Signals) -> None:
    """Parameters, histories, the grid of rules, report. What is slow to import comes after the parameters' check."""
    parameters = ReplayParameters.parse(argv)

    from imdb_conv1d import beginnings, histories, report_replay, rules, runs, stores, trainings

    stores.require_answers()
    beginnings.require_own_run("replay")
    several = parameters.run == "all" or (parameters.run == "auto" and parameters.experiment != "auto")
    if parameters.run in ("auto", "all"):
        found = trainings.in_experiment(parameters.experiment, parameters.monitor)
        ended = found.finished
        say(f"experiment {found.experiment.name!r}: {len(ended):,} finished trainings of {len(found.runs):,}")
        chosen = ended if several else ended[:1]
    else:
        found = trainings.named([parameters.run], "run")
        chosen = found.runs
        if parameters.experiment not in ("auto", found.experiment.name):
            raise refusal("experiment", parameters.experiment, f"that of run {parameters.run}: {found.experiment.name}")
        if (how := trainings.stand(chosen[0])) != "finished":
            say(f"run {parameters.run} has not finished ({how}): what it has recorded so far is replayed")

    read = histories.read_all(chosen, parameters.monitor, parameters.mode, say, all_of_them=not several)
    patience, min_delta = histories.grid(read, parameters.patiences, parameters.min_deltas)
    table = rules.replay(read, patience, min_delta)
    experiment_id = found.experiment.experiment_id
    name = f"replay {counted(len(read), 'training')}" if several else f"replay {read[0].run_name or read[0].run_id}"
    with runs.run("replay", name, parameters.spelled(), signals, experiment_id) as run:
        if several:
            data = {one.info.run_id: trainings.data_of(one) for one in chosen}
            unlike = trainings.of_unlike_data([data[history.run_id] for history in read])
            say(report_replay.of_many(run, experiment_id, read, table, parameters.tolerance, unlike))
        else:
            say(report_replay.of_one(run, experiment_id, read[0], table))
        say(f"run {run.id} {name!r} in experiment {found.experiment.name!r}")


if __name__ == "__main__":
    console.run(main)
