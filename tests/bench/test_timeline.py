"""Whole commands: when each of their lines comes."""

import os
from pathlib import Path

import pytest

import commands
import timeline
from timeline import Timeline

pytestmark = pytest.mark.unit

OURS = [
    (1.0, "data: reviews"),
    (2.0, "run 2cc9ac2f224a49588b285b04a830bd9a 'seed=7'"),
    (3.0, "training a network of 350,751 weights, at most 9 epochs"),
    (5.0, "epoch 1  loss 0.4573  val_loss 0.3312  val_accuracy 0.8532  2.0 s  improved, saved"),
    (6.5, "epoch 2  loss 0.2485  val_loss 0.3909  val_accuracy 0.8808  1.5 s  waited 1 of 0"),
    (7.5, "best epoch 1: val_loss 0.3312"),
]
KERAS = [(2.0, "Epoch 1/9"), (6.0, "499/499 - 4s - loss: 0.4 - val_loss: 0.3"), (6.1, "Epoch 2/9")]
KERAS += [(9.0, "499/499 - 3s - loss: 0.3 - val_loss: 0.2")]


def test_epochs_of_both_sides_last_from_the_line_before() -> None:
    assert Timeline(9, OURS).epochs == [2.0, 1.5]
    assert Timeline(9, KERAS).epochs == [4.0, 3.0]
    assert Timeline(9, OURS).when("^training") == 3.0


def test_merged_lines_are_the_same_whatever_their_numbers() -> None:
    later = [(at + 1, line.replace("2cc9ac", "aaaaaa").replace("0.3", "0.4")) for at, line in OURS[:-1]]
    merged = timeline.merge([Timeline(9, OURS), Timeline(9, later)])
    assert [(at, count) for at, count, _ in merged] == [(1.5, 2), (2.5, 2), (3.5, 2), (5.5, 2), (7.0, 2), (7.5, 1)]
    assert {line for _, _, line in merged} == {line for _, line in OURS}


def test_commands_run_one_after_the_other_and_a_failure_is_told(tmp_path: Path) -> None:
    found = timeline.run(
        [["-c", "print('a')"], ["-c", "import time; time.sleep(0.2); print('b')"]], tmp_path, os.environ
    )
    assert [line for _, line in found.lines] == ["a", "b"]
    assert found.lines[0][0] < found.lines[1][0] - 0.2
    assert found.seconds >= found.lines[1][0]
    assert found.peak > 1
    with pytest.raises(RuntimeError, match=r"exit 3\nno such data"):
        timeline.run([["-c", "print('no such data'); raise SystemExit(3)"]], tmp_path, os.environ)


def test_command_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "LIMIT", 0.3)
    with pytest.raises(RuntimeError, match="exit -9"):
        timeline.run([["-c", "import time; time.sleep(60)"]], tmp_path, os.environ)


def test_table_of_commands_compares_with_the_base() -> None:
    table = commands.make_table("an epoch", {"ours": [Timeline(9, OURS)], "plain": [Timeline(9, KERAS)]}, "plain")
    assert table.splitlines()[2:] == [
        "| ours | 1.50 | 1.50 | 2.00 | 2.00 | 2 | 0 |", "| plain | 3.00 | 3.00 | 1.00 | 1.00 | 2 | 0 |",
    ]  # fmt: skip
