import json
from typing import Any

import pytest
from pydantic import Field

from diabetes import Diabetes
from imdb_conv1d.experiment import EXPERIMENT
from tracked.console import executors
from tracked.console.errors import UserError
from tracked.console.parameters import as_string
from tracked.console.search_parameters import SearchParameters, make_search_parameters, make_trial_parameters
from tracked.console.space import grid_points
from tracked.console.train_parameters import TrainParameters, make_train_parameters
from tracked.experiment import Experiment, Metric

pytestmark = pytest.mark.unit

OWN = ["trials", "workers", "sampler", "space", "prune", "confirm", "keep", "executor", "address", "resume"]
experiments = pytest.mark.parametrize("experiment", [EXPERIMENT, Diabetes()], ids=lambda one: one.name)


def parse(*argv: str, experiment: Experiment = EXPERIMENT) -> SearchParameters:
    return make_search_parameters(experiment).parse(argv)


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "count_cores", lambda: 4)


@experiments
def test_parameters_are_those_of_a_training_and_the_searchs_own(experiment: Experiment) -> None:
    cls, training = make_search_parameters(experiment), make_train_parameters(experiment)
    assert sorted(cls.model_fields) == sorted([*training.model_fields, *OWN])
    assert issubclass(cls, training)
    for name in set(training.model_fields) - {"seed"}:
        found, expected = cls.model_fields[name], training.model_fields[name]
        assert (found.default, found.description) == (expected.default, expected.description), name
    assert cls.model_fields["seed"].description == (
        "Seed of the proposals, and of each trial: seed of the initial weights, the dropout and each epoch's order"
    )
    assert cls().direction == training().direction
    assert make_search_parameters(experiment) is cls


@experiments
def test_experiments_own_space_is_the_default(experiment: Experiment) -> None:
    found = parse(experiment=experiment)
    assert {"learning_rate", "schedule"} < set(found.search_space.names)
    assert parse(f"--space={found.search_space.text}", experiment=experiment).search_space == found.search_space
    assert found.as_strings()["space"] == "auto"


@experiments
def test_every_point_of_the_own_space_is_accepted_by_a_training(experiment: Experiment) -> None:
    command, training = parse(experiment=experiment), make_train_parameters(experiment)
    points = grid_points(command.search_space)[::7]
    assert len(points) > 20
    for values in points:
        given, context = make_trial_parameters(experiment, command, values)
        found = training.model_validate(given, context=context)
        assert {name: getattr(found, name) for name in values} == values


def test_mlflow_runs_defaults_count_as_not_given() -> None:
    fields = make_search_parameters(EXPERIMENT).model_fields
    argv = [f"--{name}={as_string(field.default)}" for name, field in fields.items()]
    assert parse(*argv).as_strings() == parse().as_strings()
    assert parse(*argv, "--dropout=0.2").search_space == parse().search_space


def test_training_given_has_the_given_values_without_the_searchs_own() -> None:
    command = parse(
        "--trials=5", "--workers=2", "--preset=accurate", "--epochs=3", "--seed=4", "--space=dropout=0..0.6"
    )
    assert command.training_given == {"preset": "accurate", "epochs": 3, "seed": 4}


@pytest.mark.parametrize("preset", ["article", "accurate"])
def test_proposed_values_win_over_a_presets_even_if_they_are_defaults(preset: str) -> None:
    space = "network=conv,gated dropout=0.2..0.6/0.2 max_features=5000,20000 learning_rate=0.001..0.01/log"
    command = parse(f"--preset={preset}", "--epochs=2", f"--space={space}")
    training = make_train_parameters(EXPERIMENT)
    plain = training.model_validate({"preset": preset, "epochs": 2}).model_dump()
    for values in grid_points(command.search_space):
        given, context = json.loads(json.dumps(make_trial_parameters(EXPERIMENT, command, values)))
        found = training.model_validate(given, context=context)
        assert found.model_dump() == plain | values
        assert (context is None) == (preset == "article")
        # A resumed trial is made from what is logged of it, and has the same values.
        again = training.model_validate(found.as_logged(), context=found.preset_values or None)
        assert again.model_dump() == found.model_dump()


