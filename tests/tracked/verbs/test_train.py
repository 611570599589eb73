"""The verb train in this process, on tiny reviews and a separate store: the store's content afterwards."""

import json
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss

from helpers.reviews import make_reviews, read_part
from helpers.runs import SignalAfter, artifacts, last_run, points, run_train, table, versions
from imdb_conv1d import dataset, ids, sources
from tracked.analysis.early_stopping import Rule, follow
from tracked.console.errors import Interrupted, NameRefused, RunFailed, UserError
from tracked.console.signals import Signals
from tracked.models import publisher
from tracked.reports import plots
from tracked.runs import context, writer
from tracked.runs.outbox import Outbox
from tracked.training.callbacks import BestCheckpoint

PER_EPOCH = {
    "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "epoch_seconds",
    "early_stopping/wait", "early_stopping/best",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "layers", "lines"),
    [
        ([], "plain", ["embedding_dims * kernel_size is 24, below 64: Keras's own layers train, as with fused=false"]),
        (["--fused=false"], "plain", []),
        (["--embedding_dims=22"], "fused 2", []),
    ],
)
def test_layers_are_fused_if_requested_and_wide_enough(
    store: str,
    reviews_csv: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    layers: str,
    lines: list[str],
) -> None:
    run_train(f"--data={reviews_csv}", "--epochs=1", *arguments)
    assert last_run().data.tags["layers"] == layers
    assert [line for line in capsys.readouterr().out.splitlines() if "kernel_size" in line] == lines


