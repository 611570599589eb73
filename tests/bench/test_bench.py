"""The tools of the benchmarks; no test depends on a measured time."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pytest

import accuracy
import class_intervals
import drift
import epochs
import gate
import ids
import intervals
import peers
import pruning
import recommendation
import replays
import short
from helpers import warm
from imdb_conv1d.experiment import MAX_NATS

LINES = [
    "Epoch 1/2",
    "499/499 - 11s - 21ms/step - accuracy: 0.7650 - loss: 0.4598 - val_accuracy: 0.8474 - val_loss: 0.3491",
    "epoch 2  loss 0.2485  accuracy 0.9012  val_loss 0.2909  val_accuracy 0.8808  2.8 s  improved, saved",
    "epoch 3: val_loss 0.3170, val_accuracy 0.8635",
    "best epoch 2: val_loss 0.2909, val_accuracy 0.8808; ended after epoch 3: all 3 epochs are trained",
]


def script(folder: Path, text: str) -> list[str]:
    path = folder / "peer.py"
    path.write_text(text)
    return [str(path)]


def test_run_of_a_peer_reads_an_epoch_from_each_of_its_lines(tmp_path: Path) -> None:
    text = f"import time\nfor line in {LINES!r}:\n    time.sleep(0.2)\n    print(line)\n"
    measured = epochs.run(script(tmp_path, text))
    assert measured.val_loss == [0.3491, 0.2909, 0.3170]
    assert len(measured.seconds) == 2
    assert min(measured.seconds) > 0.15
    assert measured.first > 0.35


def test_run_of_a_failing_peer_raises_its_output(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"exit 3\n.*no such data"):
        epochs.run(script(tmp_path, "print('no such data'); raise SystemExit(3)"))


def test_run_of_a_peer_has_its_own_store_and_removes_it(tmp_path: Path) -> None:
    note = tmp_path / "note"
    text = f"import os; open({str(note)!r}, 'w').write(os.environ['MLFLOW_TRACKING_URI']); print('val_loss 1.0')"
    epochs.run(script(tmp_path, text))
    store = Path(note.read_text().removeprefix("sqlite:///"))
    assert store.parent.name.startswith("bench-")
    assert not store.parent.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process choose its cores")
def test_run_with_one_core_limits_the_peer(tmp_path: Path) -> None:
    text = "import os; print('val_loss', float(len(os.sched_getaffinity(0))))"
    assert epochs.run(script(tmp_path, text), cores=1).val_loss == [1.0]


class Recorder(keras.Model):
    """Record the labels of all batches of a fit."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def train_step(self, data: tuple[Any, Any]) -> dict[str, Any]:
        self.seen += [int(label) for label in data[1]]
        return {"loss": keras.ops.zeros(())}


def orders(seed: int) -> list[list[int]]:
    """The order of rows in two epochs of a fit; each label is its row's number."""
    keras.utils.set_random_seed(seed)
    model = Recorder()
    model.compile(run_eagerly=True)
    model.fit(ids.shuffled(np.arange(70).reshape(70, 1), np.arange(70.0), seed), epochs=2, verbose=0)
    return [model.seen[:70], model.seen[70:]]


def test_shuffled_batches_differ_by_epoch_and_repeat_by_seed() -> None:
    first, second = orders(7)
    assert sorted(first) == sorted(second) == list(range(70))
    assert first != second
    assert orders(7) == [first, second]
    assert orders(8)[0] != first
    (x, y), *_ = ids.shuffled(np.arange(70).reshape(70, 1), np.arange(70.0), 7)
    assert x.shape == (32, 1)
    assert np.array_equal(x[:, 0], y)


def test_plain_keras_shuffles_each_epoch_for_accuracy_only() -> None:
    assert accuracy.commands("ids.npz", 7)["plain Keras"][-2:] == ["none", "anew"]
    assert peers.commands("ids.npz", 4, 7)["plain Keras"][-1] == "none"
    assert set(accuracy.commands("ids.npz", 7)) >= {"this project", "this project, fused=false", "plain Keras"}
    assert not [name for name in accuracy.commands("ids.npz", 7) if name.startswith("plain Keras, ")]


