"""Resume in this process, on tiny reviews, each test with its own store."""

import hashlib
import json
import math
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run

from helpers import fresh
from helpers.resuming import (
    ARGUMENTS,
    assert_same_run,
    break_off,
    folder,
    holding,
    last_epoch,
    metrics,
    resume,
    unended,
)
from helpers.reviews import TINY
from helpers.runs import SignalAfter, last_run, points, run_train, table, versions
from helpers.verbs import train
from imdb_conv1d import dataset, networks, sources
from imdb_conv1d.experiment import EXPERIMENT
from imdb_conv1d.ids import EncodedPart
from imdb_conv1d.parameters import TrainParameters
from tracked import __version__
from tracked.console.errors import Interrupted, RunFailed, UserError
from tracked.console.signals import Signals
from tracked.models import publisher
from tracked.resume import close, training_status
from tracked.runs import connection, run_parameters
from tracked.training import epoch_recorder, journal, reproducibility, snapshot_file
from tracked.training.holder import Holder
from tracked.training.snapshots import Snapshots

SUMMARY = {"stopped_epoch", "best_epoch", "best_val_loss"}


def test_resume_after_interruptions_continues_the_same_run(
    store: str, noisy: Path, straight: dict[str, dict[int, float]]
) -> None:
    run = break_off(noisy, 2)
    assert set(run.data.metrics) & SUMMARY == set()
    with pytest.raises(Interrupted):
        resume("--resume=latest", signals=SignalAfter(4))
    resume("--resume", run.info.run_id)
    assert_same_run(run, straight)
    assert len(mlflow.search_runs(["0"], output_format="list")) == 1
    assert mlflow.get_run(run.info.run_id).data.tags["resumed"] == "after epoch 2, after epoch 3"
    assert mlflow.MlflowClient().get_model_version_by_alias("imdb-conv1d", "candidate").run_id == run.info.run_id


@pytest.mark.slow
def test_resume_without_an_epoch_restarts_under_the_run_id(
    store: str, noisy: Path, straight: dict[str, dict[int, float]]
) -> None:
    run = break_off(noisy, 0)
    resume("--resume=latest")
    assert_same_run(run, straight)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["0.0.1", None])
def test_resume_under_another_version_of_the_package_is_exact_and_warns_of_nothing(
    store: str,
    noisy: Path,
    straight: dict[str, dict[int, float]],
    capsys: pytest.CaptureFixture[str],
    version: str,
) -> None:
    """Earlier versions have no tag."""
    run, client = break_off(noisy, 2), mlflow.MlflowClient()
    assert run.data.tags["tracked_version"] == __version__
    client.delete_tag(run.info.run_id, "tracked_version")
    if version:
        client.set_tag(run.info.run_id, "tracked_version", version)
    capsys.readouterr()
    resume("--resume", run.info.run_id)
    printed = capsys.readouterr()
    line = f"tracked changed since the last attempt ('0.0.1' -> '{__version__}')\n"
    assert (line in printed.out) == bool(version)
    assert printed.err == ""
    assert_same_run(run, straight)
    assert mlflow.get_run(run.info.run_id).data.tags["tracked_version"] == __version__