def test_train_logs_metrics_artifacts_data_and_version(store: str, reviews_csv: Path) -> None:
    run_train(f"--data={reviews_csv}", "--patience=2", "--epochs=50")
    run, client = last_run(), mlflow.MlflowClient()
    assert run.info.status == "FINISHED"
    assert run.data.tags["verb"] == "train"
    assert run.data.tags["stop_reason"] == "patience"
    assert run.info.run_name == (
        "patience=2 seed=7 epochs=50 learning_rate=0.01 batch_size=8 max_features=50 maxlen=20 "
        "embedding_dims=8 filters=8 hidden_dims=8 data=reviews.csv"
    )
    assert run.data.params["patience"] == "2"
    assert run.data.params["min_delta"] == "0.0001"
    assert run.data.tags["layers"] == "plain"  # as its embeddings are narrow
    assert len(run.data.params) == 38

    # The rule and the checkpoint, recomputed from the logged values.
    val_loss = points(run, "val_loss")
    states = follow(Rule("min", 2, 0.0001), val_loss.values())
    assert list(val_loss) == list(range(1, len(states) + 1))
    assert states[-1].stopped
    best = min(val_loss, key=lambda step: val_loss[step])
    assert run.data.metrics["stopped_epoch"] == len(states)
    assert run.data.metrics["best_epoch"] == best
    assert run.data.metrics["best_val_loss"] == val_loss[best]
    for name in ("stopped_epoch", "best_epoch", "best_val_loss"):
        assert points(run, name) == {0: run.data.metrics[name]}  # one point at step 0 is drawn as a bar
    for name in PER_EPOCH:
        assert set(points(run, name)) == set(val_loss), name
    assert set(points(run, "learning_rate").values()) == {0.01}
    assert list(points(run, "early_stopping/wait").values()) == [state.wait for state in states]
    stops = table(run, "early_stopping.csv")
    assert stops["event"].tolist() == [state.event for state in states]
    assert stops["value"].tolist() == list(val_loss.values())
    times = [round(pd.Timestamp(moment).timestamp() * 1000) for moment in stops["time"]]
    history = client.get_metric_history(run.info.run_id, "val_loss")
    assert [point.timestamp for point in history] == times
    assert table(run, "history.csv")["val_loss"].tolist() == list(val_loss.values())
    assert artifacts(run) == {
        "early_stopping.csv", "history.csv", "training.png", "environment.json",
        "checkpoint/best.keras", "data/rows.parquet",
    }  # fmt: skip

    # The data.
    (used,) = run.inputs.dataset_inputs
    digest = dataset.load(sources.resolve(str(reviews_csv)), 0.2).digest
    assert run.data.tags["data_digest"] == digest
    assert used.dataset.digest == digest[:32]
    assert run.data.tags["data_source"] == str(reviews_csv)
    assert json.loads(used.dataset.profile) == {"train": 128, "validation": 32, "test": 40}
    assert f"keras {keras.__version__}" in run.data.tags["versions"]
    assert "deterministic_ops true" in run.data.tags["machine"]
    assert used.dataset.name == "reviews.csv"

    # The version.
    (version,) = versions()
    assert client.get_model_version_by_alias("imdb-conv1d", "candidate").version == version.version
    assert version.run_id == run.info.run_id
    figures = {"best_epoch": str(best), "best_val_loss": repr(val_loss[best]), "data_digest": digest}
    assert version.tags == figures | {"experiment": "imdb-conv1d"}
    assert f"Best epoch {best}" in version.description
    assert "Registered as **imdb-conv1d version 1**" in run.data.tags["mlflow.note.content"]
    info = mlflow.models.get_model_info("models:/imdb-conv1d@candidate")
    assert info.signature is not None
    assert str(info.signature.inputs) == "[Tensor('object', (-1,))]"
    assert not info.flavors["python_function"].get("code")

    # The version is the best epoch's, and takes text.
    model = mlflow.pyfunc.load_model("models:/imdb-conv1d@candidate")
    validation = read_part(dataset.load(sources.resolve(str(reviews_csv)), 0.2), "validation")
    scores = model.predict(pd.DataFrame({"text": validation["text"].tolist()}))
    assert log_loss(validation["label"], np.asarray(scores, float)) == pytest.approx(val_loss[best], abs=1e-5)
    as_array = model.predict(validation["text"].to_numpy(dtype=object))
    as_series = model.predict(validation["text"].reset_index(drop=True))
    assert np.array_equal(scores, as_array)
    assert np.array_equal(scores, as_series)
    path = Path(mlflow.artifacts.download_artifacts("models:/imdb-conv1d@candidate"))
    network = keras.saving.load_model(path / "extra_files" / "best.keras")
    assert network.optimizer.iterations > 0  # with its optimizer, for further training
    logged = client.get_logged_model(info.model_id)
    assert logged.name == "imdb-conv1d"
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": "imdb-conv1d", "version": 1}]
    shown = {metric.key: metric.value for metric in logged.metrics or []}
    assert (shown["val_loss"], shown["best_epoch"], shown["stopped_epoch"]) == (val_loss[best], best, len(states))


@pytest.mark.slow
def test_train_with_equal_seeds_gives_equal_bits(store: str, reviews_csv: Path) -> None:
    found = []
    for seed in (7, 7, 8):
        run_train(f"--data={reviews_csv}", "--epochs=3", f"--seed={seed}")
        found.append({name: points(last_run(), name) for name in ("loss", "accuracy", "val_loss", "val_accuracy")})
    assert found[0] == found[1]
    assert found[0] != found[2]


@pytest.mark.slow
def test_train_with_monitor_accuracy_keeps_the_highest(store: str, reviews_csv: Path) -> None:
    run_train(f"--data={reviews_csv}", "--epochs=3", "--monitor=val_accuracy", "--mode=auto")
    run = last_run()
    assert run.data.tags["stop_reason"] == "epochs"
    accuracy = points(run, "val_accuracy")
    assert run.data.metrics["best_val_accuracy"] == max(accuracy.values())
    assert accuracy[int(run.data.metrics["best_epoch"])] == max(accuracy.values())
    assert versions()[0].tags["best_val_accuracy"] == repr(max(accuracy.values()))


