"""A scorer's answers: checked before the first request, and a fault is told of its own request alone, without input."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from helpers.adding import COLUMNS, EXAMPLE, SECRET, Adder, AddingScorer, ExplainingScorer, count
from helpers.made_registry import make_version
from tracked.console.errors import RunFailed, UserError
from tracked.models import one_thread
from tracked.serve.frames import Answered, Bad, Batch, Failed, Form
from tracked.serve.scorer import Scoring

Part = tuple[Form, Sequence[Sequence[Any]]]


@pytest.fixture
def adder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Adder:
    monkeypatch.setattr(one_thread, "load_model", str)
    monkeypatch.setattr(one_thread, "ONE_THREAD", {})  # in this process there may be more
    return Adder(tmp_path)


def open_scoring(adder: Adder, **metadata: Any) -> Scoring:
    return Scoring.open(make_version("1", adder.folder, adder, **metadata).setting)


def score(adder: Adder, *parts: Part) -> list[Answered]:
    return open_scoring(adder).score(Batch(COLUMNS, parts))


def read(answered: Answered) -> list[Any]:
    assert not isinstance(answered, Bad | Failed)
    return [json.loads(one) for one in answered]


def test_forms_of_one_batch_have_each_their_own_answers(adder: Adder) -> None:
    found = score(adder, ("answers", [[1, 2], ["3", 4.5]]), ("output", [[1, 1]]), ("answers", [[-5, 2]]))
    assert [*map(read, found)] == [
        [{"sum": 3.0, "sign": "plus"}, {"sum": 7.5, "sign": "plus"}],
        [[2.0]],
        [{"sum": -3.0, "sign": "minus"}],
    ]
    assert count(adder.folder / "batches") == 1
    (explained,) = score(adder, ("explanation", [[1, 2]]))
    assert read(explained) == [
        {
            "prediction": {"sum": 3.0, "sign": "plus"},
            "pieces": [],
            "parts": [{"name": "left", "effect": 1.0, "note": ""}],
            "note": "an effect is a number",
        }
    ]


def test_rows_reach_the_scorer_as_values_of_json(adder: Adder, monkeypatch: pytest.MonkeyPatch) -> None:
    given = [[1, 2.5], [True, None], ["", "é"], [10**400, -0.0]]
    seen = []
    monkeypatch.setattr(AddingScorer, "find_bad", lambda self, table: seen.extend(table.values.tolist()) or {})
    score(adder, ("answers", given))
    assert (seen, [[type(value) for value in row] for row in seen]) == (
        given,
        [[type(value) for value in row] for row in given],
    )


def test_bad_row_is_told_of_its_own_request_by_its_number_there(adder: Adder) -> None:
    good: Part = ("answers", [[1, 2]])
    found = score(adder, good, ("answers", [[1, 1], [2, None], ["x", 1]]), good, ("output", [[SECRET, 1]]), good)
    assert found[1] == Bad(1, "right is no number")
    assert found[3] == Bad(0, "left is no number")
    assert [read(found[place]) for place in (0, 2, 4)] == [[{"sum": 3.0, "sign": "plus"}]] * 3


def test_requests_that_are_all_bad_are_not_scored(adder: Adder) -> None:
    assert score(adder, ("answers", [["x", 1]]), ("answers", [[1, "x"]])) == [
        Bad(0, "left is no number"),
        Bad(0, "right is no number"),
    ]
    assert count(adder.folder / "batches") == 0


@pytest.mark.parametrize("command", ["raise", "short"])
def test_fault_of_one_request_is_its_own(adder: Adder, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    good: Part = ("answers", [[1, 2]])
    found = score(adder, good, ("answers", [[0, 1], [command, 1]]), ("output", [["x", 1]]), good)
    assert [read(found[0]), read(found[3])] == [[{"sum": 3.0, "sign": "plus"}]] * 2
    assert isinstance(found[1], Failed)
    assert found[2] == Bad(0, "left is no number")
    told = found[1].reason + capsys.readouterr().err
    assert {"raise": "ValueError in adding.py, line ", "short": "RunFailed in scorer.py, line "}[command] in told
    assert SECRET not in told


def test_output_that_is_no_finite_number_fails_its_request_alone(adder: Adder) -> None:
    found = score(adder, ("answers", [[1, 2]]), ("output", [[0, 0], ["nan", 1]]), ("answers", [["nan", 1]]))
    assert read(found[0]) == [{"sum": 3.0, "sign": "plus"}]
    assert found[1:] == [Failed("the model's output is not a finite number")] * 2


def test_answer_that_json_cannot_hold_fails_its_request_alone(adder: Adder, monkeypatch: pytest.MonkeyPatch) -> None:
    describe = AddingScorer.describe

    def odd(self: AddingScorer, output: Any) -> Any:
        answers = describe(self, output)
        return answers.assign(sum=answers["sum"].where(answers["sum"] != 7))  # else NaN

    monkeypatch.setattr(AddingScorer, "describe", odd)
    found = score(adder, ("answers", [[1, 2]]), ("answers", [[3, 4]]), ("output", [[3, 4]]))
    assert read(found[0]) == [{"sum": 3.0, "sign": "plus"}]
    assert isinstance(found[1], Failed)
    assert read(found[2]) == [[7.0]]


def test_fault_while_looking_for_bad_rows_fails_the_request_that_has_it_alone(
    adder: Adder, capsys: pytest.CaptureFixture[str]
) -> None:
    found = score(adder, ("answers", [["raise while looking", 1]]), ("answers", [[1, 2]]))
    assert isinstance(found[0], Failed)
    assert read(found[1]) == [{"sum": 3.0, "sign": "plus"}]
    assert SECRET not in str(found) + capsys.readouterr().err


def test_check_tells_of_the_model(adder: Adder) -> None:
    ready = open_scoring(adder).check()
    assert ready.answer_columns == AddingScorer.columns
    assert ready.answer_notes == AddingScorer.notes
    assert ready.example_answers == [{"sum": 3.0, "sign": "plus"}, {"sum": 2.0, "sign": "plus"}]
    assert ready.can_explain
    assert not open_scoring(adder, explains=False).check().can_explain


def test_model_without_an_example_passes(adder: Adder) -> None:
    ready = open_scoring(adder, example=[]).check()
    assert (ready.answer_columns, ready.example_answers) == (AddingScorer.columns, [])
    assert count(adder.folder / "batches") == 0


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"answers depend on neighbours": True}, "answers of its own example depend on their neighbours by more than "),
        ({"answers nan": True}, "its own example is not answered with a finite number for each row"),
        ({"answers one less": True}, "its own example is not answered with a finite number for each row"),
        ({"example": [[1, 2], ["x", 1]]}, "its own example cannot be answered: left is no number"),
    ],
)
def test_model_that_fails_its_own_example_is_refused(adder: Adder, metadata: dict[str, Any], message: str) -> None:
    with pytest.raises(RunFailed, match=message):
        open_scoring(adder, **metadata).check()


def test_difference_within_the_tolerance_passes(adder: Adder, monkeypatch: pytest.MonkeyPatch) -> None:
    predict = AddingScorer.predict
    monkeypatch.setattr(AddingScorer, "predict", lambda self, table: predict(self, table) + len(table) * 1e-7)
    open_scoring(adder).check()


def test_explanation_that_the_model_lacks_is_none(adder: Adder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExplainingScorer, "explain", lambda self, table: None)
    assert not open_scoring(adder, example=EXAMPLE).check().can_explain


def test_scorer_that_lacks_what_an_endpoint_needs_is_refused(adder: Adder) -> None:
    with pytest.raises(UserError, match="experiment 'adder': its scorer lacks predict, which serve needs"):
        open_scoring(adder, **{"lacks predict": True})
