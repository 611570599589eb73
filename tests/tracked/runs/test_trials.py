"""The trainings of a search in the store."""

from pathlib import Path

import mlflow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracked.runs import trials
from tracked.runs.schema import ERROR, STOP_REASON


@given(st.sets(st.integers(0, 60)).map(sorted))
def test_formatted_numbers_read_back_as_the_same_numbers(numbers: list[int]) -> None:
    assert list(trials.parse_known(trials.format_known(numbers))) == numbers


@pytest.mark.parametrize(("numbers", "text"), [((), ""), ((3,), "3"), ((0, 1, 2, 5, 7, 8), "0-2,5,7-8")])
def test_format_of_numbers(numbers: tuple[int, ...], text: str) -> None:
    assert trials.format_known(numbers) == text


def make_run(tags: dict[str, str], status: str | None, values: list[float], seed: int = 7) -> str:
    client = mlflow.MlflowClient()
    run_id = client.create_run("0", tags=tags, run_name="t").info.run_id
    client.log_param(run_id, "seed", seed)
    for epoch, value in enumerate(values, 1):
        client.log_metric(run_id, "val_loss", value, step=epoch)
        client.log_metric(run_id, "epoch_seconds", 2.0, step=epoch)
    if status:
        client.set_terminated(run_id, status)
    return run_id


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")


@pytest.mark.usefixtures("store")
def test_trials_of_a_search_are_read_from_their_runs() -> None:
    def tags(number: int, **more: str) -> dict[str, str]:
        return trials.make_tags("S", number, {"rate": 0.1 * number}, range(number)) | more

    make_run(tags(1, **{STOP_REASON: "patience"}), "FINISHED", [0.5, 0.25, 0.3])
    make_run(tags(0, **{STOP_REASON: "pruned", "pruned_because": "far behind"}), "FINISHED", [0.9])
    make_run(tags(2, **{STOP_REASON: "not_a_number"}), "FINISHED", [float("nan")])
    make_run(tags(3, **{STOP_REASON: "error", ERROR: "no memory"}), "FAILED", [])
    make_run(tags(4, **{STOP_REASON: "interrupted"}), "KILLED", [0.8])
    make_run(tags(5), None, [0.7])
    make_run(tags(6, **{STOP_REASON: "patience", ERROR: "disk full"}), "FAILED", [0.6])
    make_run(trials.make_tags("another", 7, {}, ()), "FINISHED", [0.1])
    make_run({}, "FINISHED", [0.1])
    found = trials.find_runs("S", "0", "val_loss", "min").trials
    assert list(found) == [0, 1, 2, 3, 4, 5, 6]
    statuses = ["pruned", "finished", "not_a_number", "failed", "running", "running", "failed"]
    assert [one.status for one in found.values()] == statuses
    assert (found[1].best, found[1].best_epoch, found[1].history) == (0.25, 2, (0.5, 0.25, 0.3))
    assert (found[1].values, found[1].known, found[1].seconds) == ({"rate": 0.1}, (0,), 6.0)
    assert [found[number].note for number in (0, 2, 3)] == ["far behind", "", "no memory"]
    assert found[2].best is None


@pytest.mark.usefixtures("store")
def test_of_two_runs_with_one_number_the_one_with_the_result_counts() -> None:
    tags = trials.make_tags("S", 0, {}, ())
    make_run(tags, None, [0.5])
    ended = make_run({**tags, STOP_REASON: "patience"}, "FINISHED", [0.5, 0.4])
    make_run(tags, None, [0.5, 0.4, 0.3])
    assert trials.find_runs("S", "0", "val_loss", "min").trials[0].run_id == ended
    assert trials.find_run("S", "0", tags, 7).info.run_id == ended  # type: ignore[union-attr]


@pytest.mark.usefixtures("store")
def test_confirming_trainings_are_known_by_what_they_confirm_and_their_seed() -> None:
    tags = trials.make_confirming_tags("S", "defaults", {})
    other = trials.make_confirming_tags("S", "3", {"rate": 0.1})
    runs = [make_run({**tags, STOP_REASON: "patience"}, "FINISHED", [0.5], seed) for seed in (11, 12)]
    make_run({**other, STOP_REASON: "patience"}, "FINISHED", [0.4], 11)
    found = trials.find_runs("S", "0", "val_loss", "min")
    assert found.trials == {}
    assert set(found.confirming) == {("defaults", 11), ("defaults", 12), ("3", 11)}
    assert found.confirming["3", 11].values == {"rate": 0.1}
    assert trials.find_run("S", "0", tags, 12).info.run_id == runs[1]  # type: ignore[union-attr]
    assert trials.find_run("S", "0", tags, 13) is None