@pytest.mark.slow
def test_train_of_a_very_certain_network_registers_it(store: str, tmp_path: Path) -> None:
    """With probabilities of 1 for wrong labels, a loss from float32 probabilities would differ from the logged one."""
    table = make_reviews(200)
    table.loc[:9, "label"] = 1 - table.loc[:9, "label"]
    table.to_csv(tmp_path / "flipped.csv", index=False)
    run_train(f"--data={tmp_path / 'flipped.csv'}", "--monitor=loss", "--epochs=25", "--learning_rate=0.1")
    assert last_run().data.metrics["best_epoch"] > 5
    assert len(versions()) == 1


@pytest.mark.slow
def test_train_without_log_texts_logs_no_text(store: str, reviews_csv: Path) -> None:
    run_train(f"--data={reviews_csv}", "--epochs=1", "--log_texts=false")
    folder = Path(mlflow.artifacts.download_artifacts(run_id=last_run().info.run_id, artifact_path="."))
    model = Path(mlflow.artifacts.download_artifacts("models:/imdb-conv1d@candidate"))
    secret = pd.read_csv(reviews_csv)["text"]
    for path in [*folder.rglob("*"), *model.rglob("*")]:
        if path.is_file():
            content = path.read_bytes()
            assert not any(review.encode() in content for review in secret), path


def test_interrupted_training_keeps_its_epochs_and_registers_nothing(store: str, reviews_csv: Path) -> None:
    # Signals are checked once before the training, then after an epoch's batches and after its validation: the sixth
    # check is in the third epoch.
    with pytest.raises(Interrupted):
        run_train(f"--data={reviews_csv}", signals=SignalAfter(6))
    run = last_run()
    assert run.info.status == "KILLED"
    assert run.data.tags["stop_reason"] == "interrupted"
    assert "ended after epoch 2: interrupted" in run.data.tags["mlflow.note.content"]
    assert "stopped_epoch" not in run.data.metrics  # MLflow could not remove it on resume
    assert set(points(run, "val_loss")) == {1, 2}
    assert len(table(run, "early_stopping.csv")) == 2
    assert {"checkpoint/best.keras", "training.png"} <= artifacts(run)
    assert versions() == []