@pytest.mark.slow
@pytest.mark.parametrize("kept", [True, False])
def test_resume_of_a_training_with_fused_layers_keeps_them(
    store: str, noisy: Path, straight: dict[str, dict[int, float]], monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    """Earlier versions used fused layers for narrower embeddings too."""
    with monkeypatch.context() as patch:
        patch.setattr(networks, "MIN_FUSED_WIDTH", 0)
        run_train(f"--data={noisy}", *ARGUMENTS)
        uninterrupted = metrics(last_run())
        run = break_off(noisy, 2)
    assert uninterrupted != straight
    assert run.data.tags["layers"] == "fused 2"
    if not kept:
        shutil.rmtree(folder(run))
    resume("--resume", run.info.run_id)
    assert mlflow.get_run(run.info.run_id).data.tags["layers"] == "fused 2"
    assert metrics(mlflow.get_run(run.info.run_id)) == uninterrupted


@pytest.mark.slow
def test_resume_of_a_training_with_former_layers_says_that_bits_may_differ(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = break_off(noisy, 2, "--embedding_dims=22", "--epochs=3")
    mlflow.MlflowClient().set_tag(run.info.run_id, "layers", "fused")
    capsys.readouterr()
    resume("--resume", run.info.run_id)
    line = "the layers changed since the last attempt ('fused' -> 'fused 2'): bits may differ\n"
    assert line in capsys.readouterr().out
    resumed = mlflow.get_run(run.info.run_id)
    assert (resumed.data.tags["layers"], resumed.info.status) == ("fused 2", "FINISHED")


@pytest.mark.slow
def test_resume_with_wide_embeddings_gives_equal_bits(store: str, noisy: Path) -> None:
    """With fused layers; the embeddings of the other tests are too narrow for them."""
    wide = ["--embedding_dims=22", "--epochs=4"]
    run_train(f"--data={noisy}", *wide)
    uninterrupted = metrics(last_run())
    run = break_off(noisy, 2, *wide)
    resume("--resume", run.info.run_id)
    resumed = mlflow.get_run(run.info.run_id)
    assert (resumed.data.tags["layers"], resumed.info.status) == ("fused 2", "FINISHED")
    assert metrics(resumed) == uninterrupted


@pytest.mark.slow
def test_resume_latest_takes_the_newest_dead_unfinished_training(
    store: str, noisy: Path, straight: dict[str, dict[int, float]]
) -> None:
    older = break_off(noisy, 1)
    newer = break_off(noisy, 1, "--epochs=3", "--seed=8")
    with holding(newer):
        resume("--resume=latest")
    assert_same_run(older, straight)
    resume("--resume=latest")
    assert mlflow.get_run(newer.info.run_id).data.tags["stop_reason"] == "epochs"
    with pytest.raises(UserError, match=r"^resume: no resumable run in experiment Default; start one without --resume"):
        resume("--resume=latest")


@pytest.mark.slow
def test_resume_of_a_held_training_is_refused_with_its_holder(
    store: str, noisy: Path, straight: dict[str, dict[int, float]]
) -> None:
    run = break_off(noisy, 1)
    with holding(run) as other:
        with pytest.raises(
            UserError,
            match=rf"^resume: run {run.info.run_id} is held by process {other.pid} "
            rf"on host {socket.gethostname()}, since 20.*; end that process first$",
        ):
            resume("--resume", run.info.run_id)
        other.send_signal(signal.SIGKILL)
        other.wait()
        resume("--resume", run.info.run_id)  # the lock of a dead process does not block
    assert_same_run(run, straight)


def test_resume_latest_tells_who_holds_the_only_unfinished_training(store: str, noisy: Path) -> None:
    run = break_off(noisy, 1)
    words = rf"^resume: no resumable run in experiment Default; .* run {run.info.run_id}, which is held by process "
    with holding(run) as other, pytest.raises(UserError, match=rf"{words}{other.pid} on host .*, or end that process$"):
        resume("--resume=latest")


@pytest.mark.slow
def test_resume_of_a_finished_run_is_refused(store: str, noisy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_train(f"--data={noisy}", "--epochs=1")
    run = last_run()
    with pytest.raises(UserError, match=rf"^resume: run {run.info.run_id} has finished \(version 1 is registered\)$"):
        resume("--resume", run.info.run_id)
    # Under mlflow run an error would mark the run as failed.
    monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
    run_train()
    assert mlflow.get_run(run.info.run_id).info.status == "FINISHED"
    assert len(versions()) == 1
    assert not folder(run).exists()


@pytest.mark.slow
def test_resume_of_a_registered_run_without_its_end_ends_it(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = unended(noisy)
    folder(run).mkdir()
    (folder(run) / "journal.jsonl").write_text("left by a process that died while it removed its folder")
    resume("--resume=latest")
    assert mlflow.get_run(run.info.run_id).info.status == "FINISHED"
    assert not folder(run).exists()
    assert "version 1 of imdb-conv1d is registered" in capsys.readouterr().out


def test_resume_after_a_loss_that_is_not_a_number_is_refused(store: str, noisy: Path) -> None:
    with pytest.raises(RunFailed):
        run_train(f"--data={noisy}", "--learning_rate=1e30", "--epochs=5")
    with pytest.raises(UserError, match="ended on a loss that is not a finite number; start a new training"):
        resume("--resume", last_run().info.run_id)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed=8"], r"seed: '8' is not allowed; allowed: 7, as run [0-9a-f]{32} has it"),
        (["--patience=2"], r"patience: '2' is not allowed; allowed: 3 or more, as run [0-9a-f]{32} has it"),
        (["--epochs=59"], r"epochs: '59' is not allowed; allowed: 60 or more, as run [0-9a-f]{32} has it"),
        (["--data=reviews"], r"data: 'reviews' is not allowed; allowed: /"),
        (["--fused=false"], r"fused: 'false' is not allowed; allowed: true, as run"),
    ],
)
def test_resume_with_another_parameter_value_is_refused_without_changes(
    store: str, noisy: Path, arguments: list[str], message: str
) -> None:
    run = break_off(noisy, 1)
    before = sorted(folder(run).iterdir())
    with pytest.raises(UserError, match=f"^{message}"):
        resume("--resume", run.info.run_id, *arguments)
    assert mlflow.get_run(run.info.run_id).info.status == "KILLED"
    assert sorted(folder(run).iterdir()) == before


@pytest.mark.slow
def test_resume_with_recorded_values_and_defaults_is_accepted(
    store: str, noisy: Path, straight: dict[str, dict[int, float]]
) -> None:
    run = break_off(noisy, 1)
    defaults = [f"--{name}={value}" for name, value in TrainParameters().as_strings().items()]
    resume("--resume", run.info.run_id, *defaults, *ARGUMENTS, f"--data={noisy}", *TINY)
    assert_same_run(run, straight)


@pytest.mark.slow
def test_resume_with_extended_epochs_and_patience_tags_the_run(
    store: str, noisy: Path, straight: dict[str, dict[int, float]]
) -> None:
    run = break_off(noisy, 1, "--patience=1", "--epochs=2")
    with pytest.raises(Interrupted):
        resume("--resume=latest", "--epochs=50", signals=SignalAfter(2))
    resume("--resume=latest", "--patience=3", "--epochs=60")
    resumed = mlflow.get_run(run.info.run_id)
    extended = json.loads(resumed.data.tags["raised"])
    # Earlier versions of the project read the sentence.
    sentence = re.findall(r"(\w+) to (\d+) after epoch", extended.pop("sentence"))
    assert {name: int(value) for name, value in sentence} == extended == {"epochs": 60, "patience": 3}
    assert resumed.data.tags["resumed"] == "after epoch 1, after epoch 1"
    assert run_parameters.read_parameters(resumed)["patience"] == "3"  # as replay and compare read it
    assert (resumed.data.params["patience"], resumed.data.params["epochs"]) == ("1", "2")
    assert_same_run(run, straight)


@pytest.mark.slow
def test_resume_of_a_stopped_training_with_extended_patience_trains_on(
    store: str, noisy: Path, straight: dict[str, dict[int, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(publisher, "store_model", lambda *_: (_ for _ in ()).throw(RunFailed("storing the model failed")))
        with pytest.raises(RunFailed, match="storing the model failed"):
            run_train(f"--data={noisy}", "--patience=1", "--epochs=60")
    run = last_run()
    assert run.data.tags["stop_reason"] == "patience"
    stopped = last_epoch(run)
    assert "stopped_epoch" not in run.data.metrics  # MLflow could not take it back
    resume("--resume", run.info.run_id, "--patience=3")
    run = mlflow.get_run(run.info.run_id)
    assert stopped < straight["stopped_epoch"][0]
    assert_same_run(run, straight)
    assert json.loads(run.data.tags["raised"])["patience"] == 3
    assert f"after epoch {stopped}" in run.data.tags["resumed"]


@pytest.mark.slow
def test_resume_after_a_failed_registration_registers_without_training(
    store: str, noisy: Path, straight: dict[str, dict[int, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise mlflow.MlflowException("not allowed", error_code=mlflow.exceptions.PERMISSION_DENIED)

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "set_registered_model_alias", refuse)
        with pytest.raises(RunFailed, match="moving the alias candidate to it failed"):
            run_train(f"--data={noisy}", *ARGUMENTS)
    run = last_run()
    assert run.data.tags["error"]
    monkeypatch.setattr(publisher, "store_model", refuse)  # the model is stored and registered already
    resume("--resume=latest")
    assert_same_run(run, straight)
    assert mlflow.MlflowClient().get_model_version_by_alias("imdb-conv1d", "candidate").version == 1


@pytest.mark.slow
def test_resume_of_an_older_run_leaves_the_alias_at_the_newer_version(
    store: str, noisy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(publisher, "find_registered", lambda *_: "")
        patch.setattr(mlflow.MlflowClient, "set_registered_model_alias", lambda *_: 1 / 0)
        patch.setattr(publisher.with_retries, "__defaults__", (connection.is_permanent_error, 0.1, (0.01,)))
        with pytest.raises(RunFailed):
            run_train(f"--data={noisy}", "--epochs=1")
    older = last_run()
    run_train(f"--data={noisy}", "--epochs=1", "--seed=8")
    resume("--resume", older.info.run_id)
    assert mlflow.MlflowClient().get_model_version_by_alias("imdb-conv1d", "candidate").version == 2
    assert mlflow.get_run(older.info.run_id).data.tags["registered_version"] == "1"


def change_data(path: Path) -> None:
    """Change a word and all labels: one epoch does not unlearn the former ones, so the second epoch stays the best."""
    reviews = pd.read_csv(path)
    reviews["text"] = reviews["text"].str.replace("film", "another kind of movie")
    reviews["label"] = 1 - reviews["label"]
    reviews.to_csv(path, index=False)


def state(run: Run) -> tuple[object, ...]:
    """All that the store has of a run, and its run folder's files."""
    resumed, client = mlflow.get_run(run.info.run_id), mlflow.MlflowClient()
    files = {path.name: path.read_bytes() for path in folder(run).glob("*") if path.is_file() and path.name != "lock"}
    listed = sorted((item.path, item.file_size) for item in client.list_artifacts(run.info.run_id))
    return resumed.info.status, resumed.info.end_time, resumed.data.tags, resumed.data.metrics, listed, files


@pytest.mark.slow
@pytest.mark.parametrize("known_by", ["tag", "newest snapshot", "older snapshot"])
def test_resume_on_changed_data_is_refused_before_anything_changes(
    store: str,
    noisy: Path,
    tmp_path: Path,
    straight: dict[str, dict[int, float]],
    capsys: pytest.CaptureFixture[str],
    known_by: str,
) -> None:
    own = Path(shutil.copy(noisy, tmp_path / "own.csv"))
    run = break_off(own, 2)
    digest = run.data.tags["data_digest"]
    if known_by != "tag":
        mlflow.MlflowClient().delete_tag(run.info.run_id, "data_digest")  # as if the server had been away
    if known_by == "older snapshot":
        (newest,) = folder(run).glob("epoch-2-*.npz")
        truncate(newest)
    before, content = state(run), own.read_text()
    change_data(own)
    now = dataset.load(sources.resolve(str(own)), 0.2).digest
    for _ in range(2):
        with pytest.raises(UserError) as refused:
            resume("--resume", run.info.run_id)
        assert str(refused.value) == (
            f"data: {own} changed since run {run.info.run_id} was trained on it "
            f"(digest {digest[:12]} -> {now[:12]}); "
            "restore the data, or start a new training without --resume or --run-id"
        )
        assert state(run) == before
    assert "unusable" not in capsys.readouterr().err
    assert not getattr(refused.value, "__notes__", [])  # no command to resume
    own.write_text(content)
    resume("--resume", run.info.run_id)
    assert_same_run(run, straight)


def test_resume_on_changed_data_under_mlflow_run_is_refused(
    store: str, noisy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path(shutil.copy(noisy, tmp_path / "own.csv"))
    created = mlflow.MlflowClient().create_run("0", tags={"mlflow.project.entryPoint": "main"})
    monkeypatch.setenv("MLFLOW_RUN_ID", created.info.run_id)
    with pytest.raises(Interrupted):
        run_train(f"--data={own}", signals=SignalAfter(4))
    before = state(created)
    change_data(own)
    monkeypatch.setenv("MLFLOW_RUN_ID", created.info.run_id)
    with pytest.raises(UserError, match=r"^data: .* changed since run .*\(digest"):
        run_train(f"--data={own}")
    assert state(created) == before


@pytest.mark.slow
def test_resume_on_data_in_another_order_gives_the_same_run(
    store: str, noisy: Path, tmp_path: Path, straight: dict[str, dict[int, float]]
) -> None:
    own = Path(shutil.copy(noisy, tmp_path / "own.csv"))
    run = break_off(own, 2)
    pd.read_csv(own)[::-1].to_csv(own, index=False)
    resume("--resume=latest")
    assert_same_run(run, straight)


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the metadata of a snapshot's file."""
    epoch = int(path.name.split("-")[1])
    snapshot = snapshot_file.unpack(epoch, path)
    metadata = {name: value for name, value in snapshot.metadata.items() if name not in ("format", "epoch")}
    change(metadata)
    content = snapshot_file.pack(snapshot_file.Snapshot(epoch, metadata, snapshot.arrays))
    path.unlink()
    path.with_name(f"epoch-{epoch}-{hashlib.sha256(content).hexdigest()}.npz").write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda metadata: metadata["facts"].update(data="a" * 64),
            r"^epoch 3 was trained on other data \(digest a{12} -> ",
        ),
        (
            lambda metadata: metadata["checkpoint"].update(data="a" * 64),
            r"^the best epoch, 2, was chosen on other data \(d",
        ),
    ],
)
def test_resume_from_a_snapshot_of_other_data_is_refused(
    store: str, noisy: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    """An earlier version resumed with changed data and tagged the run with them."""
    run = break_off(noisy, 3)
    for path in list(folder(run).glob("epoch-*.npz")):
        rewrite(path, change)
    _, _, tags, metrics, artifacts, files = state(run)
    for _ in range(2):
        with pytest.raises(RunFailed, match=message) as refused:
            resume("--resume", run.info.run_id)
        assert "\n" not in str(refused.value)
        assert not getattr(refused.value, "__notes__", [])
    resumed = mlflow.get_run(run.info.run_id)
    assert (resumed.info.status, resumed.data.tags["stop_reason"], versions()) == ("FAILED", "other_history", [])
    assert resumed.data.tags["mlflow.note.content"] == tags["mlflow.note.content"]
    assert state(run)[3:5] == (metrics, artifacts)
    assert {name: state(run)[5][name] for name in files if name != "attempts"} == {
        name: content for name, content in files.items() if name != "attempts"
    }


@pytest.mark.slow
def test_snapshot_metadata_have_the_keys_of_format_1(store: str, noisy: Path) -> None:
    run = break_off(noisy, 3)
    digest = run.data.tags["data_digest"]
    for path in folder(run).glob("epoch-*.npz"):
        metadata = snapshot_file.unpack(int(path.name.split("-")[1]), path).metadata
        assert list(metadata) == ["format", "epoch", "journal", "checkpoint", "random", "facts"]
        assert list(metadata["checkpoint"]) == ["epoch", "value", "sha256", "data"]
        assert metadata["checkpoint"]["data"] == metadata["facts"]["data"] == digest


def change_machine(patch: pytest.MonkeyPatch) -> None:
    machine = reproducibility.describe_machine()
    patch.setattr(reproducibility, "describe_machine", lambda: machine | {"cpu": "another one"})


def change_versions(patch: pytest.MonkeyPatch) -> None:
    versions = reproducibility.package_versions()
    patch.setattr(reproducibility, "package_versions", lambda: versions | {"tensorflow": "3.0"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message", "value"),
    [
        (change_machine, "cpu changed since the last snapshot ('", "another one"),
        (change_versions, "tensorflow changed since the last snapshot ('2.", "3.0"),
    ],
)
def test_resume_with_a_changed_machine_or_package_warns_and_finishes(
    store: str,
    noisy: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[pytest.MonkeyPatch], None],
    message: str,
    value: str,
) -> None:
    run = break_off(noisy, 2, "--epochs=3")
    change(monkeypatch)
    capsys.readouterr()
    resume("--resume", run.info.run_id)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "last bits" in line]
    assert line.startswith(message)
    assert line.endswith(f" -> {value!r}): results may differ in the last bits")
    resumed = mlflow.get_run(run.info.run_id)
    assert list(points(resumed, "val_loss")) == [1, 2, 3]
    assert resumed.info.status == "FINISHED"
    assert ("cpu another one" in resumed.data.tags["machine"]) == (change is change_machine)
    assert ("tensorflow 3.0" in resumed.data.tags["versions"]) == (change is change_versions)


def nudge(patch: pytest.MonkeyPatch, epoch: int) -> None:
    """Raise the losses from an epoch on by their last bit, as on another machine."""
    original = epoch_recorder.HistoryCheck.on_epoch_end

    def on_epoch_end(self: epoch_recorder.HistoryCheck, number: int, logs: dict[str, float]) -> None:
        if number + 1 >= epoch:
            logs["val_loss"] = math.nextafter(logs["val_loss"], 1)
        original(self, number, logs)

    patch.setattr(epoch_recorder.HistoryCheck, "on_epoch_end", on_epoch_end)


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, 2])
@pytest.mark.parametrize("change", [change_machine, None])
def test_resume_with_an_epoch_that_differs_from_the_logged_one_fails(
    store: str,
    noisy: Path,
    straight: dict[str, dict[int, float]],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[pytest.MonkeyPatch], None] | None,
    epoch: int,
) -> None:
    run = break_off(noisy, 3)
    _, _, tags, _, artifacts, _ = state(run)
    before, seconds = metrics(run), points(run, "epoch_seconds")
    shutil.rmtree(folder(run))
    old = straight["val_loss"][epoch]
    for _ in range(2):
        with monkeypatch.context() as patch:
            nudge(patch, epoch)
            if change:
                change(patch)
            with pytest.raises(RunFailed) as failed:
                resume("--resume", run.info.run_id)
        text = str(failed.value)
        assert text.startswith(
            f"epoch {epoch} differs from its logged metrics (val_loss {old!r} -> {math.nextafter(old, 1)!r})"
        )
        cause = r"changed since then: cpu '.+' -> 'another one'" if change else "the cause is not known"
        kept = "the run keeps its epochs and its checkpoint; start a new training without"
        assert re.search(rf"\); {cause}; {kept}", text)
        assert "\n" not in text
        assert not getattr(failed.value, "__notes__", [])  # no command: a resume would fail again
        resumed = mlflow.get_run(run.info.run_id)
        assert (metrics(resumed), points(resumed, "epoch_seconds")) == (before, seconds)
        assert (resumed.info.status, resumed.data.tags["stop_reason"], versions()) == ("FAILED", "other_history", [])
        with pytest.raises(UserError, match="no resumable run in experiment"):
            resume("--resume", "latest")  # it would differ again
        same = ("mlflow.note.content", "machine", "versions", "data_digest", "layers")
        assert {name: resumed.data.tags[name] for name in same} == {name: tags[name] for name in same}
        assert state(run)[4] == artifacts
        assert last_epoch(run) == epoch - 1
        assert not (folder(run) / f"best-{epoch}.keras").exists()  # the epoch is not the run's
        assert [entry.epoch for entry in journal.read(folder(run) / "journal.jsonl")] == list(range(1, epoch))
    resume("--resume", run.info.run_id)  # with equal bits again
    assert_same_run(run, straight)


def test_resume_from_a_snapshot_with_other_epochs_than_the_runs_is_refused(store: str, noisy: Path) -> None:
    """As if the training had been resumed elsewhere."""
    run = break_off(noisy, 2)
    client = mlflow.MlflowClient()
    (point,) = (point for point in client.get_metric_history(run.info.run_id, "loss") if point.step == 2)
    other = client.create_run("0", tags=run.data.tags)
    for name, values in metrics(run).items():
        for step, value in values.items():
            changed = value + 0.25 if (name, step) == ("loss", 2) else value
            client.log_metric(other.info.run_id, name, changed, timestamp=point.timestamp, step=step)
    folder(run).rename(folder(other))
    with pytest.raises(RunFailed, match=r"^epoch 2 differs from its logged metrics \(loss [\d.]+ -> [\d.]+\); "):
        resume("--resume", other.info.run_id)
    assert points(other, "loss")[2] == point.value + 0.25
    assert versions() == []


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replace_by_a_pickle(path: Path) -> None:
    import hashlib
    import io

    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(path.parent.parent / "mark"),)

    file = io.BytesIO()
    np.savez(file, facts=np.array([Bomb()], dtype=object))
    content = file.getvalue()
    path.unlink()
    path.with_name(f"epoch-3-{hashlib.sha256(content).hexdigest()}.npz").write_bytes(content)


def change_format(path: Path) -> None:
    snapshot = snapshot_file.unpack(3, path)
    path.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot_file, "FORMAT", 2)
        metadata = {name: value for name, value in snapshot.metadata.items() if name not in ("format", "epoch")}
        copy = snapshot_file.Snapshot(3, metadata, snapshot.arrays)
        Snapshots(path.parent, lambda metadata: ["best-2.keras"]).write(copy)


def change_network(path: Path) -> None:
    snapshot = snapshot_file.unpack(3, path)
    path.unlink()
    arrays = [*snapshot.arrays[:-1], np.zeros(3, np.float32)]
    metadata = {name: value for name, value in snapshot.metadata.items() if name not in ("format", "epoch")}
    Snapshots(path.parent, lambda metadata: ["best-2.keras"]).write(snapshot_file.Snapshot(3, metadata, arrays))


@pytest.mark.slow
def test_resume_from_an_intact_snapshot_of_another_network_is_refused_and_keeps_it(store: str, noisy: Path) -> None:
    """An earlier snapshot would not fit either, and this one would be set aside."""
    run = break_off(noisy, 3)
    (newest,) = folder(run).glob("epoch-3-*.npz")
    change_network(newest)
    before, kept = metrics(run), {path.name for path in folder(run).iterdir()}
    for _ in range(2):
        with pytest.raises(RunFailed) as refused:
            resume("--resume", run.info.run_id)
        assert str(refused.value) == (
            "the snapshot of epoch 3 does not fit (the state belongs to another network ((3,) -> (1,))); "
            "the run keeps its epochs and its checkpoint; start a new training without --resume or --run-id"
        )
        assert not getattr(refused.value, "__notes__", [])
    resumed = mlflow.get_run(run.info.run_id)
    assert (resumed.info.status, resumed.data.tags["stop_reason"], versions()) == ("FAILED", "other_history", [])
    assert metrics(resumed) == before
    assert {path.name for path in folder(run).iterdir()} == kept


@pytest.mark.slow
@pytest.mark.parametrize("damage", [truncate, flip_a_bit, replace_by_a_pickle, change_format])
def test_resume_with_an_unusable_snapshot_uses_the_one_before_and_logs_once(
    store: str,
    noisy: Path,
    straight: dict[str, dict[int, float]],
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], None],
) -> None:
    run = break_off(noisy, 3)
    before = mlflow.MlflowClient().get_metric_history(run.info.run_id, "epoch_seconds")
    (newest,) = folder(run).glob("epoch-3-*.npz")
    damage(newest)
    capsys.readouterr()
    resume("--resume=latest")
    printed = capsys.readouterr()
    assert "the snapshot of epoch 3 is unusable" in printed.err
    assert "resuming after epoch 2" in printed.out
    assert_same_run(run, straight)
    # The third epoch was trained again and keeps its first time and seconds.
    after = mlflow.MlflowClient().get_metric_history(run.info.run_id, "epoch_seconds")
    assert [(point.step, point.timestamp, point.value) for point in after[:3]] == [
        (point.step, point.timestamp, point.value) for point in before
    ]
    assert not (folder(run).parent / "mark").exists()


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["folder", "both snapshots", "journal", "checkpoint"])
def test_resume_without_a_usable_snapshot_restarts_at_epoch_1_and_logs_once(
    store: str,
    noisy: Path,
    straight: dict[str, dict[int, float]],
    capsys: pytest.CaptureFixture[str],
    lost: str,
) -> None:
    run = break_off(noisy, 3)
    run_folder = folder(run)
    if lost == "folder":
        shutil.rmtree(run_folder)
    elif lost == "both snapshots":
        for path in run_folder.glob("epoch-*"):
            truncate(path)
    elif lost == "journal":
        flip_a_bit(run_folder / "journal.jsonl")
    else:
        for path in run_folder.glob("best-*"):
            flip_a_bit(path)
    resume("--resume=latest")
    assert "resuming after epoch 0" in capsys.readouterr().out
    assert_same_run(run, straight)


