import math
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from imdb_conv1d.experiment import EXPERIMENT
from tracked.console.dimensions import Choice, Range
from tracked.console.errors import UserError
from tracked.console.parameters import Finite, Switch, Text
from tracked.console.rate_parameters import RateParameters
from tracked.console.space import Space, grid_points, list_searchable, parse_space
from tracked.console.train_parameters import make_train_parameters

pytestmark = pytest.mark.unit

IMDB = make_train_parameters(EXPERIMENT)


class Parameters(RateParameters):
    units: int = Field(8, description="Units")
    share: Finite = Field(0.5, description="Share")
    kind: Literal["a", "b", "c"] = Field("a", description="Kind")
    sparse: Switch = Field(False, description="Whether sparse")
    name: Text = Field("x", description="A name")
    free: float = Field(0.5, description="Any number")
    data: Text = Field("auto", description="Data")

    fixed_in_search: ClassVar[tuple[str, ...]] = ("data",)


def parse(text: str) -> Space:
    return parse_space(text, Parameters)


whole = st.integers(-(2**31), 2**31)
finite = st.floats(allow_nan=False, allow_infinity=False)
above_0 = st.floats(min_value=1e-300, max_value=1e300)
decimals = st.integers(-(10**6), 10**6).map(lambda number: number / 1000)


def two(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, Any]]:
    return st.lists(numbers, min_size=2, max_size=2, unique=True).map(lambda ends: tuple(sorted(ends)))


@st.composite
def stepped(draw: st.DrawFn, name: str, unit: float) -> Range:
    """Steps of hundredths or of whole numbers, as they are written: the k-th is the float nearest to its decimal."""
    low, step = draw(st.integers(-1000, 1000)), draw(st.integers(1, 500))
    high = low + step * draw(st.integers(1, 40))
    if unit == 1:
        return Range(name, low, high, step=step)
    return Range(name, low / 100, high / 100, step=step / 100)


dimensions = st.fixed_dictionaries({}, optional={
    "units": two(whole).map(lambda ends: Range("units", *ends)) | stepped("units", 1)
    | two(st.integers(1, 2**31)).map(lambda ends: Range("units", *ends, is_log=True))
    | st.lists(whole, min_size=2, max_size=5, unique=True).map(lambda options: Choice("units", tuple(options))),
    "share": two(finite).map(lambda ends: Range("share", *ends)) | stepped("share", 0.01)
    | two(above_0).map(lambda ends: Range("share", *ends, is_log=True))
    | st.lists(finite, min_size=2, max_size=5, unique=True).map(lambda options: Choice("share", tuple(options))),
    "kind": st.permutations(["a", "b", "c"]).map(lambda options: Choice("kind", tuple(options))),
    "sparse": st.sampled_from([Choice("sparse", (True, False)), Choice("sparse", (False, True))]),
})  # fmt: skip
spaces = dimensions.filter(bool).map(lambda found: Space(tuple(found.values())))


@given(spaces)
def test_text_of_a_space_is_parsed_to_the_same_space(space: Space) -> None:
    found = parse(space.text)
    assert (found, found.text) == (space, space.text)
    for one, other in zip(found.dimensions, space.dimensions, strict=True):
        values = one.options if isinstance(one, Choice) else (one.low, one.high)
        expected = other.options if isinstance(other, Choice) else (other.low, other.high)
        assert [type(value) for value in values] == [type(value) for value in expected]


@given(spaces.filter(lambda space: space.point_count < 5000))
def test_grid_has_each_point_once_all_in_the_space_with_all_corners(space: Space) -> None:
    points = grid_points(space)
    assert len(points) == space.point_count == len({tuple(point.items()) for point in points})
    assert all(space.contains(point) and tuple(point) == space.names for point in points)
    for dimension in space.dimensions:
        values = {point[dimension.name] for point in points}
        assert set(dimension.corners) <= values
        if isinstance(dimension, Range) and dimension.step is None:
            assert len(values) == 2 + any(dimension.low < value < dimension.high for value in values)


