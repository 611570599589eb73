import pytest

from diabetes import Diabetes
from imdb_conv1d.experiment import EXPERIMENT
from tracked.console.errors import UserError
from tracked.console.find_rate_parameters import make_find_rate_parameters
from tracked.console.rate_parameters import RateParameters
from tracked.console.train_parameters import TrainParameters, make_train_parameters
from tracked.experiment import Experiment, Metric

pytestmark = pytest.mark.unit


def test_parameters_are_the_range_and_those_that_data_and_network_are_made_with() -> None:
    assert list(make_find_rate_parameters(Diabetes()).model_fields) == [
        "lowest_rate", "highest_rate", "steps", "seed", "batch_size", "hidden_units",
    ]  # fmt: skip
    names = set(make_find_rate_parameters(EXPERIMENT).model_fields)
    own = set(make_train_parameters(EXPERIMENT).model_fields) - set(RateParameters.model_fields)
    assert names == (own - {"log_texts"}) | {"lowest_rate", "highest_rate", "steps", "seed"}


def test_training_has_the_given_values_and_a_constant_rate() -> None:
    parameters = make_find_rate_parameters(EXPERIMENT).parse(["--preset=accurate", "--maxlen=20", "--seed=3"])
    training = parameters.training
    assert isinstance(training, EXPERIMENT.Parameters)
    assert (training.learning_rate, training.schedule, training.warmup_steps) == (1e-6, "constant", 0)
    assert (training.network, training.batch_size, training.maxlen, training.seed) == ("gated", 64, 20, 3)
    assert parameters.run_name == "find_rate seed=3 preset=accurate maxlen=20"
    described = parameters.describe_preset()
    assert "batch_size 64" in described
    assert not {"maxlen", "learning_rate", "schedule", "epochs"} & set(described.split())
    assert make_find_rate_parameters(EXPERIMENT).parse([]).describe_preset() == ""


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--lowest_rate=0", "lowest_rate: '0' is not allowed; allowed: a finite number, 1e-30 or more, 1e+30 or less"),
        ("--highest_rate=nan", "highest_rate: 'nan' is not allowed; allowed: a finite number, 1e-30 or more"),
        ("--highest_rate=inf", "highest_rate: 'inf' is not allowed; allowed: a finite number, 1e-30 or more"),
        ("--lowest_rate=-1", "lowest_rate: '-1' is not allowed; allowed: a finite number, 1e-30 or more"),
        ("--lowest_rate=10", "lowest_rate: '10.0' is not allowed; allowed: less than highest_rate, which is 10.0"),
        ("--highest_rate=1e-7", "lowest_rate: '1e-06' is not allowed; allowed: less than highest_rate, which is 1e-07"),
        ("--steps=49", "steps: '49' is not allowed; allowed: a whole number from 50 to 100000"),
        ("--kernel_size=900", "kernel_size: '900' is not allowed; allowed: at most maxlen, which is 400"),
        ("--max_features=3", "max_features: '3' is not allowed; allowed: a whole number from 4"),
        ("--learning_rate=0.1", "learning_rate: unknown parameter (given '0.1'); allowed: lowest_rate, highest_rate"),
        ("--patience=3", "patience: unknown parameter (given '3')"),
    ],
)
def test_value_that_is_not_allowed_is_refused_in_one_line(argument: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        make_find_rate_parameters(EXPERIMENT).parse([argument])
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_experiment_without_a_learning_rate_is_refused() -> None:
    class Plain(Experiment):
        name = "plain"
        Parameters = TrainParameters
        metrics = (Metric("loss", "min"),)

    with pytest.raises(UserError, match="experiment 'plain' has no learning rate to find: its Parameters is not a sub"):
        make_find_rate_parameters(Plain())
