"""Presets: which value a training uses, what is logged of it, and what is said about it."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from helpers.projects import IMDB
from tracked.console.errors import UserError
from tracked.console.parameters import Switch, as_string
from tracked.console.rate_parameters import RateParameters
from tracked.console.train_parameters import (
    TrainParameters,
    extract_training,
    make_train_command,
    make_train_parameters,
)
from tracked.experiment import Experiment, Metric

WIDE = {"units": 64, "patience": 4, "epochs": 9, "share": 0.25, "sparse": True}


class Parameters(RateParameters):
    """Train a network."""

    preset: Literal["plain", "wide"] = Field("plain", description="Values of other parameters")
    units: int = Field(8, ge=1, le=100, description="Units of the hidden layer")
    share: float = Field(0.5, ge=0, le=1, description="Share of the units that are dropped")
    sparse: Switch = Field(False, description="Whether the network is sparse")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"plain": {}, "wide": WIDE}


def experiment(own: type[TrainParameters] = Parameters) -> Experiment:
    class Any_(Experiment):
        name = f"presets {id(own)}"
        Parameters = own
        metrics = (Metric("loss", "min"),)

    return Any_()


@pytest.mark.parametrize("entry", [lambda **values: Parameters(**values), Parameters.model_validate])
def test_preset_sets_what_is_not_given(entry: Any) -> None:
    plain = Parameters()
    wide = Parameters(preset="wide")
    assert {name: getattr(wide, name) for name in WIDE} == WIDE
    assert wide.preset_values == WIDE
    assert wide.given == {"preset": "wide"}
    assert wide.as_logged() == plain.as_strings() | {"preset": "wide"}
    assert wide.as_strings() == plain.as_strings() | {"preset": "wide"} | {n: as_string(v) for n, v in WIDE.items()}
    assert plain.preset_values == {}
    assert plain.as_logged() == plain.as_strings()


@given(
    st.fixed_dictionaries({}, optional={
        "units": st.integers(1, 100), "patience": st.integers(0, 10**9), "epochs": st.integers(1, 10**9),
        "share": st.floats(0, 1), "sparse": st.booleans(), "seed": st.integers(0, 9),
    }),
    st.sampled_from(["plain", "wide"]),
    st.booleans(),
)  # fmt: skip
def test_value_is_the_given_one_else_the_presets_else_the_default(
    values: dict[str, Any], preset: str, with_defaults: bool
) -> None:
    defaults = {name: field.default for name, field in Parameters.model_fields.items()}
    argv = [f"--{name}={as_string(value)}" for name, value in ((defaults if with_defaults else {}) | values).items()]
    argv = [word for word in argv if not word.startswith("--preset")]
    found = Parameters.parse([*argv, f"--preset={preset}"])
    counted = {name: value for name, value in values.items() if value != defaults[name]}
    assert found.model_dump() == defaults | {"preset": preset} | Parameters.presets[preset] | counted
    assert found.as_logged() == {n: as_string(v) for n, v in (defaults | counted | {"preset": preset}).items()}
    again = Parameters.model_validate(found.as_logged(), context=found.preset_values)
    assert (again.as_strings(), again.as_logged()) == (found.as_strings(), found.as_logged())


@pytest.mark.parametrize("spelling", ["8", "8.0", 8, " 8"])
def test_default_in_any_spelling_counts_as_not_given(spelling: object) -> None:
    assert Parameters.model_validate({"preset": "wide", "units": spelling}).units == 64


def test_context_of_a_validation_is_taken_in_place_of_the_presets_values() -> None:
    stored = {"units": 32, "share": 0.75}
    found = Parameters.model_validate({"preset": "wide", "share": "0.1"}, context=stored)
    assert (found.units, found.share, found.patience) == (32, 0.1, 30)
    assert found.preset_values == {"units": 32, "share": 0.1}
    extended = found.extend({"patience": 50, "units": 33})
    assert (extended.units, extended.share, extended.patience) == (33, 0.1, 50)
    assert Parameters.model_validate({"preset": "wide"}, context={}).units == 8


def test_command_passes_on_what_was_given() -> None:
    of = experiment()
    command = make_train_command(of).parse(["--preset=wide", "--units=8", "--share=0.3"])
    found = extract_training(command, of)
    assert found.given == command.given == {"preset": "wide", "units": 8, "share": 0.3}
    assert (found.units, found.share, found.epochs) == (64, 0.3, 9)
    assert found.list_uncounted() == ["units: the default, 8, counts as not given; preset wide sets 64"]
    assert found.describe_preset() == "preset wide: units 64, patience 4, epochs 9, sparse true"
    assert (make_train_parameters(of)().list_uncounted(), make_train_parameters(of)().describe_preset()) == ([], "")


def test_run_name_has_the_preset_and_what_is_given_against_it() -> None:
    assert Parameters(preset="wide", units=5, seed=8).run_name == "patience=4 seed=8 preset=wide units=5"
    assert Parameters(preset="wide", units=64, share=0.5).run_name == "patience=4 seed=7 preset=wide units=64"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--schedule=plateau"], "decay_patience: '5' is not allowed; allowed: less than patience, which is 4, with "
         "schedule=plateau; preset wide sets patience 4"),
        (["--schedule=plateau", "--decay_patience=7", "--patience=6"], "decay_patience: '7' is not allowed; allowed: "
         "less than patience, which is 6, with schedule=plateau"),
        (["--units=101"], "units: '101' is not allowed; allowed: a whole number from 1 to 100"),
        (["--units=many"], "units: 'many' is not allowed; allowed: a whole number from 1 to 100"),
    ],
)  # fmt: skip
def test_checks_hold_for_the_values_that_are_used(argv: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        Parameters.parse(["--preset=wide", *argv])
    assert str(error.value) == message


def test_values_that_only_the_preset_allows_are_accepted() -> None:
    cls = IMDB.parameters("main")
    found = cls.parse(["--preset=accurate", "--kernel_size=500"])
    assert found.kernel_size == 500
    with pytest.raises(UserError, match=r"^kernel_size: '500' is not allowed; allowed: at most maxlen, which is 400$"):
        cls.parse(["--kernel_size=500"])


def test_help_has_the_values_of_each_preset(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        Parameters.parse(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert text.endswith("preset wide: units 64, patience 4, epochs 9, share 0.25, sparse true.")


@pytest.mark.parametrize(
    ("presets", "problem"),
    [
        ({"plain": {}}, "offers plain, wide; allowed: plain"),
        ({"plain": {}, "wide": {}, "tall": {}}, "offers plain, wide; allowed: plain, wide, tall"),
        ({"plain": {"units": 9}, "wide": {}}, "is plain by default, which sets values; allowed: a default that sets "
         "none"),
        ({"plain": {}, "wide": {"preset": "plain"}}, "wide sets preset; allowed: values of other parameters"),
        ({"plain": {}, "wide": {"rows": 1}}, "wide sets a refused value (rows: Extra inputs are not permitted); "
         "allowed: values that are accepted"),
        ({"plain": {}, "wide": {"units": 0}}, "wide sets a refused value (units: Input should be greater than or equal "
         "to 1); allowed: values that are accepted"),
    ],
)  # fmt: skip
def test_presets_of_an_experiment_are_checked(presets: dict[str, dict[str, Any]], problem: str) -> None:
    of = experiment(
        type("Parameters", (Parameters,), {"presets": presets, "__annotations__": {}, "__module__": __name__})
    )
    with pytest.raises(UserError) as error:
        make_train_parameters(of)
    assert str(error.value) == f"experiment {of.name!r}: preset {problem}"


def test_presets_without_the_parameter_are_refused() -> None:
    class Without(TrainParameters):
        presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"wide": {}}

    with pytest.raises(UserError, match="preset offers nothing; allowed: wide"):
        make_train_parameters(experiment(Without))


def test_invalid_preset_is_refused() -> None:
    with pytest.raises(ValidationError, match="preset"):
        Parameters(preset="tall")  # type: ignore[arg-type]