@given(st.data())
def test_shortened_value_is_in_the_range_and_near(data: st.DataObject) -> None:
    is_log = data.draw(st.booleans())
    low, high = data.draw(two(above_0 if is_log else finite))
    value = data.draw(st.floats(low, high))
    short = Range("share", low, high, is_log).shorten(value)
    assert low <= short <= high
    assert abs(short - value) <= (high / 1000 - low / 1000)
    if is_log:
        assert abs(short - value) <= value / 1000


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("learning_rate=1e-4..1e-2/log", [0.0001, 0.001, 0.01]),
        ("share=0..0.6", [0.0, 0.3, 0.6]),
        ("share=0..0.3/0.1", [0.0, 0.1, 0.2, 0.3]),  # not 0.30000000000000004
        ("units=5..6", [5, 6]),
        ("units=1..100/log", [1, 10, 100]),
        ("units=5000..30000/5000", [5000, 10000, 15000, 20000, 25000, 30000]),
        ("kind=c,a", ["c", "a"]),
        ("sparse=true,false", [True, False]),
        ("learning_rate=auto,0.001", ["auto", 0.001]),
        ("name=1..2,b", ["1..2", "b"]),  # of a text, dots are dots
        ("patience=3,10", [3, 10]),
    ],
)
def test_grid_of_one_parameter_has_its_values_with_their_types(text: str, points: list[Any]) -> None:
    (name,) = parse(text).names
    found = [point[name] for point in grid_points(parse(text))]
    assert (found, list(map(type, found))) == (points, list(map(type, points)))


def test_grid_of_two_parameters_has_all_pairs() -> None:
    points = grid_points(parse("units=1,2 kind=a,b"))
    assert points == [{"units": units, "kind": kind} for units in (1, 2) for kind in "ab"]


def test_canonical_text_has_each_value_in_one_spelling() -> None:
    assert parse("  share=0..6e-1/.2\n units=5.0..9 sparse=true,false ").text == (
        "share=0.0..0.6/0.2 units=5..9 sparse=true,false"
    )


def test_values_outside_the_space_are_not_contained() -> None:
    space = parse("units=10..30/10 share=0..1 sparse=true,false")
    inside: dict[str, Any] = {"units": 20, "share": 0.25, "sparse": True}
    assert space.contains(inside)
    outside = [{"units": 25}, {"units": 40}, {"units": 20.5}, {"units": "20"}, {"units": True}, {"share": 1.5},
        {"share": math.nan}, {"sparse": 1}, {"kind": "a"}]  # fmt: skip
    for wrong in outside:
        assert not space.contains(inside | wrong), wrong
    assert not space.contains({"units": 20, "share": 0.25})