@pytest.mark.slow
def test_training_whose_folder_is_removed_fails_and_can_be_resumed(
    store: str, noisy: Path, straight: dict[str, dict[int, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Snapshots.write

    def remove(self: Snapshots, snapshot: snapshot_file.Snapshot) -> None:
        write(self, snapshot)
        if snapshot.epoch == 2:
            shutil.rmtree(self.folder)

    with monkeypatch.context() as patch:
        patch.setattr(Snapshots, "write", remove)
        with pytest.raises(RunFailed, match=r"epoch 3 cannot be written to .*No such file or directory"):
            run_train(f"--data={noisy}", *ARGUMENTS)
    run = last_run()
    assert (run.info.status, run.data.tags["stop_reason"]) == ("FAILED", "error")
    resume("--resume=latest")
    assert_same_run(run, straight)


@pytest.mark.slow
def test_resume_after_a_clock_set_back_keeps_times_in_order(
    store: str, noisy: Path, straight: dict[str, dict[int, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = break_off(noisy, 2)
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() - 3_600 * 10**9)
    monkeypatch.setattr(time, "time", lambda: now() / 1e9 - 3600)
    resume("--resume=latest")
    assert epoch_recorder.time is time
    assert_same_run(run, straight)  # checks the order of times
    resumed = mlflow.get_run(run.info.run_id)
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "val_loss")
    assert resumed.info.start_time < history[-1].timestamp <= resumed.info.end_time


@pytest.mark.slow
def test_unused_run_of_mlflow_run_is_trained_with_its_recorded_parameters(
    store: str, noisy: Path, straight: dict[str, dict[int, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the process of mlflow run had been killed during its imports, and mlflow run --run-id started it again."""
    client, parameters = mlflow.MlflowClient(), TrainParameters.parse([*TINY, *ARGUMENTS, f"--data={noisy}"])
    created = client.create_run("0", tags={"mlflow.project.entryPoint": "main", "mlflow.project.env": "uv"})
    for name, value in parameters.as_strings().items():
        client.log_param(created.info.run_id, name, value)
    monkeypatch.setenv("MLFLOW_RUN_ID", created.info.run_id)
    defaults = [f"--{name}={value}" for name, value in TrainParameters().as_strings().items()]
    train.main(defaults, Signals())
    assert_same_run(created, straight)
    assert "resumed" not in mlflow.get_run(created.info.run_id).data.tags


@pytest.mark.slow
def test_interruption_under_mlflow_run_names_mlflow_run_as_the_command(
    store: str, noisy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = mlflow.MlflowClient()
    created = client.create_run("0", tags={"mlflow.project.entryPoint": "main", "mlflow.project.env": "uv"})
    monkeypatch.setenv("MLFLOW_RUN_ID", created.info.run_id)
    with pytest.raises(Interrupted) as interruption:
        run_train(f"--data={noisy}", signals=SignalAfter(4))
    assert interruption.value.__notes__ == [
        f"to resume: mlflow run {Path.cwd()} --run-id {created.info.run_id} --env-manager uv"
    ]
    monkeypatch.setenv("MLFLOW_RUN_ID", created.info.run_id)
    with pytest.raises(UserError, match=r"resume: 'latest' is not allowed; allowed: no under mlflow run: mlflow run"):
        resume("--resume=latest")


def test_resume_of_another_verbs_run_is_refused(store: str, noisy: Path) -> None:
    created = mlflow.MlflowClient().create_run("0", tags={"verb": "evaluate"})
    with pytest.raises(UserError, match=r"is not a training \(tag verb=evaluate\)"):
        resume("--resume", created.info.run_id)
    with pytest.raises(UserError, match="resume: 'nowhere' cannot be found"):
        resume("--resume=nowhere")


def test_resume_of_a_run_with_invalid_parameters_is_refused(store: str) -> None:
    created = mlflow.MlflowClient().create_run("0", tags={"verb": "train"})
    mlflow.MlflowClient().log_param(created.info.run_id, "patience", "a while")
    with pytest.raises(UserError, match=r"^resume: run \w+ has an invalid parameter \(patience: "):
        resume("--resume", created.info.run_id)


@pytest.mark.slow
def test_resume_of_a_training_on_another_host_is_refused(
    store: str, noisy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = break_off(noisy, 1)
    client, run_folder = mlflow.MlflowClient(), folder(run)
    launch = json.loads(run.data.tags["launch"]) | {"host": "elsewhere", "snapshots": "/there", "token": "another"}
    client.set_tag(run.info.run_id, "launch", json.dumps(launch))
    client.update_run(run.info.run_id, status="RUNNING")
    run_folder.rename(run_folder.with_name("aside"))
    client.delete_tag(run.info.run_id, "stop_reason")
    message = r"runs or died on host elsewhere: resume it there \(snapshots in /there\); if that host is gone, close"
    with pytest.raises(UserError, match=message):
        resume("--resume", run.info.run_id)
    client.update_run(run.info.run_id, status="FAILED")  # as mlflow run leaves it after that refusal
    with pytest.raises(UserError, match=message):
        resume("--resume", run.info.run_id)
    with pytest.raises(UserError, match="no resumable run in experiment"):
        resume("--resume=latest")
    # With a folder of an earlier attempt on this host; the last attempt's is on the other host.
    run_folder.with_name("aside").rename(run_folder)
    with pytest.raises(UserError, match=message):
        resume("--resume", run.info.run_id)
    # On a disk that both hosts see, the folder has the token of the other host's attempt, and the lock is free.
    with (run_folder / "attempts").open("a") as file:
        file.write("another\n")
    with pytest.raises(UserError, match=r"^seed: '8' is not allowed"):
        resume("--resume", run.info.run_id, "--seed=8")  # the run stays resumable here
    resume("--resume=latest")
    assert mlflow.get_run(run.info.run_id).info.status == "FINISHED"


@pytest.mark.slow
def test_resume_after_a_change_of_the_setting_finds_the_former_folder(
    store: str,
    noisy: Path,
    straight: dict[str, dict[int, float]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = break_off(noisy, 1)
    assert folder(run).parent == tmp_path / "snapshots"
    monkeypatch.setenv("IMDB_CONV1D_SNAPSHOTS", str(tmp_path / "elsewhere"))
    with pytest.raises(Interrupted):
        resume("--resume=latest", signals=SignalAfter(2))  # in the former folder
    shutil.move(tmp_path / "snapshots" / run.info.run_id, tmp_path / "elsewhere" / run.info.run_id)
    assert last_epoch(run) == 1
    resume("--resume=latest")
    assert_same_run(run, straight)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["finishes", "is closed"])
def test_folder_under_another_setting_is_found_and_removed_at_the_end(
    store: str,
    noisy: Path,
    straight: dict[str, dict[int, float]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ending: str,
) -> None:
    monkeypatch.setenv("IMDB_CONV1D_SNAPSHOTS", str(tmp_path / "elsewhere"))
    run = break_off(noisy, 2)
    monkeypatch.delenv("IMDB_CONV1D_SNAPSHOTS")
    run_folder = tmp_path / "elsewhere" / run.info.run_id
    assert training_status.find_folder(EXPERIMENT, run) == run_folder
    (run_folder / "notes.txt").write_text("mine")
    if ending == "is closed":
        assert "closed " in close.close_run(EXPERIMENT, training_status.inspect_run(EXPERIMENT, run))
    else:
        resume("--resume=latest")
        assert_same_run(run, straight)
        assert mlflow.get_run(run.info.run_id).data.tags["resumed"] == "after epoch 2"
    assert [path.name for path in run_folder.iterdir()] == ["notes.txt"]
    assert not folder(run).exists()


def test_train_with_an_unwritable_setting_is_refused_without_a_run(
    store: str, noisy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IMDB_CONV1D_SNAPSHOTS", str(tmp_path / "file" / "snapshots"))
    with pytest.raises(UserError, match=r"^IMDB_CONV1D_SNAPSHOTS: '.*' is not writable \(.*Not a directory"):
        run_train(f"--data={noisy}")
    assert mlflow.search_runs(["0"], output_format="list") == []


def tiny_trainee(*arguments: str) -> networks.NetworkTrainee:
    parameters = TrainParameters.parse([*TINY, *arguments])
    rows = EncodedPart.from_padded(np.ones((4, 20), np.int32)), np.arange(4, dtype=np.float32) % 2
    return networks.NetworkTrainee(networks.build(parameters), parameters, rows, rows)


@pytest.mark.slow
def test_restored_state_repeats_the_next_steps() -> None:
    """Weights, the dropouts' random states, the optimizer: equal states give equal steps."""
    reproducibility.make_repeatable(7)
    ids, labels = np.random.default_rng(1).integers(0, 50, (16, 20)), np.arange(16) % 2
    first = tiny_trainee()
    first.model.train_on_batch(ids, labels)
    state, randoms = first.state(), reproducibility.get_random_states()
    assert len(state) == len(first.model.variables) + len(first.model.optimizer.variables)
    assert sum(array.shape == (2,) for array in state) == 2  # random states, one a dropout
    drawn = random.random(), np.random.random()
    after = [first.model.train_on_batch(ids, labels)[0] for _ in range(3)]
    second = tiny_trainee()
    second.model.train_on_batch(ids, labels)
    second.restore(state)
    reproducibility.restore_random_states(json.loads(json.dumps(randoms)))
    assert [second.model.train_on_batch(ids, labels)[0] for _ in range(3)] == after
    assert (random.random(), np.random.random()) == drawn
    for array, other in zip(first.state(), second.state(), strict=True):
        assert array.tobytes() == other.tobytes()


def test_restore_of_another_networks_state_changes_nothing() -> None:
    reproducibility.make_repeatable(7)
    trainee = tiny_trainee()
    before = trainee.state()
    other = tiny_trainee("--filters=9").state()
    with pytest.raises(ValueError, match="the state belongs to another network"):
        trainee.restore(other)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(before, trainee.state(), strict=True))


def test_holder_without_a_process_is_dead() -> None:
    assert not Holder(os.getpid(), socket.gethostname(), "").is_dead
    assert not Holder(2**22 - 3, "elsewhere", "").is_dead
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert Holder(gone.pid, socket.gethostname(), "").is_dead


@pytest.mark.slow
def test_resume_with_extended_epochs_after_registration_is_refused(
    store: str, noisy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version's best epoch would differ from the run's."""
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "set_registered_model_alias", lambda *_: 1 / 0)
        patch.setattr(publisher.with_retries, "__defaults__", (connection.is_permanent_error, 0.1, (0.01,)))
        with pytest.raises(RunFailed):
            run_train(f"--data={noisy}", "--epochs=1")
    with pytest.raises(UserError, match=r"^epochs: '8' is not allowed; allowed: 1, since run [0-9a-f]{32} has a"):
        resume("--resume=latest", "--epochs=8")
    resume("--resume=latest")
    assert [version.tags["best_epoch"] for version in versions()] == ["1"]


@pytest.mark.slow
def test_resume_with_a_default_that_differs_from_the_run_warns(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = break_off(noisy, 1, "--epochs=2", "--patience=3")
    resume("--resume", run.info.run_id, "--patience=30", "--seed=7")
    lines = capsys.readouterr().err.splitlines()
    assert "patience: the default, 30, counts as not given; the run's value, 3, is used" in lines
    assert not [line for line in lines if line.startswith("seed")]


@pytest.mark.slow
def test_resume_tags_the_run_with_its_own_process(store: str, noisy: Path, tmp_path: Path) -> None:
    run = break_off(noisy, 1)
    first = run_parameters.read_launch(run)
    assert (first["pid"], first["snapshots"]) == (os.getpid(), str(tmp_path / "snapshots"))
    mlflow.MlflowClient().set_tag(run.info.run_id, "launch", json.dumps(first | {"pid": 1, "host": "there"}))
    with pytest.raises(Interrupted):
        resume("--resume", run.info.run_id, signals=SignalAfter(2))
    second = run_parameters.read_launch(mlflow.get_run(run.info.run_id))
    assert (second["pid"], second["host"]) == (os.getpid(), socket.gethostname())
    assert second["parameters"] == first["parameters"]


@pytest.mark.slow
def test_resume_interrupted_before_the_restore_leaves_the_report(
    store: str, noisy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = break_off(noisy, 2)
    before = mlflow.get_run(run.info.run_id).data.tags["mlflow.note.content"]
    monkeypatch.setattr("imdb_conv1d.ids.encode_parts", lambda *_: (_ for _ in ()).throw(Interrupted(signal.SIGTERM)))
    with pytest.raises(Interrupted):
        resume("--resume=latest")
    run = mlflow.get_run(run.info.run_id)
    assert run.data.tags["mlflow.note.content"] == before
    assert list(table(run, "early_stopping.csv")["epoch"]) == [1, 2]
    assert (run.info.status, run.data.tags["stop_reason"]) == ("KILLED", "interrupted")


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_full_disk_fails_the_training_and_the_report_lacks_the_epoch(
    store: str, noisy: Path, straight: dict[str, dict[int, float]], monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    """The second epoch is the best; its checkpoint is written before its snapshot fails."""
    write = Snapshots.write

    def full(self: Snapshots, snapshot: snapshot_file.Snapshot) -> None:
        if snapshot.epoch == epoch:
            raise OSError(28, "No space left on device")
        write(self, snapshot)

    with monkeypatch.context() as patch:
        patch.setattr(Snapshots, "write", full)
        with pytest.raises(
            RunFailed, match=rf"^epoch {epoch} cannot be written to .*No space left on device\)"
        ) as failure:
            run_train(f"--data={noisy}", *ARGUMENTS)
    run = last_run()
    assert failure.value.__notes__[-1].endswith(f"--resume {run.info.run_id}")
    assert (run.info.status, run.data.tags["stop_reason"]) == ("FAILED", "error")
    assert "No space left" in run.data.tags["error"]
    assert f"nded after epoch {epoch - 1}: an error." in run.data.tags["mlflow.note.content"]
    assert ("Best epoch 1:" in run.data.tags["mlflow.note.content"]) == (epoch == 2)
    assert len(table(run, "early_stopping.csv")) == epoch - 1
    assert set(points(run, "val_loss") if epoch > 1 else {}) == set(range(1, epoch))
    resume("--resume=latest")
    assert_same_run(run, straight)


def rows_of(run: Run) -> pd.DataFrame:
    path = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="data/rows.parquet")
    return pd.read_parquet(path).set_index("hash")


def test_resume_of_a_deleted_run_is_refused(store: str, noisy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    created = mlflow.MlflowClient().create_run("0")
    mlflow.MlflowClient().delete_run(created.info.run_id)
    monkeypatch.setenv("MLFLOW_RUN_ID", created.info.run_id)
    with pytest.raises(UserError, match="MLFLOW_RUN_ID: no run can begin, as there is no run"):
        run_train(f"--data={noisy}")
    monkeypatch.delenv("MLFLOW_RUN_ID")
    with pytest.raises(UserError, match=r"resume: .* a run that is not deleted"):
        resume("--resume", created.info.run_id)


@pytest.mark.slow
def test_second_version_of_a_late_call_is_removed(store: str, noisy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client gives up a call and retries, and then the first call takes effect as well."""
    create, calls = mlflow.MlflowClient.create_model_version, []

    def late(self: mlflow.MlflowClient, *arguments: Any, **named: Any) -> Any:
        calls.append((arguments, named))
        if len(calls) == 1:
            raise TimeoutError("timed out")
        version = create(self, *arguments, **named)
        first, rest = calls[0]
        create(self, *first, **rest)
        return version

    monkeypatch.setattr(mlflow.MlflowClient, "create_model_version", late)
    run_train(f"--data={noisy}", "--epochs=1")
    assert [version.version for version in versions()] == [1]


@pytest.mark.slow
def test_resume_beyond_the_stop_fails(store: str, noisy: Path) -> None:
    """As if the tag of the extended patience had been deleted."""
    run = break_off(noisy, 4)
    launch = run_parameters.read_launch(run)
    launch["parameters"]["patience"] = "0"
    mlflow.MlflowClient().set_tag(run.info.run_id, "launch", json.dumps(launch))
    with pytest.raises(RunFailed, match=r"stopped at epoch \d: no epoch follows"):
        resume("--resume=latest")


@pytest.mark.slow
def test_resume_with_extended_patience_after_a_failed_registration_logs_totals_once(
    store: str, noisy: Path, straight: dict[str, dict[int, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **named: Any) -> None:
        raise mlflow.MlflowException("not allowed", error_code=mlflow.exceptions.PERMISSION_DENIED)

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "create_model_version", refuse)
        with pytest.raises(RunFailed, match=r"model_name: .* may not add a version to .imdb-conv1d. \(403\)"):
            run_train(f"--data={noisy}", "--patience=1", "--epochs=60")
    run = last_run()
    resume("--resume=latest", "--patience=3")
    assert_same_run(run, straight)


@pytest.mark.slow
def test_unused_run_of_mlflow_run_with_extended_patience_is_tagged(
    store: str, noisy: Path, straight: dict[str, dict[int, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, parameters = mlflow.MlflowClient(), TrainParameters.parse([*TINY, "--patience=1", f"--data={noisy}"])
    created = client.create_run("0", tags={"mlflow.project.entryPoint": "main"})
    for name, value in parameters.as_strings().items():
        client.log_param(created.info.run_id, name, value)
    monkeypatch.setenv("MLFLOW_RUN_ID", created.info.run_id)
    with pytest.raises(Interrupted):
        train.main(["--patience=3"], SignalAfter(6))
    assert mlflow.get_run(created.info.run_id).data.tags["raised"].startswith('{"patience": 3, ')
    resume("--resume", created.info.run_id)
    run = mlflow.get_run(created.info.run_id)
    assert points(run, "val_loss") == straight["val_loss"]
    assert run.data.params["patience"] == "1"


@pytest.mark.slow
def test_resume_of_a_run_with_other_metrics_ignores_them(
    store: str, noisy: Path, straight: dict[str, dict[int, float]], capsys: pytest.CaptureFixture[str]
) -> None:
    """MLflow's system metrics count their own steps."""
    run = break_off(noisy, 1)
    for step in range(1, 9):
        mlflow.MlflowClient().log_metric(run.info.run_id, "system/cpu", 0.5, timestamp=step, step=step)
    resume("--resume=latest")
    assert "differs from its logged metrics" not in capsys.readouterr().err
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "val_loss")
    assert min(point.timestamp for point in history) > 10**12
    assert {point.step: point.value for point in history} == straight["val_loss"]


def test_resume_of_another_projects_run_is_refused(store: str) -> None:
    for tags in ({}, {"mlflow.project.entryPoint": "evaluate"}):
        created = mlflow.MlflowClient().create_run("0", tags=tags)
        with pytest.raises(UserError, match="is not a training of this project"):
            resume("--resume", created.info.run_id)


@pytest.mark.slow
@pytest.mark.parametrize("launch", ["5", "no JSON", '{"parameters": "x"}', '{"snapshots": 1}', "[]"])
def test_resume_with_an_invalid_launch_tag_ignores_it(store: str, noisy: Path, launch: str) -> None:
    run = break_off(noisy, 1, "--epochs=2")
    mlflow.MlflowClient().set_tag(run.info.run_id, "launch", launch)
    resume("--resume=latest")
    assert mlflow.get_run(run.info.run_id).info.status == "FINISHED"


@pytest.mark.slow
def test_resume_with_damaged_rows_writes_them_again(store: str, noisy: Path) -> None:
    run = break_off(noisy, 1, "--epochs=2")
    before = rows_of(run)
    truncate(folder(run) / "rows.parquet")
    resume("--resume=latest")
    assert len(before) == 200
    assert rows_of(run).equals(before)


@pytest.mark.slow
def test_resume_of_a_training_that_stores_its_model_on_another_host_is_refused(store: str, noisy: Path) -> None:
    """The tag stop_reason is set before the model is stored and does not mean that the process ended."""
    run = break_off(noisy, 1)
    launch = json.loads(run.data.tags["launch"]) | {"host": "elsewhere", "token": "another"}
    for name, value in {"launch": json.dumps(launch), "stop_reason": "patience"}.items():
        mlflow.MlflowClient().set_tag(run.info.run_id, name, value)
    with pytest.raises(UserError, match="runs or died on host elsewhere"):
        resume("--resume", run.info.run_id)
    mlflow.MlflowClient().set_tag(run.info.run_id, "error", "it failed there")
    with pytest.raises(Interrupted):
        resume("--resume", run.info.run_id, signals=SignalAfter(2))


@pytest.mark.slow
def test_resume_removes_what_a_kill_has_left_of_an_upload(store: str, noisy: Path, tmp_path: Path) -> None:
    run = break_off(noisy, 2)
    (tmp_path / "best.keras").write_bytes(b"half")
    code = f"""
import os, signal, mlflow
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
client = mlflow.MlflowClient({store!r})
client.log_artifact({run.info.run_id!r}, {str(tmp_path / "best.keras")!r}, "checkpoint")
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    artifacts = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id))  # on a disk: its own place
    assert killed.returncode == -signal.SIGKILL
    assert [path.read_bytes() for path in artifacts.glob("checkpoint/.*")] == [b"half"]
    resume("--resume=latest")
    assert sorted(path.name for path in artifacts.glob("checkpoint/*")) == ["best.keras"]
    assert list(artifacts.rglob(".*")) == []


@pytest.mark.slow
def test_resume_after_a_failed_report_completes_it(
    store: str, noisy: Path, straight: dict[str, dict[int, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("tracked.reports.plots.draw_training", full)
        with pytest.raises(RunFailed, match="some tables or plots of the training could not be written"):
            run_train(f"--data={noisy}", *ARGUMENTS)
    run = last_run()
    assert (run.info.status, versions()) == ("FAILED", [])
    resume("--resume=latest")
    assert_same_run(run, straight)


@pytest.mark.slow
def test_end_of_a_training_is_imported_after_the_first_steps_and_a_missing_module_ends_nothing() -> None:
    code = """
import sys
import threading
from imdb_conv1d.experiment import EXPERIMENT
from tracked.resume.tracked_training import END_MODULES
from tracked.training.callbacks import ImportAhead

def is_imported():
    return {"imdb_conv1d.package", "sklearn.metrics", "tracked.models.publisher"} <= sys.modules.keys()

ahead = ImportAhead(["imdb_conv1d.no_such_module", *END_MODULES, *EXPERIMENT.end_modules])
ahead.on_epoch_begin(0)
before = is_imported()
for batch in range(3):
    ahead.on_train_batch_end(batch)
threads = [one for one in threading.enumerate() if one is not threading.main_thread()]
for one in threads:
    one.join()
print(before, len(threads), is_imported())
"""
    assert fresh.run(code) == "False 1 True\n"


@pytest.mark.slow
def test_first_step_does_not_wait_for_the_imports_of_the_end(store: str, noisy: Path) -> None:
    code = f"""
import signal
import sys
from imdb_conv1d.experiment import EXPERIMENT
from tracked.console import entry
from tracked.console.errors import Interrupted
from tracked.console.signals import Signals
from tracked.training import reproducibility

entry.is_command = True
reproducibility.import_tensorflow()
from tracked.training.trainer import Trainer
from tracked.verbs import train

ahead, waited = [], []

def fit(self, import_ahead):
    ahead.extend(import_ahead)
    waited.extend(name for name in ("tracked.models.finalize", "matplotlib", "sklearn") if name in sys.modules)
    raise Interrupted(signal.SIGTERM)

Trainer.fit = fit
try:
    train.main(EXPERIMENT, {[f"--data={noisy}", *TINY, *ARGUMENTS]}, Signals())
except Interrupted:
    print(ahead, waited)
"""
    ahead = ["tracked.models.finalize", "tracked.reports.training_report", "imdb_conv1d.package"]
    assert fresh.run(code).splitlines()[-1] == f"{ahead} []"
