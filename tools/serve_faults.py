"""Load an endpoint while its scorers are killed, versions change and clients are rude; compare each answer.

python tools/serve_faults.py                        # ten minutes
python tools/serve_faults.py --seconds 60 --clients 16

Two versions are trained on the reviews, and a third one answers NaN. 64 clients ask about reviews all the time;
each answer must be that of the version that it names, as MLflow's own loader computes it. Meanwhile a scorer is killed
every 15 seconds, the alias moves every 40, each third time to the bad version, and rude clients break rules.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[1:1] = [str(ROOT / "bench"), str(ROOT / "src")]

from processes import find_tree
from serve_clients import EXPECTED, Clients, Tally

NAME, ALIAS, TEXTS = "imdb-conv1d", "champion", 500
KILL_SECONDS, MOVE_SECONDS, RUDE = 15.0, 40.0, 8


def make_versions() -> None:
    """Train versions 1 and 2, and register a copy of 1 with broken weights as 3."""
    for epochs in (1, 2):
        command = [sys.executable, str(ROOT / "src" / "train.py"), f"--epochs={epochs}", "--data=reviews"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    code = """
import mlflow, numpy as np, tensorflow as tf
info = mlflow.models.get_model_info("models:/imdb-conv1d/1")
class Broken(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts):
        return tf.fill(tf.shape(texts), tf.constant(np.nan, tf.float64))
example = np.array(["a text", "another one"], dtype=object)
with mlflow.start_run():
    mlflow.tensorflow.log_model(Broken(), name="model", registered_model_name="imdb-conv1d", signature=info.signature,
        metadata=info.metadata, input_example=example)
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def compute_expected() -> tuple[list[str], dict[str, list[float]]]:
    """Compute what versions 1 and 2 answer to some reviews, in MLflow alone."""
    import mlflow
    import numpy as np

    from imdb_conv1d import readers

    reviews = [text for table in readers.read_reviews() for text in table["text"]]
    texts = reviews[:: len(reviews) // TEXTS][:TEXTS]
    expected = {}
    for version in ("1", "2"):
        model = mlflow.pyfunc.load_model(f"models:/{NAME}/{version}")
        expected[f"{NAME}/{version}"] = np.asarray(model.predict(np.array(texts, dtype=object))).tolist()
    return texts, expected


def measure_memory(pid: int) -> dict[str, float]:
    """Measure the memory in MB of the server and of the largest scorer."""
    found = {}
    for one in find_tree(pid):
        with suppress(OSError, StopIteration):
            lines = Path(f"/proc/{one}/status").read_text().splitlines()
            found[one] = int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024
    return {"server": found.pop(pid, 0.0), "largest scorer": max(found.values(), default=0.0)}


def ask(options: argparse.Namespace, port: int, texts: Sequence[str], expected: Any, queue: Any) -> None:
    """Be all clients: a process of its own."""
    tally = Tally()

    async def run() -> None:
        end = asyncio.Event()
        clients = Clients(port, texts, expected, "texts", "probability", tally)
        tasks = [asyncio.create_task(clients.ask_well(seed, end)) for seed in range(options.clients)]
        tasks += [asyncio.create_task(clients.be_rude(1000 + seed, end)) for seed in range(RUDE)]
        await asyncio.sleep(options.seconds)
        end.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())
    queue.put(tally)


def disturb(server: "subprocess.Popen[bytes]", seconds: float, chance: random.Random, alive: Any) -> dict[str, int]:
    """Kill scorers and move the alias until the clients have ended."""
    import mlflow

    client, begun, moved = mlflow.MlflowClient(), time.monotonic(), 0
    counts = {"kills": 0, "moves": 0, "bad versions offered": 0}
    next_kill, next_move = KILL_SECONDS, MOVE_SECONDS
    while alive() and time.monotonic() - begun < seconds - 12:  # the last ones replaced before the end
        time.sleep(0.2)
        passed = time.monotonic() - begun
        if passed > next_kill:
            next_kill += KILL_SECONDS * chance.uniform(0.6, 1.4)
            counts["kills"] += kill_one(server.pid, chance)
        if passed > next_move:
            next_move += MOVE_SECONDS
            moved += 1
            version = "3" if moved % 3 == 0 else str(1 + moved % 2)
            client.set_registered_model_alias(NAME, ALIAS, version)
            counts["bad versions offered" if version == "3" else "moves"] += 1
            if moved % 2:
                server.send_signal(signal.SIGHUP)
    return counts


