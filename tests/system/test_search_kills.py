"""A few kills of a search, of its worker and of both; `make search-faults` makes more."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

import search_store
from helpers import ROOT
from search_faults import LATE, WHO, Landed, plan, tabulate

pytestmark = pytest.mark.slow


def training(**changes: object) -> dict[str, object]:
    """What is read of a training of two epochs."""
    return {
        "status": "FINISHED", "stop_reason": "epochs", "proposal": "{}", "run_name": "trial 0", "params": {},
        "steps": {"val_loss": Counter({1: 1, 2: 1})}, "values": {"val_loss at 1": "0x1p-1", "val_loss at 2": "0x1p-2"},
        "artifacts": ["checkpoint/best.keras"], "version": None, "resumed": None, **changes,
    }  # fmt: skip


def found(**changes: object) -> dict[str, object]:
    """What is read of a search of one trial."""
    return {
        "status": "FINISHED", "tags": {}, "metrics": {}, "best so far": [], "artifacts": [], "parameters": {},
        "trainings": {"trial 0": [training()]}, "versions": ["1 of trial 0"], "models": ["READY"],
        "table": [{"number": "0", "run_id": "a", "seconds": "1", "best": "0.25"}], "lineage": True, "weights": [b"1"],
        **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, ""),
        ({"table": [{"number": "0", "run_id": "b", "seconds": "2", "best": "0.25"}]}, ""),
        ({"trainings": {}}, "trials lost"),
        ({"table": []}, "trials lost"),
        ({"trainings": {"trial 0": [training(), training()]}}, "trials doubled"),
        ({"trainings": {"trial 0": [training()], "trial 1": [training(artifacts=[])]}}, "trials doubled"),
        ({"trainings": {"trial 0": [training(status="RUNNING")]}}, "runs left RUNNING"),
        ({"trainings": {"trial 0": [training(steps={"val_loss": Counter({2: 1})})]}}, "epochs lost"),
        ({"trainings": {"trial 0": [training(steps={"val_loss": Counter({1: 1})})]}}, "epochs lost"),
        ({"trainings": {"trial 0": [training(steps={"val_loss": Counter({1: 2, 2: 1})})]}}, "epochs logged twice"),
        ({"trainings": {"trial 0": [training(values={"val_loss at 1": "0x1.0000000000001p-1"})]}}, "differing bits"),
        ({"table": [{"number": "0", "run_id": "a", "seconds": "1", "best": "0.26"}]}, "differing bits"),
        ({"weights": [b"2"]}, "differing bits"),
        ({"versions": []}, "versions missing or doubled"),
        ({"versions": ["2 of trial 0", "1 of trial 0"]}, "versions missing or doubled"),
        ({"trainings": {"trial 0": [training(artifacts=[])]}}, "left behind"),
        ({"status": "KILLED"}, "anything else"),
        ({"tags": {"winner": "1"}}, "anything else"),
    ],
)
def test_difference_of_a_search_is_counted_by_its_kind(changes: dict[str, object], kind: str) -> None:
    differences = search_store.inspect(found(**changes), trials=1, confirming=0, keep=1)
    search_store.compare(found(**changes), found(), differences)
    counts = {name for name, count in differences.counts.items() if count}
    assert kind in counts if kind else not counts, differences.lines


def test_plan_kills_each_in_turn_and_no_worker_that_has_not_started() -> None:
    kills = plan(50, Random("1"), WHO)
    phases = Counter(kill.phase for kill in kills)
    assert phases == {"starting": 5, "trials": 30, "confirming": 5, "registering": 10}
    assert [kill.phase for kill in kills[-15:]] == ["confirming"] * 5 + ["registering"] * 10
    assert all(kill.who == WHO[number % len(WHO)] for number, kill in enumerate(kills) if kill.phase != "starting")
    assert not any((kill.who, kill.phase) == ("worker", "starting") for kill in kills)
    assert sum(LATE.values()) < 1


def test_tables_count_kills_and_list_differences() -> None:
    differences = search_store.Differences()
    differences.add("trials lost", "trial 3")
    lines = tabulate("title", [Landed("worker", "trials")], differences).splitlines()
    assert {"| worker | 1 |", "| trials | 1 |", "| trials lost | 1 |", "trials lost: trial 3"} <= set(lines)


def test_search_killed_and_resumed_is_the_same_search(tmp_path: Path) -> None:
    """Equal to an uninterrupted one: trials, epochs, the winner, its weights."""
    command = [sys.executable, str(ROOT / "tools" / "search_faults.py"), "--trials=4", "--kills=3"]
    command += ["--who=search,worker,all", f"--json={tmp_path}/results"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=580)
    assert process.returncode == 0, process.stdout[-4000:] + process.stderr[-2000:]
    results = json.loads((tmp_path / "results").read_text())
    assert {"search", "worker"} <= set(results["landed"])  # the winner may be registered before the last kill
    assert set(results["counts"].values()) == {0}
