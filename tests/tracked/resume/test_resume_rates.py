"""Trainings with a schedule of the learning rate, interrupted and resumed."""

import json
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run

from helpers import reuse
from helpers.resuming import ARGUMENTS, assert_same_run, break_off, folder, last_epoch, metrics, resume
from helpers.reviews import TINY
from helpers.runs import SignalAfter, last_run, points, table
from helpers.trainings import Trainings
from helpers.verbs import unfinished
from tracked.console.errors import Interrupted, UserError
from tracked.console.signals import Signals

PLATEAU = ["--schedule=plateau", "--decay_patience=1", "--decay_factor=0.5"]
FLAT = [*PLATEAU, "--min_delta=9"]  # no epoch after the first improves, whatever a machine's last bits
WARM = "--warmup_steps=12"  # ends in the second epoch of diabetes and in the first of the reviews
WIDE = "--embedding_dims=22"  # wide enough for fused layers


@pytest.fixture(scope="module")
def subjects(noisy: Path) -> dict[str, Trainings]:
    """Both experiments' trainings: of a network with fused layers, and on patients."""
    reviews = Trainings("imdb-conv1d", [f"--data={noisy}", *TINY, WIDE, "--patience=4", "--epochs=6"], 2, {})
    return {"imdb": reviews, "diabetes": Trainings("diabetes", ["--learning_rate=0.1", "--epochs=6"], 9, {})}


def interrupt(trainings: Trainings, epochs: int, flags: Sequence[str]) -> Run:
    """Interrupt a training in the epoch after ``epochs``."""
    with pytest.raises(Interrupted):
        trainings.train(*flags, signals=SignalAfter(2 + trainings.checks * epochs))
    run = last_run()
    reuse._built.clear()  # a new process builds its network anew
    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "flags", "after", "rates"),
    [
        ("diabetes", PLATEAU, 4, [0.1, 0.1, 0.1, 0.1, 0.05, 0.025]),
        ("diabetes", [*PLATEAU, WARM], 5, [0.06666667, 0.1, 0.1, 0.1, 0.1, 0.05]),
        ("diabetes", ["--schedule=exponential", "--decay_epochs=4", WARM], 1,
         [0.06666667, 0.08058422, 0.04531584, 0.025482967, 0.014330126, 0.008058422]),
        ("diabetes", ["--schedule=cosine", "--decay_epochs=4"], 2,
         [0.08978548, 0.05941077, 0.026452303, 0.010216688, 0.010000001, 0.010000001]),
        ("imdb", [*FLAT, WARM], 3, [0.01, 0.01, 0.005, 0.0025, 0.00125]),
        ("imdb", ["--schedule=cosine", "--decay_epochs=4"], 2,
         [0.008834279, 0.005720804, 0.0024779844, 0.0010054205, 0.001, 0.001]),
    ],
    ids=["plateau", "plateau, warm-up", "exponential, in the warm-up", "cosine", "fused, plateau", "fused, cosine"],
)  # fmt: skip
def test_resume_in_the_middle_of_a_schedule_gives_equal_bits(
    store: str, subjects: dict[str, Trainings], name: str, flags: list[str], after: int, rates: list[float]
) -> None:
    """At a plateau, the epoch before the interruption has cut the rate."""
    trainings = subjects[name]
    trainings.train(*flags)
    whole = last_run()
    uninterrupted = metrics(whole)
    assert list(points(whole, "learning_rate").values()) == pytest.approx(rates, rel=1e-6)
    run = interrupt(trainings, after, flags)
    assert len(points(run, "learning_rate")) == after
    trainings.resume("--resume", run.info.run_id)
    assert metrics(mlflow.get_run(run.info.run_id)) == uninterrupted
    for file in ("history.csv", "early_stopping.csv"):
        times = ["epoch_seconds", "time"]
        both = [table(one, file).drop(columns=times, errors="ignore") for one in (whole, run)]
        assert both[0].equals(both[1])
    assert ("next_learning_rate" in both[0]) == ("--schedule=plateau" in flags)