def kill_one(root: int, chance: random.Random) -> int:
    """Kill a scorer, be it loaded or loading; returns how many were killed."""
    scorers = []
    for pid in find_tree(root):
        with suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                scorers.append(pid)
    with suppress(ProcessLookupError, IndexError):
        os.kill(chance.choice(scorers), signal.SIGKILL)
        return 1
    return 0


def main() -> None:
    """Load, disturb, compare; exits with 1 if an answer was wrong or missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--folder", type=Path, help="of a store that an earlier call has kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="serve-faults-") as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
        os.environ |= {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "TF_CPP_MIN_LOG_LEVEL": "3"}
        sys.exit(run(options, folder))


def run(options: argparse.Namespace, folder: Path) -> int:
    """Run the whole trial; returns the exit status."""
    if not (folder / "mlflow.db").exists():
        make_versions()
    texts, expected = compute_expected()
    import mlflow

    mlflow.MlflowClient().set_registered_model_alias(NAME, ALIAS, "1")
    command = [sys.executable, str(ROOT / "src" / "serve.py"), f"--model=models:/{NAME}@{ALIAS}", "--port=0"]
    log = (folder / "serve.log").open("wb")
    server = subprocess.Popen([*command, "--reload=5", "--receive_timeout=5"], stdout=log, stderr=log)
    try:
        return try_out(options, server, wait_for_port(folder / "serve.log", server), texts, expected)
    finally:
        server.kill()


def try_out(
    options: argparse.Namespace,
    server: "subprocess.Popen[bytes]",
    port: int,
    texts: Sequence[str],
    expected: dict[str, list[float]],
) -> int:
    """Load, disturb and end a server; returns 1 if an answer was wrong or missing, or its exit status was not 0."""
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    clients = context.Process(target=ask, args=(options, port, texts, expected, queue), daemon=True)
    clients.start()
    samples: list[dict[str, float]] = []
    over = threading.Event()

    def sample() -> None:
        while not over.wait(5):
            samples.append(measure_memory(server.pid))

    threading.Thread(target=sample, daemon=True).start()
    counts = disturb(server, options.seconds, random.Random(1), clients.is_alive)
    tally: Tally = queue.get(timeout=options.seconds + 60)
    clients.join()
    over.set()
    time.sleep(10)
    last = measure_memory(server.pid)
    server.send_signal(signal.SIGTERM)
    status = server.wait(timeout=60)
    report(counts, tally, [*samples[:12], last], status)
    is_strange = bool(set(tally.statuses) - set(EXPECTED)) or not tally.statuses[200]
    return int(bool(tally.wrong or tally.without_status or status or is_strange))


def wait_for_port(log: Path, server: "subprocess.Popen[bytes]") -> int:
    """Wait until the endpoint answers; returns its port.

    Raises:
        RuntimeError: with what it printed, if it ended.
    """
    while " answers, on " not in (text := log.read_text(errors="replace")):
        if server.poll() is not None:
            raise RuntimeError(text)
        time.sleep(0.2)
    return int(text.partition("http://127.0.0.1:")[2].split()[0])


def report(counts: dict[str, int], tally: Tally, memory: list[dict[str, float]], status: int) -> None:
    """Print what was found."""
    seconds = sorted(tally.seconds)
    print(json.dumps(counts))
    print(f"good requests by status: {dict(sorted(tally.statuses.items()))}; by version: {dict(tally.versions)}")
    print(f"p50 {1e3 * seconds[len(seconds) // 2]:.1f} ms, p99 {1e3 * seconds[int(len(seconds) * 0.99)]:.1f} ms")
    print(f"answers wrong {tally.wrong}, requests without a status {tally.without_status}, exit status {status}")
    for deed, count in sorted(tally.rude.items()):
        print(f"  rude: {deed} ({count} times)")
    for name in memory[-1]:
        early = [sample[name] for sample in memory[:-1]]
        print(
            f"memory of the {name}: {min(early):,.0f} to {max(early):,.0f} MB in the first minute, "
            f"{memory[-1][name]:,.0f} at the end"
        )
    for problem in tally.problems:
        print(f"problem: {problem}")


if __name__ == "__main__":
    main()
