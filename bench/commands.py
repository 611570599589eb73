"""Measure whole commands, from start to end: train with patience 3, register, evaluate; beside a plain Keras script.

python bench/commands.py [--rounds 5] [--cold 2] [--ways "one command" "plain Keras"]

The ways alternate, each run in a fresh folder with an initialized SQLite store; seeds are equal in a round. Plain Keras
(``bench/keras_whole.py``) reads ready ids and fits no baseline; this project reads texts. The number of epochs is a
matter of chance, so seconds of an epoch and outside of epochs are apart. Cold runs have an empty home and no store.
"""

import argparse
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

import epochs
import ids
import timeline
from timeline import Timeline

TRAIN = [str(epochs.SRC / "train.py"), "--data=reviews"]
EVALUATE = [str(epochs.SRC / "evaluate.py")]
KERAS = str(epochs.HERE / "keras_whole.py")
WAYS = ("one command", "two commands", "two commands, baseline=false", "plain Keras", "plain Keras, lean")
PATIENCE, FIRST_SEED = 3, 7


def make_commands(way: str, file: str, patience: int, seed: int) -> list[list[str]]:
    """Make the commands of one way, which run one after the other."""
    train = [*TRAIN, f"--patience={patience}", f"--seed={seed}"]
    if way.startswith("plain Keras"):
        return [[KERAS, file, str(patience), str(seed), *way.split(", ")[1:]]]
    if way == "one command":
        return [[*train, "--evaluate=true"]]
    return [train, [*EVALUATE, *("--" + word for word in way.split(", ")[1:])]]


def is_supported(script: Sequence[str], parameter: str) -> bool:
    """Whether a script's help names a parameter."""
    told = subprocess.run([epochs.PYTHON, *script, "--help"], capture_output=True, text=True, check=True).stdout
    return bool(re.search(rf"--{parameter}\b", told))


class Bench:
    """Run ways in a folder that each run finds as new."""

    def __init__(self, folder: Path, file: str, patience: int) -> None:
        self.file, self.patience, self.warm = file, patience, folder / "warm"
        self.folder, self.template = folder / "run", folder / "mlflow.db"
        self.folder.mkdir()
        timeline.make_store(self.folder, self.warm).replace(self.template)

    def run(self, way: str, seed: int, is_cold: bool = False) -> Timeline:
        """Run a way once, and print what it took."""
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        home = self.folder / "home" if is_cold else self.warm
        if not is_cold:
            shutil.copy(self.template, self.folder / "mlflow.db")
        environment = timeline.make_environment(self.folder, home)
        found = timeline.run(make_commands(way, self.file, self.patience, seed), self.folder, environment)
        inside = sum(found.epochs)
        lines = [line for _, line in found.lines]
        tested = next(
            (match[0] for line in lines if (match := re.match(r"test_loss \S+, test_accuracy \S+", line))), ""
        )
        name = f"{'cold' if is_cold else 'warm'}  {way}, seed {seed}"
        took = f"{len(found.epochs)} epochs in {inside:.1f} s, {found.seconds - inside:.1f} s outside"
        print(f"{name}: {found.seconds:.1f} s, {took}, {found.peak:,.0f} MB; {tested}", flush=True)
        return found


NUMBERS: dict[str, Callable[[Timeline], float]] = {
    "the whole": lambda one: one.seconds,
    "CPU seconds of the whole": lambda one: one.cores,
    "an epoch": lambda one: median(one.epochs[1:] or one.epochs),
    "outside of epochs": lambda one: one.seconds - sum(one.epochs),
}


def make_table(name: str, measured: Mapping[str, Sequence[Timeline]], base: str) -> str:
    """Make a table of one of ``NUMBERS``: its seconds, and how many times as fast as ``base`` each way is."""
    others, rows = [NUMBERS[name](one) for one in measured[base]], list[list[object]]()
    for way, own in measured.items():
        values = [NUMBERS[name](one) for one in own]
        numbers = [median(values), min(values), median(others) / median(values), min(others) / min(values)]
        counts = " ".join(str(len(one.epochs)) for one in own)
        rows.append([way, *numbers, counts, f"{max(one.peak for one in own):,.0f}"])
    head = [name, "median, s", "minimum, s", "times as fast, medians", "minima", "epochs", "peak MB"]
    return epochs.table(head, rows)


def make_timeline(way: str, warm: Sequence[Timeline], cold: Sequence[Timeline]) -> str:
    """Make the table of a way's lines of output, warm and cold: medians of the runs in which a line came."""
    rows, before = [], 0.0
    of_cold = {timeline.describe(line): at for at, _, line in reversed(timeline.merge(cold))}
    for at, count, line in timeline.merge(warm):
        of = f" ({count} of {len(warm)} runs)" if count < len(warm) else ""
        first = of_cold.get(timeline.describe(line))
        shown = line.replace("|", "\\|")[:100] + of
        is_epoch = bool(timeline.EPOCH.search(line))
        rows.append([shown, f"{at:.2f}", f"{at - before:.2f}", "" if first is None or is_epoch else f"{first:.2f}"])
        before = at
    ends = [f"{median(one.seconds for one in own):.2f}" if own else "" for own in (warm, cold)]
    rows.append(["exit", ends[0], f"{float(ends[0]) - before:.2f}", ends[1]])
    head = ["a line of output", "s since the start", "s since the line before", "s since the start, cold"]
    return f"**{way}**\n\n{epochs.table(head, rows)}"


def main() -> None:
    """Measure, print and write bench/out/commands.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cold", type=int, default=2, help="cold runs of this project's first way")
    parser.add_argument("--patience", type=int, default=PATIENCE)
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=WAYS)
    options = parser.parse_args()
    ways = list(options.ways)
    if "one command" in ways and not is_supported(TRAIN[:1], "evaluate"):
        ways.remove("one command")
        print("src/train.py has no parameter evaluate: one command is left out")
    own = [way for way in ways if "command" in way]
    measured: dict[str, list[Timeline]] = {way: [] for way in ways}
    cold: dict[str, list[Timeline]] = {way: [] for way in own}
    subprocess.run([epochs.PYTHON, str(epochs.HERE / "ids.py")], check=True)  # keeps TensorFlow out of this process
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        bench = Bench(Path(name).resolve(), str(ids.FILE), options.patience)
        for number in range(options.cold):
            for way in own[:1]:
                cold[way].append(bench.run(way, FIRST_SEED + number, is_cold=True))
        for way in own[:1]:
            bench.run(way, FIRST_SEED)  # fills the caches of the warm home, if there are any
        for number in range(options.rounds):
            for way in ways:
                measured[way].append(bench.run(way, FIRST_SEED + number))
    base = ways[-1]
    seeds = f"{FIRST_SEED} to {FIRST_SEED + options.rounds - 1}"
    note = (
        f"{options.rounds} alternating runs each, seeds {seeds}, patience {options.patience}. Times as fast: against "
        f"the last line. An epoch is a run's median of epochs 2 and later; outside of epochs are start, data, store, "
        f"registry, evaluation, end."
    )
    texts = [*(make_table(name, measured, base) for name in NUMBERS), note]
    texts += [make_timeline(way, measured[way], cold[way]) for way in own]
    epochs.write("commands.md", "\n\n".join(texts))


if __name__ == "__main__":
    main()
