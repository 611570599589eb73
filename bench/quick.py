"""Compare the working tree with a commit within five minutes: start, epochs, end, evaluation, refusal, memory.

make bench-quick REF=main
python bench/quick.py main [--seconds 270]
python bench/quick.py --coverage   # how often an interval is wrong, by the scatter of runs of one commit with itself

Both sides run with this environment, on the same 5,000 reviews, in turn, and in the other order in each second round,
until the time is used. A ratio is here / there of one round; its interval is Student's, of the mean of the logarithms.
"""

import argparse
import csv
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from scipy import stats

import epochs
import timeline

ROWS = 5000  # of the table to train on, and of that to evaluate on
LEVEL, LEAST_ROUNDS, REFUSALS = 0.95, 3, 5
FLAGS = {"train": ["--epochs=6", "--seed=7"], "evaluate": ["--baseline=false"]}
Values = dict[str, float]
RAW = epochs.OUT / "quick.json"


@dataclass(frozen=True)
class Interval:
    """A ratio, and between which it lies in ``LEVEL`` of all comparisons; unknown if infinite."""

    ratio: float
    low: float
    high: float

    @property
    def differs(self) -> bool:
        """Whether it excludes 1."""
        return self.low > 1 or self.high < 1


def find_interval(ratios: Sequence[float], level: float = LEVEL) -> Interval:
    """Find Student's interval of the geometric mean of independent ratios."""
    logs = np.log(ratios)
    mean = logs.mean()
    if len(logs) < 2:
        return Interval(float(np.exp(mean)), 0.0, float("inf"))
    half = stats.t.ppf((1 + level) / 2, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
    return Interval(*(float(np.exp(value)) for value in (mean, mean - half, mean + half)))


def simulate(logs: Sequence[float], rounds: int, samples: int = 10_000) -> float:
    """Estimate how often an interval of so many rounds excludes 1 where nothing differs.

    Args:
        logs: measured logarithms of ratios of one commit with itself; they are drawn with either sign.
    """
    rng = np.random.default_rng(7)
    drawn = rng.choice(np.asarray(logs), (samples, rounds)) * rng.choice([-1, 1], (samples, rounds))
    half = stats.t.ppf((1 + LEVEL) / 2, rounds - 1) * drawn.std(axis=1, ddof=1) / np.sqrt(rounds)
    return float((np.abs(drawn.mean(axis=1)) > half).mean())


@dataclass(frozen=True)
class Side:
    """A tree of the code, with the flags that both trees know."""

    name: str
    root: Path
    flags: Mapping[str, Sequence[str]]

    def script(self, verb: str) -> str:
        """The script of a verb."""
        return str(self.root / "src" / f"{verb}.py")


def find_known(root: Path, flags: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """Find which flags of each verb a tree's scripts name in their help."""
    known = {}
    for verb, own in flags.items():
        command = [epochs.PYTHON, str(root / "src" / f"{verb}.py"), "--help"]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        known[verb] = {flag for flag in own if re.search(rf"{flag.split('=')[0]}\b", told)}
    return known


@contextmanager
def checked_out(ref: str, folder: Path) -> Iterator[Path]:
    """Check a commit out into a folder of its own, for as long as the block lasts."""
    git = ["git", "-C", str(epochs.HERE.parent), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), ref], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=False)


