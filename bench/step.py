"""Measure the parts of a training step, and how near the convolution is to the processor's limit.

make bench
python bench/step.py
"""

import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

import epochs
import ids

sys.path.insert(0, str(epochs.SRC))

from imdb_conv1d.parameters import TrainParameters
from tracked.training import reproducibility

WARM, STEPS = 320, 160
PARTS = {  # by parts of an operation's name; the first match counts
    "forward: convolution": ("Conv2D",),
    "forward: maximum and its place": ("/maxima",),
    "forward: dropout of the embeddings": ("/dropout/",),
    "forward: embeddings": ("/embedding",),
    "Adam, with the sum of the embeddings' gradient": ("fused_adam",),
    "hidden and output layer, loss, metrics": ("dense", "dropout", "activation", "loss", "accuracy", "metric"),
    "back: convolution, by two sparse products": ("StatefulPartitionedCall",),
    "batches": ("",),
}


def profile() -> tuple[float, dict[str, float], float]:
    """Measure milliseconds a step, those of all threads by part, and count the forward convolution's operations."""
    reproducibility.make_repeatable(7, 1)

    import tensorflow as tf

    from imdb_conv1d import batches, networks

    parameters = TrainParameters()
    train, _ = ids.load(str(ids.prepare()))
    network = networks.build(parameters).trained
    data = batches.make_training_batches(
        *ids.encode(train), parameters.batch_size, 3, 7, tf.Variable(1, dtype=tf.int64)
    )
    shapes = [batch.shape for batch, _ in data.skip(WARM).take(STEPS)]
    windows = np.mean([rows * (length - parameters.kernel_size + 1) for rows, length in shapes])
    operations = float(windows) * 2 * parameters.kernel_size * parameters.embedding_dims * parameters.filters
    network.make_train_function()
    iterator = iter(data)

    def steps(number: int) -> float:
        start = time.perf_counter()
        for _ in range(number // networks.STEPS_PER_CALL):
            network.train_function(iterator)
        return (time.perf_counter() - start) * 1000 / number

    steps(WARM)
    milliseconds = steps(STEPS)
    iterator = iter(data.skip(WARM))
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        steps(STEPS)
        tf.profiler.experimental.stop()
        return milliseconds, _sum_by_part(next(Path(folder).rglob("*.xplane.pb"))), operations


def _sum_by_part(path: Path) -> dict[str, float]:
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    space.ParseFromString(path.read_bytes())
    spent: dict[str, float] = defaultdict(float)
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                if ":" in name and "::" not in name and not name.startswith("Eager"):
                    part = next(part for part, keys in PARTS.items() if any(key in name for key in keys))
                    spent[part] += event.duration_ps / 1e9 / STEPS
    return spent


def peak() -> float:
    """Measure the floating-point operations a second of a large matrix multiplication."""
    import tensorflow as tf

    a, b = tf.random.normal((2048, 2048)), tf.random.normal((2048, 2048))
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        tf.matmul(a, b).numpy()
        seconds.append(time.perf_counter() - start)
    return 2 * 2048**3 / min(seconds)


def main() -> None:
    """Measure, print and write bench/out/step.md."""
    milliseconds, parts, operations = profile()
    limit = peak()
    total = sum(parts.values())
    rows = [[name, spent, spent / total * milliseconds] for name, spent in sorted(parts.items(), key=lambda p: -p[1])]
    table = epochs.table(
        ["one step", "ms of all threads", "its share of the step, ms"], [*rows, ["sum", total, milliseconds]]
    )
    convolution = parts["forward: convolution"]
    lines = [
        f"A step of 32 reviews takes {milliseconds:.2f} ms. Its forward convolution is {operations / 1e9:.3f} GFLOP "
        f"and takes {convolution:.2f} ms while the profiler runs: {operations / convolution / 1e6:.0f} GFLOP/s.",
        f"A product of two matrices of 2048 × 2048 reaches {limit / 1e9:.0f} GFLOP/s in one thread: the "
        f"convolution runs at {operations / convolution * 1e3 / limit:.0%} of that. At this peak, the forward "
        f"convolutions alone take {operations / limit * 1e3:.2f} ms of all threads in a step.",
    ]
    epochs.write("step.md", "\n\n".join([table, *lines]))


if __name__ == "__main__":
    main()