@pytest.mark.slow
def test_resume_without_a_snapshot_starts_with_the_first_rate(store: str, subjects: dict[str, Trainings]) -> None:
    """The network is the interrupted one, as in one process."""
    trainings = subjects["diabetes"]
    with pytest.raises(Interrupted):
        trainings.train(*PLATEAU, WARM, signals=SignalAfter(2 + trainings.checks * 5))
    run = last_run()
    rates = points(run, "learning_rate")
    shutil.rmtree(folder(run, "diabetes"))
    trainings.resume("--resume", run.info.run_id)  # epochs that differed from the logged ones would end it
    assert dict(list(points(run, "learning_rate").items())[:5]) == rates
    assert points(run, "learning_rate")[6] == 0.05


@pytest.mark.slow
def test_cuts_are_printed_and_listed_with_the_next_rate(
    store: str, subjects: dict[str, Trainings], capsys: pytest.CaptureFixture[str]
) -> None:
    subjects["diabetes"].train("--patience=3", *PLATEAU)
    lines = [line for line in capsys.readouterr().out.splitlines() if "learning rate" in line]
    # Not after epoch 6, the last one.
    assert lines == [
        "epoch 4: no improvement for 1 epoch; learning rate 0.1 -> 0.05 from the next epoch on",
        "epoch 5: no improvement for 1 epoch; learning rate 0.05 -> 0.025 from the next epoch on",
    ]
    assert table(last_run(), "early_stopping.csv")["next_learning_rate"].tolist() == [
        0.1,
        0.1,
        0.1,
        0.05,
        0.025,
        0.0125,
    ]


@pytest.mark.slow
def test_close_of_a_training_lists_its_cuts(store: str, subjects: dict[str, Trainings]) -> None:
    run = interrupt(subjects["imdb"], 4, FLAT)
    unfinished.main([f"--close={run.info.run_id}"], Signals())
    assert table(run, "early_stopping.csv")["next_learning_rate"].tolist() == [0.01, 0.005, 0.0025, 0.00125]


NEW = ("schedule", "decay_factor", "decay_epochs", "decay_patience", "warmup_steps")


@pytest.mark.slow
def test_resume_of_a_run_from_before_there_were_schedules_keeps_its_rate(
    store: str, noisy: Path, straight: dict[str, dict[int, float]]
) -> None:
    run = break_off(noisy, 2)
    launch = json.loads(run.data.tags["launch"])
    launch["parameters"] = {name: value for name, value in launch["parameters"].items() if name not in NEW}
    mlflow.MlflowClient().set_tag(run.info.run_id, "launch", json.dumps(launch))
    with sqlite3.connect(store.removeprefix("sqlite:///")) as database:
        removed = database.execute(f"delete from params where key in {NEW}").rowcount
    assert removed == len(NEW)
    with pytest.raises(UserError, match=r"^schedule: 'cosine' is not allowed; allowed: constant, as run .* has it$"):
        resume("--resume", run.info.run_id, "--schedule=cosine")
    resume("--resume", run.info.run_id)
    assert_same_run(run, straight)


def test_resume_with_another_schedule_is_refused(store: str, noisy: Path) -> None:
    run = break_off(noisy, 1, *ARGUMENTS, "--schedule=plateau", "--decay_patience=1")
    for flag, allowed in (("--schedule=cosine", "plateau"), ("--decay_patience=2", "1"), ("--warmup_steps=3", "0")):
        name, _, value = flag.removeprefix("--").partition("=")
        with pytest.raises(UserError, match=f"^{name}: '{value}' is not allowed; allowed: {allowed}, as run"):
            resume("--resume", run.info.run_id, flag)
    assert last_epoch(run) == 1


def test_parameter_without_an_effect_is_told_once(
    store: str, subjects: dict[str, Trainings], capsys: pytest.CaptureFixture[str]
) -> None:
    subjects["diabetes"].train("--epochs=1", "--decay_epochs=3")
    assert capsys.readouterr().err == "decay_epochs=3 with schedule=constant has no effect\n"