def write_tables(folder: Path) -> None:
    """Write two tables of reviews, train.csv and test.csv, with as many of each label."""
    sys.path.insert(0, str(epochs.SRC))
    from imdb_conv1d import readers

    rows = [row for table in readers.read_reviews() for row in zip(table["text"], table["label"], strict=True)]
    for first, name in enumerate(("train", "test")):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows[first :: len(rows) // ROWS][:ROWS]])


class Bench:
    """Measure a side once, in a folder that each run finds as new."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run_folder = folder, folder / "run"
        self.run_folder.mkdir()
        home = folder / "home"
        timeline.make_store(self.run_folder, home).replace(folder / "mlflow.db")

    def measure(self, side: Side, is_short: bool = False) -> Values:
        """Train, evaluate, be refused; only train if it is short, to fill the caches."""
        shutil.rmtree(self.run_folder)
        self.run_folder.mkdir()
        shutil.copy(self.folder / "mlflow.db", self.run_folder)
        environment = timeline.make_environment(self.run_folder, self.folder / f"home-{side.name}")

        def call(verb: str, *words: str, statuses: Sequence[int] = (0,)) -> timeline.Timeline:
            command = [side.script(verb), *side.flags.get(verb, ()), *words]
            return timeline.run([command], self.run_folder, environment, statuses)

        trained = call("train", f"--data={self.folder / 'train.csv'}")
        if is_short:
            return {}
        scored = call("evaluate", f"--data={self.folder / 'test.csv'}")
        refused = [call("train", "--patience=-1", statuses=(1, 2)).seconds for _ in range(REFUSALS)]
        last = [at for at, line in trained.lines if timeline.EPOCH.search(line)][-1]
        return {
            "to the first step, s": trained.when(timeline.FIRST_STEP.pattern),
            "an epoch, s": median(trained.epochs[1:]) if len(trained.epochs) > 1 else float("nan"),
            "end of a training, s": trained.seconds - last,
            "a training, CPU s": trained.cores,
            "an evaluation, s": scored.seconds,
            "a refusal, s": median(refused),
            "a training, MB": trained.peak,
            "an evaluation, MB": scored.peak,
        }


def make_table(rounds: Sequence[tuple[Values, Values]], ref: str) -> str:
    """Make the table of all measures of rounds: values there and here."""
    rows = list[list[object]]()
    for name in rounds[0][0]:
        pairs = [(there[name], here[name]) for there, here in rounds]
        found = find_interval([here / there for there, here in pairs])
        verdict = ("more" if found.ratio > 1 else "less") if found.differs else "nothing"
        medians = [median(side) for side in zip(*pairs, strict=True)]
        rows.append([name, *medians, f"{found.ratio:.3f}", f"{found.low:.3f} to {found.high:.3f}", verdict])
    return epochs.table(["", ref, "here", "ratio", f"{LEVEL:.0%} interval", "shown"], rows)


def compare(ref: str, seconds: float) -> None:
    """Compare until the time is used; print and write bench/out/quick.md and quick.json."""
    start = time.perf_counter()
    rounds: list[tuple[Values, Values]] = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        checked_out(ref, Path(name).resolve() / "there") as there,
    ):
        folder, here = there.parent, epochs.HERE.parent
        subprocess.run(
            [epochs.PYTHON, __file__, "--tables", str(folder)], check=True
        )  # its imports are no part of this
        known = [find_known(root, FLAGS) for root in (there, here)]
        flags = {verb: [flag for flag in own if all(flag in one[verb] for one in known)] for verb, own in FLAGS.items()}
        for verb, own in FLAGS.items():
            for flag in sorted(set(own) - set(flags[verb])):
                print(f"{verb}: {flag} is left out on both sides, since one does not know it")
        bench, sides = Bench(folder), [Side("there", there, flags), Side("here", here, flags)]
        for side in sides:
            bench.measure(side, is_short=True)
        longest = 0.0
        while len(rounds) < LEAST_ROUNDS or time.perf_counter() - start + longest < seconds:
            begin = time.perf_counter()
            order = sides[:: -1 if len(rounds) % 2 else 1]
            found = {side.name: bench.measure(side) for side in order}
            rounds.append((found["there"], found["here"]))
            longest = max(longest, time.perf_counter() - begin)
            ratios = [f"{name} {found['here'][name] / value:.2f}" for name, value in found["there"].items()]
            print(f"round {len(rounds)}: {', '.join(ratios)}", flush=True)
    epochs.OUT.mkdir(exist_ok=True)
    RAW.write_text(json.dumps(rounds))
    count, measures = len(rounds), len(rounds[0][0])
    note = (
        f"{count} rounds, medians of each; {ROWS:,} reviews to train on and to evaluate on. Where nothing differs, an "
        f"interval excludes 1 in one of 20 comparisons, and one of these {measures} does so in one of three."
    )
    epochs.write("quick.md", f"{make_table(rounds, ref)}\n\n{note}")


def tell_coverage(files: Sequence[Path]) -> None:
    """Print how often intervals exclude 1, by the scatter of comparisons of one commit with itself."""
    rounds = [pair for path in files for pair in json.loads(path.read_text())]
    rows = list[list[object]]()
    for name in rounds[0][0]:
        logs = np.log([here[name] / there[name] for there, here in rounds])
        shares = [f"{simulate(logs, count):.3f}" for count in (3, 4, 5, 8)]
        rows.append([name, f"{logs.std():.3f}", *shares])
    head = ["", "scatter of a round's ratio", *(f"{count} rounds" for count in (3, 4, 5, 8))]
    print(
        f"{epochs.table(head, rows)}\n\nShare of intervals that exclude 1 where nothing differs; {len(rounds)} rounds."
    )


def main() -> None:
    """Compare, or tell how often an interval is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ref", nargs="?", default="HEAD", help="a commit")
    parser.add_argument("--seconds", type=float, default=270, help="no round begins that would end later")
    parser.add_argument("--coverage", nargs="*", type=Path, help=f"files such as {RAW.name} of one commit with itself")
    parser.add_argument("--tables", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tables:
        write_tables(options.tables)
    elif options.coverage is not None:
        tell_coverage(options.coverage or [RAW])
    else:
        compare(options.ref, options.seconds)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
