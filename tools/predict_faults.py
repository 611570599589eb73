"""Kill predictions and their workers, resume them, and compare every byte with an uninterrupted prediction.

python tools/predict_faults.py                       # each named point, then 100 random kills
python tools/predict_faults.py --kills 1000 --seed 2 --cold

The experiment is made up and has no model; processes, files and locks are real. At a named point, a process kills
itself: in a worker before, within and after a part is written; in the prediction before, within and after a part is
noted and the manifest is written. Random kills (SIGKILL to the prediction, to a worker, to all at once; Ctrl-C and
SIGTERM in between) come at any moment. A killed prediction is begun again at once, with the same command.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[1:1] = [str(ROOT / "tests"), str(ROOT / "src")]

import pyarrow.parquet as pq

from helpers import predicting
from helpers.answering import OF_WORKERS, POINTS, Doubler

SIGNALS = {"Ctrl-C": (signal.SIGINT, 130), "SIGTERM": (signal.SIGTERM, 143)}
WHO = ("prediction", "worker", "all", *SIGNALS)
ROWS, PART_ROWS, BAD = 990, 50, (3, 4, 200, 989)
GRACE = 20.0


@dataclass
class Counts:
    """What was found: kills, and how the answers differ from those without one."""

    killed: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    doubled: int = 0
    differing: int = 0
    problems: list[str] = field(default_factory=list)


class Predictions:
    """A folder with an input, the answers without a kill, and attempts at others."""

    def __init__(self, folder: Path, workers: int, is_cold: bool) -> None:
        self.folder, self.is_cold, self.counts = folder, is_cold, Counts()
        self.data = predicting.make_input(folder / "rows.csv", ROWS, BAD)
        self.workers, self.log = workers, folder / "log"
        started = time.monotonic()
        if (status := self.finish(Doubler(), folder / "expected")) != 0:
            raise RuntimeError(f"exit {status} without a kill: {self.log.read_text()[-2000:]}")
        self.seconds = time.monotonic() - started
        self.expected = predicting.read_output(folder / "expected")

    def begin(self, experiment: Doubler, output: Path) -> int:
        """Begin or resume a prediction; returns its PID."""
        words = [f"--data={self.data}", f"--output={output}", f"--part_rows={PART_ROWS}", f"--workers={self.workers}"]
        return predicting.fork(experiment, words, self.log, self.is_cold)

    def finish(self, experiment: Doubler, output: Path) -> int:
        """Run a prediction to its end; returns its exit status."""
        return predicting.wait(self.begin(experiment, output))

    def compare(self, output: Path, what: str) -> None:
        """Compare a finished output with the one without a kill."""
        got = predicting.read_output(output)
        ids = Counter[int]()
        for path in sorted(output.glob("part-*.parquet")):
            ids.update(pq.ParquetFile(path).read(["id"], use_threads=False)["id"].to_pylist())
        answered = set(range(ROWS)) - set(BAD)
        self.counts.lost += len(answered - set(ids))
        self.counts.doubled += sum(count - 1 for count in ids.values())
        names = [name for name in {*got, *self.expected} if got.get(name) != self.expected.get(name)]
        manifests = [_read_manifest(one) for one in (output, self.folder / "expected")]
        if manifests[0] != manifests[1]:
            names.append("manifest.json")
        left = sorted(path.name for path in output.iterdir() if not path.name.startswith("part-"))
        if left != ["manifest.json", "rejected"]:
            names += left
        self.counts.differing += len(names)
        if names:
            self.counts.problems.append(f"{what}: {', '.join(sorted(names))} differ")

    def kill_at(self, point: str, times: int) -> None:
        """Kill at a named point, resume, compare."""
        what, before = f"{point}, time {times}", len(self.counts.problems)
        output = self.folder / "point"
        (self.folder / "passed").unlink(missing_ok=True)
        status = self.finish(Doubler(str(self.folder), point, times), output)
        passed = (self.folder / "passed").stat().st_size if (self.folder / "passed").exists() else 0
        if passed < times:
            self.counts.problems.append(f"{what}: not passed")
        wanted = 0 if point in OF_WORKERS or point == "training seen" else -signal.SIGKILL
        if status != wanted:
            self.counts.problems.append(f"{what}: exit {status}: {self.log.read_text()[-500:]}")
        self.counts.killed[point] += 1
        if status and (status := self.finish(Doubler(), output)):
            self.counts.problems.append(f"{what}: exit {status} of the resumed one: {self.log.read_text()[-500:]}")
        self.compare(output, what)
        shutil.rmtree(output)
        print(f"{what}: {'differs' if len(self.counts.problems) > before else 'as without a kill'}", flush=True)

    def kill_at_random(self, kills: int, chance: random.Random) -> None:
        """Kill predictions at random moments, each until it has survived one, and compare those that have finished."""
        output = self.folder / "random"
        number = 0
        while sum(self.counts.killed[who] for who in WHO) < kills:
            number += 1
            pid = self.begin(Doubler(seconds=0.02), output)
            who = chance.choice(WHO)
            time.sleep(chance.uniform(0, 1.3 * self.seconds))
            if self._kill(who, pid):
                self.counts.killed[who] += 1
            elif (output / "manifest.json").exists():
                self.compare(output, f"random kill {number}")
                shutil.rmtree(output)
        if status := self.finish(Doubler(), output):
            self.counts.problems.append(f"exit {status} of the last one: {self.log.read_text()[-900:]}")
        else:
            self.compare(output, "the last random kill")

    def _kill(self, who: str, pid: int) -> bool:
        """Kill; returns whether the prediction did not end by itself, and waits for its end."""
        workers = _children(pid)
        chosen = {"prediction": [pid], "worker": workers[:1], "all": [pid, *workers]}.get(who, [])
        for one in chosen:
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        if who in SIGNALS:
            with suppress(ProcessLookupError):
                (os.killpg if who == "Ctrl-C" else os.kill)(pid, SIGNALS[who][0])
        status = predicting.wait(pid)
        if who == "worker":
            if status:
                self.counts.problems.append(f"worker: exit {status}: {self.log.read_text()[-500:]}")
            return False
        allowed = {0, -signal.SIGKILL} if who in ("prediction", "all") else {0, SIGNALS[who][1], -SIGNALS[who][0]}
        if status not in allowed:
            self.counts.problems.append(f"{who}: exit {status}: {self.log.read_text()[-500:]}")
        end = time.monotonic() + GRACE
        while [one for one in workers if _is_alive(one)]:
            if time.monotonic() > end:
                self.counts.problems.append(f"{who}: workers live on")
                break
            time.sleep(0.01)
        return status != 0


def _read_manifest(output: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((output / "manifest.json").read_text())
    return content


def _children(pid: int) -> list[int]:
    try:
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:
        return []


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def main() -> int:
    """Kill, compare and print a table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="random kills")
    parser.add_argument("--times", type=int, default=2, help="kills at each named point")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cold", action="store_true", help="start workers as usual, instead of forking them")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    predicting.import_all()
    with tempfile.TemporaryDirectory() as folder:
        predictions = Predictions(Path(folder), options.workers, options.cold)
        for point in POINTS:
            once = point.startswith(("manifest", "before the manifest", "training"))
            for times in range(1, 2 if once else options.times + 1):
                predictions.kill_at(point, times)
        predictions.kill_at_random(options.kills, random.Random(options.seed))
    counts = predictions.counts
    for problem in counts.problems:
        print(problem)
    print(f"killed: {', '.join(f'{name} {count}' for name, count in counts.killed.items())}")
    print(f"rows lost {counts.lost}, doubled {counts.doubled}, differing files {counts.differing}")
    if options.json:
        options.json.write_text(json.dumps(vars(counts), indent=1))
    return int(bool(counts.problems or counts.lost or counts.doubled or counts.differing))


if __name__ == "__main__":
    sys.exit(main())