def test_signal_during_an_epoch_ends_the_training_before_the_epochs_end(
    store: str, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imdb_conv1d import networks

    built, build = [], networks.build
    monkeypatch.setattr(networks, "build", lambda *named: built.append(build(*named)) or built[-1])
    # 32 batches an epoch are two calls: the fifth check is between the two calls of the second epoch.
    with pytest.raises(Interrupted):
        run_train(f"--data={reviews_csv}", "--batch_size=4", signals=SignalAfter(5))
    assert int(built[0].trained.optimizer.iterations) == 32 + networks.STEPS_PER_CALL


def test_signal_before_the_first_epochs_end_is_reported(store: str, reviews_csv: Path) -> None:
    with pytest.raises(Interrupted):
        run_train(f"--data={reviews_csv}", signals=SignalAfter(3, signal.SIGINT))
    run = last_run()
    assert run.info.status == "KILLED"
    assert "Ended after epoch 0: interrupted" in run.data.tags["mlflow.note.content"]
    assert len(table(run, "early_stopping.csv")) == 0
    assert "checkpoint/best.keras" not in artifacts(run)


def test_exception_in_training_fails_the_run_and_keeps_its_epochs(
    store: str, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = writer.Run.log_epoch

    def third_breaks(self: writer.Run, step: int, *rest: Any) -> None:
        if step == 3:
            raise ZeroDivisionError("a bug")
        epoch(self, step, *rest)

    monkeypatch.setattr(writer.Run, "log_epoch", third_breaks)
    with pytest.raises(ZeroDivisionError):
        run_train(f"--data={reviews_csv}")
    run = last_run()
    assert (run.info.status, run.data.tags["stop_reason"]) == ("FAILED", "error")
    assert run.data.tags["error"] == "a bug"
    assert set(points(run, "val_loss")) == {1, 2}
    assert "checkpoint/best.keras" in artifacts(run)
    assert versions() == []


def test_train_with_a_loss_of_nan_registers_nothing(store: str, reviews_csv: Path) -> None:
    with pytest.raises(
        RunFailed, match=r"epoch \d+: a loss is not a finite number; a smaller learning_rate than 1e\+30"
    ):
        run_train(f"--data={reviews_csv}", "--learning_rate=1e30", "--epochs=5")
    run = last_run()
    assert (run.info.status, run.data.tags["stop_reason"]) == ("FAILED", "not_a_number")
    assert not math.isfinite(list(points(run, "loss").values())[-1]) or not math.isfinite(
        list(points(run, "val_loss").values())[-1]
    )
    assert versions() == []


@pytest.mark.slow
def test_stored_model_with_another_loss_is_not_registered(
    store: str, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = keras.saving.load_model

    def another_network(path: Path) -> keras.Model:
        network = right(path)
        *others, bias = network.get_weights()
        network.set_weights([*others, bias + 0.01])
        return network

    monkeypatch.setattr(keras.saving, "load_model", another_network)
    with pytest.raises(RunFailed, match="the stored model has a validation loss of"):
        run_train(f"--data={reviews_csv}", "--epochs=2")
    run = last_run()
    assert (run.info.status, run.data.tags["stop_reason"]) == ("FAILED", "epochs")
    assert run.data.tags["error"].startswith("the stored model has")
    assert versions() == []
    assert list(mlflow.search_logged_models(output_format="list")) == []


@pytest.mark.slow
def test_outage_during_training_loses_no_epoch(
    store: str, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log_batch = mlflow.MlflowClient.log_batch
    until = [math.inf]

    def fails_for_a_while(self: mlflow.MlflowClient, run_id: str, metrics: Any = (), **rest: Any) -> Any:
        if any(point.key == "val_loss" for point in metrics):
            until[0] = min(until[0], time.monotonic() + 1.5)
            if time.monotonic() < until[0]:
                raise ConnectionError("connection refused")
        return log_batch(self, run_id, metrics=metrics, **rest)

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", fails_for_a_while)
    run_train(f"--data={reviews_csv}", "--epochs=4", "--patience=9")
    run = last_run()
    assert run.info.status == "FINISHED"
    assert list(points(run, "val_loss")) == [1, 2, 3, 4]
    stops = table(run, "early_stopping.csv")["time"]
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "val_loss")
    assert [point.timestamp for point in history] == [round(pd.Timestamp(t).timestamp() * 1000) for t in stops]
    assert "MLflow did not take the metrics of epoch 1 (connection refused)" in capsys.readouterr().err


def test_undelivered_calls_fail_the_run_and_are_named(
    store: str, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log_batch = mlflow.MlflowClient.log_batch

    def loses_epoch_2(self: mlflow.MlflowClient, run_id: str, metrics: Any = (), **rest: Any) -> Any:
        if any(point.key == "val_loss" and point.step == 2 for point in metrics):
            raise mlflow.MlflowException("no room", error_code=mlflow.exceptions.INVALID_PARAMETER_VALUE)
        return log_batch(self, run_id, metrics=metrics, **rest)

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", loses_epoch_2)
    with pytest.raises(RunFailed, match=r"missing in run [0-9a-f]{32}: the metrics of epoch 2"):
        run_train(f"--data={reviews_csv}", "--epochs=3", "--patience=9")
    run = last_run()
    assert (run.info.status, run.data.tags["stop_reason"]) == ("FAILED", "epochs")
    assert list(points(run, "val_loss")) == [1, 3]
    assert versions() == []
    *_, kept_line = capsys.readouterr().err.strip().splitlines()
    kept = Path(kept_line.removeprefix("files that were not logged are kept in "))
    assert len(pd.read_csv(kept / "history.csv")) == 3


@pytest.mark.slow
def test_train_under_mlflow_run_uses_its_run(store: str, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = mlflow.MlflowClient()
    made = client.create_run("0", run_name="gifted-crow-512", tags={"mlflow.project.entryPoint": "main"})
    client.log_param(made.info.run_id, "patience", "30")
    client.log_param(made.info.run_id, "data", f"'{reviews_csv}'")  # as mlflow run writes it: quoted for the shell
    monkeypatch.setenv("MLFLOW_RUN_ID", made.info.run_id)
    run_train(f"--data={reviews_csv}", "--epochs=1")
    run = client.get_run(made.info.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name.startswith("patience=30 seed=7 epochs=1 ")
    assert run.info.run_name.endswith(" data=reviews.csv")
    assert run.data.params["data"] == f"'{reviews_csv}'"
    assert len(run.data.params) == 38
    assert len(mlflow.search_runs(output_format="list")) == 1


def test_run_name_of_the_user_is_kept(store: str, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = mlflow.MlflowClient().create_run("0", run_name="my first try")
    monkeypatch.setenv("MLFLOW_RUN_ID", made.info.run_id)
    run_train(f"--data={reviews_csv}", "--epochs=1")
    assert last_run().info.run_name == "my first try"


@pytest.mark.parametrize("data_value", ["missing.csv", "one-class.csv"])
def test_train_on_invalid_data_is_refused_without_a_run(store: str, tmp_path: Path, data_value: str) -> None:
    pd.DataFrame({"text": ["a", "b"], "label": [1, 1]}).to_csv(tmp_path / "one-class.csv", index=False)
    with pytest.raises(UserError):
        run_train(f"--data={tmp_path / data_value}")
    assert mlflow.search_runs(output_format="list") == []


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:9", "http://127.0.0.1:{silent}", "postgresql://127.0.0.1:9/x", "foo://bar",
            "sqlite:////proc/none/mlflow.db", "sqlite:///{garbage}"],
)  # fmt: skip
def test_train_without_an_answering_store_fails_at_once(
    uri: str, silent_port: int, monkeypatch: pytest.MonkeyPatch, reviews_csv: Path, tmp_path: Path
) -> None:
    (tmp_path / "garbage.db").write_bytes(b"no database" * 1000)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(silent=silent_port, garbage=tmp_path / "garbage.db"))
    started = time.monotonic()
    with pytest.raises(
        UserError, match=r"^MLFLOW_TRACKING_URI: '.*' does not answer \(.+\); allowed: a server or"
    ) as caught:
        run_train(f"--data={reviews_csv}")
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 10


def test_train_without_an_answering_registry_names_it(
    store: str, monkeypatch: pytest.MonkeyPatch, reviews_csv: Path
) -> None:
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"^MLFLOW_REGISTRY_URI: 'http://127\.0\.0\.1:9' does not answer"):
        run_train(f"--data={reviews_csv}")


@pytest.mark.parametrize(("name", "value"), [("MLFLOW_EXPERIMENT_ID", "999"), ("MLFLOW_RUN_ID", "0" * 32)])
def test_train_with_settings_that_name_nothing_is_refused(
    store: str, monkeypatch: pytest.MonkeyPatch, reviews_csv: Path, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"{name}.*: no run can begin"):
        run_train(f"--data={reviews_csv}")
    assert mlflow.search_runs(["0"], output_format="list") == []


def test_failing_artifact_store_delays_no_metric(
    store: str, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(mlflow.MlflowClient, "log_artifact", full)
    monkeypatch.setattr(writer.Run.flush, "__defaults__", (0.5,))
    monkeypatch.setattr(context, "PATIENCE_AFTER_ERROR", 0.5)
    with pytest.raises(RunFailed, match=r"missing in run [0-9a-f]{32}: environment\.json; rows\.parquet; best\.keras"):
        run_train(f"--data={reviews_csv}", "--epochs=2")
    run = last_run()
    assert list(points(run, "val_loss")) == [1, 2]
    assert (run.info.status, run.data.tags["stop_reason"]) == ("FAILED", "epochs")
    assert versions() == []


@pytest.mark.slow
def test_flush_waits_for_an_upload_longer_than_its_patience(
    store: str, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = mlflow.MlflowClient.log_artifact

    def slow(self: mlflow.MlflowClient, run_id: str, path: str, folder: str | None = None) -> None:
        time.sleep(2 if path.endswith("best.keras") else 0)
        upload(self, run_id, path, folder)

    monkeypatch.setattr(mlflow.MlflowClient, "log_artifact", slow)
    monkeypatch.setattr(writer.Run.flush, "__defaults__", (0.8,))
    run_train(f"--data={reviews_csv}", "--epochs=1")
    run = last_run()
    assert run.info.status == "FINISHED"
    assert {"checkpoint/best.keras", "history.csv", "training.png"} <= artifacts(run)


def test_hanging_upload_does_not_delay_an_interruption_and_is_named(
    store: str, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stuck = threading.Event()
    monkeypatch.setattr(mlflow.MlflowClient, "log_artifact", lambda *_: stuck.wait(120))
    monkeypatch.setattr(context, "PATIENCE_AFTER_ERROR", 0.5)
    with pytest.raises(Interrupted):
        run_train(f"--data={reviews_csv}", signals=SignalAfter(4))
    assert not stuck.is_set()
    stuck.set()
    err = capsys.readouterr().err
    assert "environment.json (still being sent: it may arrive later); rows.parquet; " in err
    assert last_run().info.status == "KILLED"


class Kill(Signals):
    """Signals with their real handlers, as in a separate process."""

    def __enter__(self) -> "Kill":
        self._before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        self.install()
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), self._before, strict=True):
            signal.signal(number, handler)


def then_kill(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    """Send SIGTERM to this process after the function has returned."""
    function = getattr(owner, name)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        result = function(*arguments, **named)
        os.kill(os.getpid(), signal.SIGTERM)
        return result

    monkeypatch.setattr(owner, name, wrapped)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "name", "epochs"),
    [
        (ids, "encode_parts", 0),
        (BestCheckpoint, "on_epoch_end", 1),  # within the last epoch's end
        (plots, "draw_training", 1),  # while the report is made
        (Outbox, "drain", 1),  # while queued calls are made
        (publisher, "store_model", 1),
        (publisher, "require_same_loss", 1),
    ],
)
def test_signal_before_registration_leaves_a_full_report(
    store: str, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, epochs: int
) -> None:
    then_kill(monkeypatch, owner, name)
    with Kill() as signals, pytest.raises(Interrupted):
        run_train(f"--data={reviews_csv}", "--epochs=1", signals=signals)
    run = last_run()
    assert (run.info.status, run.data.tags["stop_reason"]) == ("KILLED", "interrupted")
    assert f"nded after epoch {epochs}: " in run.data.tags["mlflow.note.content"]
    assert "stopped_epoch" not in run.data.metrics
    assert len(table(run, "early_stopping.csv")) == epochs
    assert ("checkpoint/best.keras" in artifacts(run)) == bool(epochs)
    assert versions() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "name"),
    [(publisher, "register"), (mlflow.MlflowClient, "create_model_version"), (writer.Run, "flush")],
)
def test_signal_during_registration_is_ignored(
    store: str, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch, owner: object, name: str
) -> None:
    if name == "flush":  # the second one, at the very end
        hold = Signals.hold_until_exit
        monkeypatch.setattr(Signals, "hold_until_exit", lambda self: (hold(self), then_kill(monkeypatch, owner, name)))
    else:
        then_kill(monkeypatch, owner, name)
    with Kill() as signals:
        run_train(f"--data={reviews_csv}", "--epochs=1", signals=signals)
    run = last_run()
    assert (run.info.status, run.data.tags["stop_reason"]) == ("FINISHED", "epochs")
    assert run.data.tags["registered_version"] == "1"
    assert mlflow.MlflowClient().get_model_version_by_alias("imdb-conv1d", "candidate").version == 1


@pytest.mark.slow
def test_lost_answer_of_a_registration_makes_no_second_version(
    store: str, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("create_registered_model", "create_model_version", "set_registered_model_alias"):
        lose_first_answer(monkeypatch, mlflow.MlflowClient, name)
    run_train(f"--data={reviews_csv}", "--epochs=1")
    assert [version.version for version in versions()] == [1]
    assert mlflow.MlflowClient().get_model_version_by_alias("imdb-conv1d", "candidate").version == 1


@pytest.mark.slow
def test_partly_stored_model_is_deleted_and_stored_again(
    store: str, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_first_answer(monkeypatch, mlflow.MlflowClient, "log_model_artifacts")
    run_train(f"--data={reviews_csv}", "--epochs=1")
    assert len(versions()) == 1
    (networks,) = mlflow.search_logged_models(output_format="list")
    assert versions()[0].source == f"models:/{networks.model_id}"


def lose_first_answer(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    """Make the first call act and then fail."""
    function = getattr(owner, name)
    calls: list[int] = []

    def wrapped(*arguments: Any, **named: Any) -> Any:
        result = function(*arguments, **named)
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionError("the connection broke off")
        return result

    monkeypatch.setattr(owner, name, wrapped)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["log_batch", "update_run", "set_terminated", "log_inputs", "log_artifact"])
def test_single_failing_call_changes_no_result(
    store: str, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    made = mlflow.MlflowClient().create_run("0", run_name="gifted-crow-512")
    monkeypatch.setenv("MLFLOW_RUN_ID", made.info.run_id)
    lose_first_answer(monkeypatch, mlflow.MlflowClient, name)
    run_train(f"--data={reviews_csv}", "--epochs=1")
    run = last_run()
    assert run.info.status == "FINISHED"
    assert run.info.run_name.startswith("patience=30")
    assert len(run.data.params) == 38
    assert list(points(run, "val_loss")) == [1]


def test_failing_figure_loses_neither_checkpoint_nor_stop_reason(
    store: str, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(plots, "draw_training", full)
    with pytest.raises(Interrupted):
        run_train(f"--data={reviews_csv}", signals=SignalAfter(6))
    assert (last_run().info.status, last_run().data.tags["stop_reason"]) == ("KILLED", "interrupted")
    assert "checkpoint/best.keras" in artifacts(last_run())
    assert (
        "some tables or plots of the training could not be written (No space left on device)" in capsys.readouterr().err
    )


def test_failing_registration_is_named_and_keeps_the_stop_reason(
    store: str, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise mlflow.MlflowException("not allowed", error_code=mlflow.exceptions.PERMISSION_DENIED)

    monkeypatch.setattr(mlflow.MlflowClient, "set_registered_model_alias", refuse)
    with pytest.raises(RunFailed, match="version 1 is registered, but moving the alias candidate to it failed"):
        run_train(f"--data={reviews_csv}", "--epochs=1")
    run = last_run()
    assert (run.info.status, run.data.tags["stop_reason"]) == ("FAILED", "epochs")
    assert "moving the alias candidate to it failed (not allowed)" in run.data.tags["error"]


@pytest.mark.slow
def test_token_that_expires_before_the_registration_is_told_as_such(
    store: str, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not as a name to change: the version would stand under a wrong one for good."""

    def refuse(*arguments: Any, **named: Any) -> None:
        raise mlflow.MlflowException("who are you", error_code=mlflow.exceptions.UNAUTHENTICATED)

    monkeypatch.setattr(mlflow.MlflowClient, "create_model_version", refuse)
    with pytest.raises(
        RunFailed, match=r"^MLFLOW_TRACKING_USERNAME: .*\(401\).*; all that was trained is kept"
    ) as error:
        run_train(f"--data={reviews_csv}", "--epochs=1")
    assert not isinstance(error.value, NameRefused)
    assert len(error.value.__notes__) == 1


@pytest.mark.slow
def test_run_name_that_looks_generated_is_kept(store: str, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = mlflow.MlflowClient().create_run("0", run_name="baseline-cnn-1")
    monkeypatch.setenv("MLFLOW_RUN_ID", made.info.run_id)
    run_train(f"--data={reviews_csv}", "--epochs=1")
    assert last_run().info.run_name == "baseline-cnn-1"