@pytest.mark.parametrize(
    ("text", "given", "allowed"),
    [
        ("", "", "items such as rate=1e-4..1e-2/log units=32..256/32 kind=a,b, separated by blanks"),
        ("  ", "  ", "items such as"),
        ("units", "units", "items such as"),
        ("units=", "units=", "items such as"),
        ("=1..2", "=1..2", "items such as"),
        ("unit=1..2", "unit=1..2", "a search over patience, min_delta, learning_rate, schedule, decay_factor, "
         "decay_epochs, decay_patience, warmup_steps, units, share, kind, sparse, name, free; did you mean units?"),
        ("wholly=1..2", "wholly=1..2", "a search over patience"),
        ("seed=1,2", "seed=1,2", "parameters other than seed, which all trials have in common"),
        ("model_name=a,b", "model_name=a,b", "parameters other than model_name, which"),
        ("monitor=loss,val_loss", "monitor=loss,val_loss", "parameters other than monitor, which"),
        ("mode=min,max", "mode=min,max", "parameters other than mode, which"),
        ("epochs=1..9", "epochs=1..9", "parameters other than epochs, which"),
        ("data=a,b", "data=a,b", "parameters other than data, which"),
        ("units=1..2 kind=a,b units=3,4", "units=3,4", "units once; it already has units=1..2"),
        ("units=5..5", "units=5..5", "a range from a lower number to a higher one"),
        ("units=6..5", "units=6..5", "a range from a lower number to a higher one"),
        ("share=0.1...5", "share=0.1...5", "a range with two dots between its ends, such as share=0.1..0.5"),
        ("learning_rate=1e-4...1e-2/log", "learning_rate=1e-4...1e-2/log", "a range with two dots between its ends"),
        ("units=..5", "units=..5", "for units a whole number"),
        ("units=1..", "units=1..", "for units a whole number"),
        ("units=1.5..3", "units=1.5..3", "for units a whole number"),
        ("units=a..b", "units=a..b", "for units a whole number"),
        ("share=0..nan", "share=0..nan", "for share a finite number"),
        ("free=0..inf", "free=0..inf", "a range from a finite number to another"),
        ("learning_rate=0..0.1", "learning_rate=0..0.1", "for learning_rate auto, or a finite number from 1e-30"),
        ("learning_rate=0,0.1", "learning_rate=0,0.1", "for learning_rate auto, or a finite number from 1e-30"),
        ("learning_rate=0.1..auto", "learning_rate=0.1..auto", "a range from a finite number to another"),
        ("share=0..1/log", "share=0..1/log", "a log scale from a number above 0 on"),
        ("share=-1..1/log", "share=-1..1/log", "a log scale from a number above 0 on"),
        ("units=1..9/", "units=1..9/", "behind / log, or a step of a whole number that leads from 1 to 9"),
        ("units=1..9/0", "units=1..9/0", "behind / log"),
        ("units=1..9/-2", "units=1..9/-2", "behind / log"),
        ("units=1..9/3", "units=1..9/3", "behind / log"),
        ("units=1..9/1.5", "units=1..9/1.5", "behind / log"),
        ("units=1..9/12", "units=1..9/12", "behind / log"),
        ("units=1..9/ln", "units=1..9/ln", "behind / log"),
        ("units=1..9/log/2", "units=1..9/log/2", "behind / log"),
        ("share=0..1/inf", "share=0..1/inf", "behind / log, or a step that leads from 0.0 to 1.0"),
        ("share=0..1/nan", "share=0..1/nan", "behind / log"),
        ("share=0..1/0.3", "share=0..1/0.3", "behind / log"),
        ("units=5", "units=5", "a range, such as units=LOW..HIGH, or two or more choices, such as units=A,B"),
        ("kind=a", "kind=a", "two or more choices, such as kind=A,B"),
        ("kind=a..b", "kind=a..b", "for kind a, b or c"),
        ("kind=a,d", "kind=a,d", "for kind a, b or c"),
        ("kind=a,a", "kind=a,a", "each choice once"),
        ("share=1,1.0", "share=1,1.0", "each choice once"),
        ("sparse=true,True", "sparse=true,True", "for sparse true or false"),
        ("name=a,", "name=a,", "for name a text"),
    ],
)  # fmt: skip
def test_space_that_is_not_allowed_is_refused_in_one_line(text: str, given: str, allowed: str) -> None:
    with pytest.raises(UserError) as refused:
        parse(text)
    assert str(refused.value).startswith(f"space: {given!r} is not allowed; allowed: {allowed}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("item", ["preset=article,accurate", "data=auto,imdb", "validation_split=0.1..0.3",
    "test_split=0.1..0.3", "log_texts=true,false", "label_column=a,b"])  # fmt: skip
def test_what_the_trials_of_an_experiment_have_in_common_is_not_varied(item: str) -> None:
    with pytest.raises(UserError, match=f"allowed: parameters other than {item.split('=')[0]}, which all trials have"):
        parse_space(item, IMDB)
    assert {"learning_rate", "schedule", "network", "max_features", "dropout"} <= set(list_searchable(IMDB))


def test_a_value_outside_the_parameters_own_limits_is_refused() -> None:
    with pytest.raises(UserError, match=r"allowed: for dropout a finite number, 0 or more, less than 1$"):
        parse_space("dropout=0..1", IMDB)
    assert parse_space("max_features=4..5000", IMDB).text == "max_features=4..5000"
