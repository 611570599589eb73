"""Load a served model with 1, 8 and 64 clients: this project's endpoint and `mlflow models serve`, in turn.

python bench/serving.py --rounds 3 --seconds 10

The generator is wrk (Debian: apt-get install wrk), on the same machine; a request holds one review. Both servers run
all the time, and are loaded one after the other, so that what the machine does meanwhile concerns both. Latencies are
wrk's; an error is another status than 200, or a connection that broke.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import epochs
from processes import find_tree

MODEL = "models:/imdb-conv1d@candidate"
NAMES = {
    "mlflow": "`mlflow models serve`",
    "serve": "this endpoint, `/predict`",
    "invocations": "this endpoint, `/invocations`",
}
TEXTS = 1000
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local bodies, count = {}, 0
for line in io.lines("BODIES") do bodies[#bodies + 1] = line end
request = function()
  count = count + 1
  return wrk.format(nil, nil, nil, bodies[(count * 7919) % #bodies + 1])
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('RESULT {"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "max": %f, "errors": %d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def write_bodies(folder: Path) -> None:
    """Write requests of one review each, one a line, and wrk's scripts."""
    sys.path.insert(0, str(epochs.SRC))
    from imdb_conv1d import readers

    reviews = [text for table in readers.read_reviews() for text in table["text"]]
    chosen = reviews[:: len(reviews) // TEXTS][:TEXTS]
    for name, key in (("mlflow", "inputs"), ("invocations", "inputs"), ("serve", "texts")):
        bodies = folder / f"{name}.txt"
        bodies.write_text("\n".join(json.dumps({key: [text]}) for text in chosen))
        (folder / f"{name}.lua").write_text(SCRIPT.replace("BODIES", str(bodies)))


def find_port() -> int:
    """Find a free port."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


@contextmanager
def start(command: Sequence[str], folder: Path, url: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a server, and wait until it answers.

    Raises:
        RuntimeError: with the end of its output, if it does not.
    """
    log = folder / f"{Path(command[1]).stem}-{url.rpartition(':')[2].partition('/')[0]}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, env=make_environment(folder))
    try:
        end = time.monotonic() + 180
        while True:
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(log.read_text(errors="replace")[-3000:]) from None
                time.sleep(0.5)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


def make_environment(folder: Path) -> dict[str, str]:
    """Make the environment of training and servers: a store of their own."""
    return os.environ | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def measure_memory(process: "subprocess.Popen[bytes]") -> float:
    """Measure the memory of a process and all below it in MB; pages that they share are counted once."""
    total = 0.0
    for pid in find_tree(process.pid):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024
    return total


def load(folder: Path, way: str, url: str, clients: int, seconds: int) -> dict[str, float]:
    """Load a server; returns what wrk has measured, and requests a second.

    Two seconds of the same load come before: the machine takes memory from processes that idle.
    """
    printed = ""
    for duration in (2, seconds):
        command = ["wrk", "-t1", f"-c{clients}", f"-d{duration}", "--timeout", "30", "-s", f"{folder / way}.lua", url]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(printed.partition("RESULT ")[2].splitlines()[0])
    return found | {"rate": found["requests"] / found["seconds"]}


def format_row(way: str, clients: int, runs: list[dict[str, float]], memory: float) -> list[str]:
    """Format the median of the rounds; of p99 and errors also the worst."""
    middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    worst = {name: max(run[name] for run in runs) for name in ("p99", "errors")}
    least = min(run["rate"] for run in runs)
    return [
        NAMES[way], str(clients), f"{middle['rate']:,.0f} ({least:,.0f})", f"{middle['p50']:.1f}",
        f"{middle['p99']:.1f} ({worst['p99']:.1f})", f"{worst['errors']:.0f}", f"{memory:,.0f}",
    ]  # fmt: skip


def main() -> None:
    """Train, start both servers, load them in turn, write bench/out/serving.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 8, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10, help="of each load")
    parser.add_argument("--workers", type=int, default=2, help="scorers of the endpoint")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        parser.error("wrk is missing: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary, ExitStack() as stack:
        folder = Path(temporary)
        write_bodies(folder)
        train = [sys.executable, str(epochs.SRC / "train.py"), "--epochs=2", "--data=reviews"]
        subprocess.run(train, cwd=folder, env=make_environment(folder), check=True, stdout=subprocess.DEVNULL)
        ours, theirs = (f"http://127.0.0.1:{find_port()}" for _ in range(2))
        port = [url.rpartition(":")[2] for url in (ours, theirs)]
        serve = [sys.executable, str(epochs.SRC / "serve.py"), f"--model={MODEL}", f"--workers={options.workers}"]
        mlflow = [sys.executable, "-m", "mlflow", "models", "serve", "-m", MODEL, "--env-manager=local"]
        processes = {
            "serve": stack.enter_context(start([*serve, f"--port={port[0]}"], folder, f"{ours}/ready")),
            "mlflow": stack.enter_context(start([*mlflow, f"--port={port[1]}"], folder, f"{theirs}/ping")),
        }
        processes["invocations"] = processes["serve"]
        urls = {"mlflow": f"{theirs}/invocations", "serve": f"{ours}/predict", "invocations": f"{ours}/invocations"}
        runs: dict[tuple[str, int], list[dict[str, float]]] = defaultdict(list)
        memory: dict[tuple[str, int], float] = {}
        for _ in range(options.rounds):
            for clients in options.clients:
                for way, url in urls.items():
                    runs[way, clients].append(found := load(folder, way, url, clients, options.seconds))
                    memory[way, clients] = measure_memory(processes[way])
                    print(way, clients, json.dumps(found), flush=True)
    rows = [
        format_row(way, clients, runs[way, clients], memory[way, clients])
        for way in urls
        for clients in options.clients
    ]
    head = ["server", "clients", "requests a second (least)", "p50 ms", "p99 ms (most)", "errors", "MB"]
    epochs.write("serving.md", epochs.table(head, rows))


if __name__ == "__main__":
    main()
