"""The verb find_rate for both experiments, on little data."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow.entities import Run

from diabetes import Diabetes
from helpers.reviews import TINY, make_reviews
from helpers.runs import SignalAfter, artifacts, last_run, table
from helpers.stores import copied_store
from helpers.verbs import Verb
from imdb_conv1d.experiment import EXPERIMENT
from tracked.console.errors import Interrupted, RunFailed, UserError
from tracked.console.signals import Signals
from tracked.console.train_parameters import TrainParameters

STEPS = 200
DIABETES = Verb("find_rate", Diabetes())
SMALL = [flag for flag in TINY if "learning_rate" not in flag]


def listed(folder: Path) -> set[str]:
    """What a folder holds beside runs' files and what TensorFlow removes at the end of the process."""
    return {path.name for path in folder.iterdir() if path.name != "mlruns" and "autograph" not in path.name}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[dict[str, list[Run]]]:
    """The runs of range tests, two of each experiment."""
    folder = tmp_path_factory.mktemp("found")
    make_reviews(200).to_csv(folder / "reviews.csv", index=False)
    with pytest.MonkeyPatch.context() as patch, copied_store(empty_store, folder, patch):
        patch.setattr(tempfile, "tempdir", str(folder))
        runs: dict[str, list[Run]] = {"imdb-conv1d": [], "diabetes": []}
        before = listed(folder)
        for experiment, flags in ((EXPERIMENT, [*SMALL, f"--data={folder}/reviews.csv"]), (Diabetes(), [])):
            for _ in range(2):
                Verb("find_rate", experiment).main([f"--steps={STEPS}", *flags], Signals())
                runs[experiment.name].append(last_run())
        assert listed(folder) == before
        assert not mlflow.search_registered_models()
        yield runs


@pytest.mark.parametrize("name", ["imdb-conv1d", "diabetes"])
def test_run_holds_suggestion_table_picture_and_data(found: dict[str, list[Run]], name: str) -> None:
    run = found[name][0]
    tags = run.data.tags
    assert run.info.status == "FINISHED"
    assert (tags["verb"], tags["experiment"]) == ("find_rate", name)
    assert set(run.data.metrics) == {"suggested_rate"}
    assert run.data.params["steps"] == str(STEPS)
    assert run.data.params["lowest_rate"] == "1e-06"
    assert artifacts(run) == {"rate_range.csv", "rate_range.png"}
    assert tags["data_source"] == (run.data.params.get("data") or "sklearn.datasets.load_diabetes")
    assert re.fullmatch("[0-9a-f]{64}", tags["data_digest"])
    assert tags["data_rows"]
    assert run.inputs.dataset_inputs[0].dataset.digest == tags["data_digest"][:32]
    rate = run.data.metrics["suggested_rate"]
    assert tags["mlflow.note.content"].startswith(f"{rate:g} is a tenth of the learning rate at which")
    assert run.info.run_name.startswith(f"find_rate steps={STEPS} seed=7")


@pytest.mark.parametrize("name", ["imdb-conv1d", "diabetes"])
def test_table_has_a_row_a_step_and_its_least_smoothed_loss_is_ten_times_the_suggestion(
    found: dict[str, list[Run]], name: str
) -> None:
    run = found[name][0]
    steps = table(run, "rate_range.csv")
    assert list(steps["step"]) == list(range(1, len(steps) + 1))
    assert len(steps) <= STEPS
    ratio = (10 / 1e-6) ** (1 / (STEPS - 1))
    assert np.allclose(steps["learning_rate"], 1e-6 * ratio ** (steps["step"] - 1))
    counted = steps[STEPS // 25 :]
    least = counted.loc[counted["smoothed_loss"].idxmin(), "learning_rate"]
    assert run.data.metrics["suggested_rate"] == float(f"{least / 10:.1e}")


@pytest.mark.parametrize("name", ["imdb-conv1d", "diabetes"])
def test_second_range_test_gives_equal_bits(found: dict[str, list[Run]], name: str) -> None:
    first, second = (table(run, "rate_range.csv") for run in found[name])
    assert first.equals(second)


def test_loss_that_never_falls_ends_with_a_line_and_its_curve(store: str) -> None:
    with pytest.raises(RunFailed, match="no learning rate can be suggested: the loss never falls by more than its bat"):
        DIABETES.main(["--lowest_rate=1e-20", "--highest_rate=1e-10", "--steps=60"], Signals())
    run = last_run()
    assert run.info.status == "FAILED"
    assert run.data.metrics == {}
    assert run.data.tags["error"].startswith("no learning rate can be suggested")
    assert run.data.tags["mlflow.note.content"].startswith("The loss never falls")
    assert artifacts(run) == {"rate_range.csv", "rate_range.png"}


def test_range_that_begins_too_high_ends_with_a_line(store: str) -> None:
    with pytest.raises(RunFailed, match=r"the loss diverged after \d+ of 100 steps, too few to judge by; a lower low"):
        DIABETES.main(["--lowest_rate=1000", "--highest_rate=1e9", "--steps=100"], Signals())


def test_interrupted_range_test_leaves_a_killed_run_and_no_file(store: str, tmp_path: Path) -> None:
    before = listed(tmp_path)
    with pytest.raises(Interrupted):
        DIABETES.main(["--steps=60"], SignalAfter(10))
    run = last_run()
    assert (run.info.status, run.data.tags["stop_reason"]) == ("KILLED", "interrupted")
    assert "suggested_rate" not in run.data.metrics
    assert listed(tmp_path) == before


def test_trainee_that_cannot_sweep_is_refused_without_a_run(store: str) -> None:
    class Fixed(Diabetes):
        def build(self, *arguments: Any) -> Any:
            return object()

    with pytest.raises(UserError, match=r"experiment 'diabetes': its trainee lacks sweep\(rates\), which a range test"):
        Verb("find_rate", Fixed()).main([], Signals())
    assert not mlflow.search_runs(search_all_experiments=True, output_format="list")


def test_experiment_without_a_rate_is_refused_before_its_data_are_read(store: str) -> None:
    class Rateless(Diabetes):
        Parameters = TrainParameters

        def load(self, parameters: Any, source: str) -> Any:
            raise AssertionError

    with pytest.raises(UserError, match="experiment 'diabetes' has no learning rate to find"):
        Verb("find_rate", Rateless()).main([], Signals())
    assert not mlflow.search_runs(search_all_experiments=True, output_format="list")