def test_measured_replay_reads_the_runs_of_its_case(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epochs, "PYTHON", str(warm.python()))
    case = replays.Case(runs=3, epochs=20, patiences=2)
    replays.fill(case)
    replays.measure(case)
    assert {part: len(seconds) for part, seconds in case.seconds.items()} == dict.fromkeys(
        ("whole", "read", "rules", "pool"), 1
    )
    (run,) = mlflow.search_runs(
        experiment_names=[case.experiment], filter_string="tags.verb = 'replay'", output_format="list"
    )
    assert run.data.metrics["runs"] == 3
    assert run.data.params["patience"] == "1-2"


@pytest.fixture(scope="module")
def few_ids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random ids, in the form of the reviews'."""
    rng, path = np.random.default_rng(1), tmp_path_factory.mktemp("ids") / "ids.npz"
    sizes = {"": 1024, "_validation": 40}
    padded = {part: np.arange(ids.LONGEST) < rng.integers(600, 790, (rows, 1)) for part, rows in sizes.items()}
    x = {f"x{part}": np.where(mask, 0, rng.integers(1, 5000, mask.shape)) for part, mask in padded.items()}
    labels = {f"y{part}": rng.integers(0, 2, rows) for part, rows in sizes.items()}
    np.savez(path, **{name: array.astype(np.int32) for name, array in (x | labels).items()})
    return path


def test_training_from_ids_without_mlflow_prints_its_epochs(few_ids: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epochs, "PYTHON", str(warm.python()))
    script, flags = str(epochs.HERE / "ours.py"), ["--epochs=2", "--times=2", "--maxlen=50", "--filters=8"]
    assert len(epochs.run([script, str(few_ids), *flags]).val_loss) == 2