def test_given_values_win_over_the_presets_in_each_trial() -> None:
    command = parse("--preset=accurate", "--batch_size=16", "--space=dropout=0.2..0.6/0.2")
    given, context = make_trial_parameters(EXPERIMENT, command, {"dropout": 0.2})
    found = make_train_parameters(EXPERIMENT).model_validate(given, context=context)
    assert (found.batch_size, found.dropout, found.network, found.epochs) == (16, 0.2, "gated", 4)


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        ([], "search trials=20 sampler=tpe seed=7"),
        (["--trials=5", "--sampler=random", "--seed=3", "--workers=2", "--prune=median", "--model_name=x"],
         "search trials=5 sampler=random seed=3 prune=median"),
        (["--preset=accurate", "--epochs=3", "--data=/a/b.csv", "--space=dropout=0..0.6 network=conv,gated"],
         "search trials=20 sampler=tpe seed=7 epochs=3 preset=accurate data=b.csv space=dropout,network"),
    ],
)  # fmt: skip
def test_run_name_has_trials_sampler_seed_and_what_is_given(argv: list[str], name: str) -> None:
    assert parse(*argv).run_name == name


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--trials=0", "trials: '0' is not allowed; allowed: a whole number from 1 to 100000"),
        ("--workers=0", "workers: '0' is not allowed; allowed: a whole number from 1 to 1024"),
        ("--workers=5", "workers: '5' is not allowed; allowed: at most 4, the cores of this machine"),
        ("--sampler=cma", "sampler: 'cma' is not allowed; allowed: tpe, random or grid"),
        ("--prune=always", "prune: 'always' is not allowed; allowed: none, median or asha"),
        ("--confirm=21", "confirm: '21' is not allowed; allowed: a whole number from 0 to 20"),
        ("--keep=-1", "keep: '-1' is not allowed; allowed: a whole number from 0 to 1000"),
        ("--executor=dask", "executor: 'dask' is not allowed; allowed: processes or ray"),
        ("--address=ray://a:1", "address: 'ray://a:1' is not allowed; allowed: auto with executor=processes"),
        ("--space=", "space: '' is not allowed; allowed: auto, or items such as"),
        ("--space=droput=0..1", "space: 'droput=0..1' is not allowed; allowed: a search over patience, min_delta"),
        ("--space=trials=1..5", "space: 'trials=1..5' is not allowed; allowed: a search over patience, min_delta"),
        ("--space=dropout=0.3..0.1", "space: 'dropout=0.3..0.1' is not allowed; allowed: a range from a lower number"),
        ("--space=learning_rate=0..0.1", "space: 'learning_rate=0..0.1' is not allowed; allowed: for learning_rate"),
        ("--sampler=grid|--space=dropout=0..0.4/0.1|--trials=6",
         "trials: '6' is not allowed; allowed: at most 5, the points of the grid"),
        ("--sampler=grid|--space=max_features=4..2000000/1",
         "space: 'max_features=4..2000000/1' is not allowed; allowed: at most 100000 points with "
         "sampler=grid, not 1999997"),
        ("--dropout=0.3", "dropout: '0.3' is not allowed; allowed: no value where the space varies dropout"),
        ("--preset=accurate|--dropout=0.6", "dropout: '0.6' is not allowed; allowed: no value where the space varies"),
        ("--space=kernel_size=2..600", "space: 'kernel_size=2..600' is not allowed; allowed: values that a training "
         "accepts; with kernel_size=600, kernel_size: '600' is not allowed; allowed: at most maxlen, which is 400"),
        ("--patience=4|--space=schedule=constant,plateau", "space: 'schedule=constant,plateau' is not allowed; "
         "allowed: values that a training accepts; with schedule=plateau, decay_patience: '5' is not allowed; allowed: "
         "less than patience, which is 4"),
        ("--patience=-1", "patience: '-1' is not allowed; allowed: a whole number from 0 to 2147483647"),
        ("--trails=5", "trails: unknown parameter (given '5'); allowed: "),
    ],
)  # fmt: skip
def test_value_that_is_not_allowed_is_refused_in_one_line(argv: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        parse(*argv.split("|"))
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_grid_takes_as_many_trials_as_it_has_points() -> None:
    assert parse("--sampler=grid", "--space=dropout=0..0.4/0.1", "--trials=5").trials == 5


def test_workers_of_a_cluster_are_not_bound_by_this_machines_cores() -> None:
    assert parse("--executor=ray", "--workers=64", "--address=ray://a:1").workers == 64


def test_refused_combination_is_found_in_a_space_of_many_parameters() -> None:
    """Of 4096 corners 2000 are tried, of which a quarter is refused."""
    names = ["patience", "decay_epochs", "warmup_steps", "batch_size", "embedding_dims", "filters", "hidden_dims",
        "ngrams", "members", "max_features"]  # fmt: skip
    space = " ".join([*(f"{name}=7,8" for name in names), "kernel_size=5,6", "maxlen=5,50"])
    with pytest.raises(UserError, match="kernel_size: '6' is not allowed; allowed: at most maxlen, which is 5"):
        parse(f"--space={space}")


def make_experiment(own_space: str = "", **fields: Any) -> Experiment:
    own = type("Parameters", (TrainParameters,), {
        "__module__": __name__, "__doc__": "Train.", "__annotations__": dict.fromkeys(fields, int), **fields,
    })  # fmt: skip

    class Any_(Experiment):
        name = f"search-{id(own)}"
        Parameters = own
        metrics = (Metric("loss", "min"),)
        space = own_space

    return Any_()


@pytest.mark.parametrize("name", OWN)
def test_experiments_parameter_with_a_name_of_the_searchs_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=rf"^experiment 'search-\d+': {name} is a parameter of a search; rename the "):
        make_search_parameters(make_experiment(**{name: Field(3, description="Own")}))


def test_experiment_without_a_space_needs_a_given_one() -> None:
    experiment = make_experiment(units=Field(8, description="Units"))
    with pytest.raises(
        UserError, match=r"^space: 'auto' is not allowed; allowed: items such as .*; the experiment has"
    ):
        parse(experiment=experiment)
    assert parse("--space=units=1..9", experiment=experiment).search_space.names == ("units",)


def test_experiments_own_space_that_is_not_allowed_names_the_experiment() -> None:
    experiment = make_experiment("unit=1..9", units=Field(8, description="Units"))
    with pytest.raises(
        UserError, match=r"^experiment 'search-\d+': space: 'unit=1..9' is not allowed; .* mean units\?$"
    ):
        make_search_parameters(experiment)
