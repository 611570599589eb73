"""Profile one request to the endpoint: where its time goes, from the socket to the socket.

python bench/request.py --requests 2000

One client asks about one review after the other; the clocks are of the endpoint's own processes. What is measured is
the code as it is: calls are wrapped by clocks, which take part of a microsecond each.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import epochs

sys.path.insert(0, str(epochs.SRC))

import serving

FRONT = "front"
TIMES: dict[str, list[float]] = defaultdict(list)  # of this process, by step
IN_FRONT = [  # module, class, function, step
    ("tracked.serve.app", "Asking", "__call__", "application, from head to answer"),
    ("tracked.serve.app", "", "read_body", "receive the body"),
    ("tracked.serve.app", "", "parse_plain", "read the JSON"),
    ("tracked.serve.app", "", "check_rows", "check the rows"),
    ("tracked.serve.scorer_process", "ScorerProcess", "score", "scorer, there and back"),
]
IN_SCORER = [
    ("tracked.serve.scorer", "Scoring", "score", "score"),
    ("tracked.serve.scorer", "Scoring", "_make_table", "make the table"),
    ("imdb_conv1d.text_scorer", "TextScorer", "find_bad", "find bad rows"),
    ("imdb_conv1d.text_scorer", "TextScorer", "predict", "split, number, sum up, classify"),
    ("imdb_conv1d.text_scorer", "TextScorer", "describe", "describe the answers"),
]


def clock(module: str, owner: str, name: str, step: str) -> None:
    """Wrap a function by a clock."""
    place: Any = __import__(module, fromlist=["x"])
    place = getattr(place, owner) if owner else place
    call: Callable[..., Any] = getattr(place, name)
    times = TIMES[step]
    if asyncio.iscoroutinefunction(call):

        async def timed(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return await call(*arguments, **named)
            finally:
                times.append(time.perf_counter() - began)

        setattr(place, name, timed)
        return

    def measured(*arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return call(*arguments, **named)
        finally:
            times.append(time.perf_counter() - began)

    setattr(place, name, measured)


def work(connection: Any, setting: Any) -> None:
    """Be a scorer with clocks, which leaves its times in a file."""
    from tracked.serve import scorer

    for one in IN_SCORER:
        clock(*one)
    leave = os._exit

    def exit_after(status: int) -> None:
        write("scorer")
        leave(status)

    scorer.os._exit = exit_after  # type: ignore[assignment]
    scorer.work(connection, setting)


def write(name: str) -> None:
    """Write the times of this process."""
    Path(f"{name}.json").write_text(json.dumps(TIMES))


def serve(words: list[str]) -> None:
    """Serve with clocks."""
    from imdb_conv1d.experiment import EXPERIMENT
    from tracked.console.serve_parameters import make_serve_parameters
    from tracked.serve import scorer_process, server

    scorer_process.work = work
    # Not killed, so that it writes its times: it ends with the connection.
    scorer_process.ScorerProcess.end = _end  # type: ignore[method-assign]
    for one in IN_FRONT:
        clock(*one)
    server.run(EXPERIMENT, make_serve_parameters(EXPERIMENT).parse(words), "")
    write(FRONT)


async def _end(self: Any) -> int:
    self._writer.close()
    await asyncio.get_running_loop().run_in_executor(None, self._process.join)
    return 0


def ask(folder: Path, url: str, count: int) -> list[float]:
    """Ask one request after the other on one connection; returns the seconds of each."""
    import http.client

    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    bodies = (folder / "serve.txt").read_text().splitlines()
    seconds = []
    for number in range(count):
        began = time.perf_counter()
        connection.request("POST", "/predict", bodies[number % len(bodies)], {"Content-Type": "application/json"})
        connection.getresponse().read()
        seconds.append(time.perf_counter() - began)
    return seconds


def main() -> None:
    """Train, serve, ask, write bench/out/request.md."""
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        folder = Path(temporary)
        serving.write_bodies(folder)
        train = [sys.executable, str(epochs.SRC / "train.py"), "--epochs=1", "--data=reviews"]
        subprocess.run(train, cwd=folder, env=serving.make_environment(folder), check=True, stdout=subprocess.DEVNULL)
        url = f"http://127.0.0.1:{serving.find_port()}"
        command = [sys.executable, __file__, "--serve", f"--model={serving.MODEL}", f"--port={url.rpartition(':')[2]}"]
        with serving.start([*command, "--workers=1"], folder, f"{url}/ready"):
            asked = ask(folder, url, options.requests)
        times = {name: json.loads((folder / f"{name}.json").read_text()) for name in (FRONT, "scorer")}
    rows = [["client: a request", *format_times(asked)]]
    for where, steps in ((FRONT, IN_FRONT), ("scorer", IN_SCORER)):
        rows += [[f"{where}: {step}", *format_times(times[where][step][-options.requests :])] for *_, step in steps]
    epochs.write("request.md", epochs.table(["step", "median \u00b5s", "99 % below"], rows))


def format_times(seconds: list[float]) -> list[str]:
    """Format median and 99th percentile in microseconds."""
    ordered = sorted(seconds)
    return [f"{1e6 * statistics.median(ordered):,.0f}", f"{1e6 * ordered[int(len(ordered) * 0.99)]:,.0f}"]


if __name__ == "__main__":
    main()