def test_short_texts_of_many_classes_are_padded_in_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epochs, "OUT", tmp_path)
    parts = ids.load(str(short.write_ids(40)), 40)
    assert [x.shape for x, _ in parts] == [(6400, 40), (1600, 40)]
    for x, y in parts:
        assert not x[:, : 40 - short.LONGEST].any()
        assert x[:, 40 - short.LONGEST :].all()
        assert set(y.tolist()) == set(range(short.CLASSES))
    assert short.commands("f", 13, 2)["this project"][1:] == ["f", "--maxlen=13", "--epochs=2"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "size", "rows"),
    [
        ("snapshots", {"PAIRS": 2}, ["journal", "snapshot", "both"]),
        ("step", {"WARM": 16, "STEPS": 16}, ["forward: convolution", "batches", "sum"]),
        (
            "tracking",
            {"PAIRS": 2, "POINTS": 100},
            [f"{where}, from epoch {first}" for where in ("SQLite", "server") for first in (1, 101)],
        ),
    ],
)
def test_measurements_of_a_small_training_make_tables(
    script: str, size: dict[str, int], rows: list[str], few_ids: Path, tmp_path: Path
) -> None:
    """In another process, since each script sets up TensorFlow and MLflow; with fewer rows."""
    code = (
        f"import sys; sys.path.insert(0, {str(epochs.HERE)!r}); import epochs, ids, {script}\n"
        f"epochs.OUT = epochs.Path({str(tmp_path)!r}); ids.prepare = lambda: {str(few_ids)!r}\n"
        f"vars({script}).update({size!r}); {script}.main()"
    )
    (tmp_path / "measure.py").write_text(code)
    command = [warm.python(), tmp_path / "measure.py"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    table = (tmp_path / f"{script}.md").read_text()
    assert not [row for row in rows if f"\n| {row} |" not in table]


def test_table_is_markdown() -> None:
    assert epochs.table(["a", "b"], [["x", 1234.5], ["y", 0.012345]]).splitlines() == [
        "| a | b |", "| --- | ---: |", "| x | 1.23e+03 |", "| y | 0.0123 |",
    ]  # fmt: skip


@pytest.mark.slow
def test_gate_simulations_are_worse_by_the_margin_and_make_tables() -> None:
    rng = np.random.default_rng(1)
    for draw in gate.POPULATIONS.values():
        version, champion = gate.worse(draw(rng, 1000), 0.05)
        assert np.mean(np.minimum(version, MAX_NATS) - np.minimum(champion, MAX_NATS)) == pytest.approx(0.05)
    pairs = {"a pair": gate.POPULATIONS["two seeds"](rng, 100)}
    texts = [*gate.false_passes(1, 1), *gate.copied(1, 1), *gate.power(pairs, 1, 1, (50,))]
    assert len(texts) == 5
    assert texts[3].splitlines()[-1].startswith("| a pair, 50 rows | 0.000 |")


def test_intervals_and_verdicts_of_few_samples_make_tables() -> None:
    (text,) = intervals.coverage((2, 40), 4)
    assert len(text.splitlines()) == 2 + len(intervals.POPULATIONS)
    assert " / none |" in text.splitlines()[2]
    (text,) = intervals.verdicts((10,), 2)
    assert text.splitlines()[2].startswith("| logits apart by 0.3 | ")


def test_intervals_of_classes_of_few_samples_make_tables() -> None:
    macro, bands = class_intervals.coverage((3,), (130,), 2, (0.7,))
    assert [line.split(" | ")[0] for line in macro.splitlines()[2:]] == [
        f"| 3 {kind}, accuracy 0.7" for kind in class_intervals.KINDS
    ]
    assert len(bands.splitlines()) == 2 + len(class_intervals.BANDS)


def test_recommendations_of_one_trial_make_a_table() -> None:
    (text,) = recommendation.calibration((8,), 1, ["patience 3, 10 and 20"], ["one minimum"])
    assert text.splitlines()[2].endswith(" / 0 of 0 |")  # eight runs are too few


@pytest.mark.parametrize("family", pruning.FAMILIES)
def test_made_up_curves_of_pruning_end_after_their_best_epoch(family: str) -> None:
    curves = pruning.draw(family, np.random.default_rng(1), 200)
    assert curves.bests.shape == (200, pruning.LENGTH)
    assert curves.lengths.min() >= 3
    assert curves.lengths.max() <= pruning.LENGTH
    assert (np.diff(curves.bests[np.isfinite(curves.bests[:, 0])], axis=1) <= 0).all()
    assert np.isfinite(curves.bests[:, -1]).all()


def test_a_smaller_share_that_goes_on_saves_no_less() -> None:
    header, _, *rows = pruning.compare_etas(40, trials=12).splitlines()
    assert len(rows) == len(pruning.FAMILIES)
    for row in rows:
        saved = [int(cell.split("%")[0]) for cell in row.split("|")[2:-1]]
        assert saved == sorted(saved)
        assert len(saved) == len(pruning.ETAS) == header.count("one in")


def test_coverage_of_pruning_has_a_row_for_each_family_size_and_rule() -> None:
    (text,) = pruning.coverage(3, sizes=(18,), fresh=40)
    rows = [line for line in text.splitlines() if "18: 3 of 6" in line]
    assert len(rows) == len(pruning.FAMILIES) * 2
    assert all("%" in row for row in rows)


def test_simulated_drift_is_seldom_cried_and_often_found() -> None:
    plain = drift.Population(drift.POPULATIONS["reviews, two labels"])
    moved = drift.Population(plain.things | {"words": drift.by_points(plain.things["words"], 0.25)})
    assert drift.simulate(plain, plain, 4000, 1000, 20, seed=1)[:, 0].mean() <= 0.05
    assert drift.simulate(plain, moved, 4000, 1000, 20, seed=1)[:, 0].all()
    assert drift.truth(plain, moved).min() == pytest.approx(-0.25, abs=1e-6)


@pytest.mark.slow
def test_one_drift_interval_misses_less_often_than_newcombes_for_rare_rows() -> None:
    line = next(line for line in drift.single(20_000).splitlines() if "0.001 -> 0.001, 4,000 and 200 rows" in line)
    newcombe, here = map(float, line.split("|")[3].split("/"))
    assert here < 1 < newcombe
