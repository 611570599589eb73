"""Kill a search and its workers, resume it, and compare it with an uninterrupted search.

make search-faults
python tools/search_faults.py --experiment diabetes --trials 50 --kills 50 --seed 1
python tools/search_faults.py --experiment imdb-conv1d --trials 12 --kills 5 --flags "--data=reviews --epochs=3"

The search is a process as a user starts it, on one SQLite store. In turn, SIGKILL comes to the search alone, to a
worker alone, and to all of them at once; Ctrl-C (as a terminal sends it, to the process group) and SIGTERM come in
between. Moments are random: some while a process starts, most during the trials, some while the choice is confirmed and
while the winner is registered. A killed search is resumed at once with --resume latest, until it has finished.
"""

import argparse
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[1]
sys.path[1:1] = [str(ROOT / "tests"), str(ROOT / "src"), str(ROOT / "examples" / "diabetes")]

import search_processes
import search_store
from helpers.forked import in_child
from helpers.subjects import SMALL, SUBJECTS, WIDE
from search_processes import COMM

SIGNALS = {"Ctrl-C": (signal.SIGINT, 130), "SIGTERM": (signal.SIGTERM, 143)}
WHO = ("search", "worker", "all", *SIGNALS)
ACTOR = "ray::TrackedWorker"  # Ray gives its processes the class's name
LATE = {"confirming": 0.1, "registering": 0.2, "starting": 0.1}  # shares of the kills; the others come in the trials
GRACE = 75.0  # seconds in which a search that a signal ends, or a worker without its search, has ended
EPOCHS = ["--epochs=6", "--patience=2", "--confirm=1"]
COMMANDS = {
    "diabetes": str(ROOT / "examples" / "diabetes" / "diabetes.py"),
    "imdb-conv1d": str(ROOT / "src"),
}
FLAGS = {
    "diabetes": [*EPOCHS],
    "imdb-conv1d": [
        *(flag for flag in SMALL if "learning_rate" not in flag), WIDE, "--data=reviews.csv", "--batch_size=8", *EPOCHS,
        "--space=learning_rate=0.001..0.1/log filters=4..12/4 dropout=0..0.6 schedule=constant,cosine",
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Kill:
    """Whom to kill, from which phase on, and after which share of the time that there is."""

    who: str
    phase: str
    share: float


@dataclass
class Landed:
    """A kill that hit, and the phase that the search was in."""

    who: str
    phase: str


@dataclass
class Pace:
    """Seconds of a search without a kill: to its run, to its first training's end, a training, its end (a guess)."""

    start: float = 5.0
    first: float = 15.0
    training: float = 3.0
    end: float = 10.0


@dataclass
class Process:
    """A search's process and the workers that it has had, by PID with the time at which each started."""

    process: "subprocess.Popen[bytes] | search_processes.Forked"
    log: Path
    begun: float
    seen: dict[int, str]  # those of all processes
    left_running: frozenset[tuple[str, str]]  # trainings, by a kill before it
    workers: dict[int, str] = field(default_factory=dict)

    def find_workers(self) -> list[int]:
        """Find its workers that live."""
        children = find_children(self.process.pid)
        for pid in [*children, *(one for child in children for one in find_children(child))]:  # Ray's are its raylet's
            if pid not in self.workers and _is_worker(pid):
                self.workers[pid] = self.seen[pid] = start_of(pid)
        return [pid for pid, start in self.workers.items() if start and start_of(pid) == start]

    @property
    def has_run(self) -> bool:
        """Whether it has printed the id of its run."""
        return "\nrun " in f"\n{self.log.read_text(errors='replace')}"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def find_children(pid: int) -> list[int]:
    """Find the processes that the main thread of a process has started and that live."""
    return [int(child) for child in _read(f"/proc/{pid}/task/{pid}/children").split()]


def _is_worker(pid: int) -> bool:
    """Whether a process is a worker: spawned, forked and at work, or Ray's."""
    command = _read(f"/proc/{pid}/cmdline")
    return "spawn_main" in command or command.startswith(ACTOR) or _read(f"/proc/{pid}/comm").strip() == COMM


def start_of(pid: int) -> str:
    """A process's start time in the kernel's clock; empty if it has ended."""
    state, *rest = _read(f"/proc/{pid}/stat").rpartition(")")[2].split() or ["Z"]
    return "" if state in "ZX" else rest[18]


class Searches:
    """A folder with a store, in which a search is started, killed and resumed."""

    def __init__(
        self, experiment: str, folder: Path, flags: Sequence[str], trials: int, confirming: int, is_cold: bool
    ) -> None:
        self.experiment, self.folder, self.flags, self.is_cold = experiment, folder, flags, is_cold
        self.trials, self.confirming = trials, confirming
        self.seen: dict[int, str] = {}  # workers
        self.begun: list[Process] = []
        self.attempts = 0
        self.problems: list[str] = []
        folder.mkdir(parents=True)
        in_child(SUBJECTS[experiment].prepare, folder)

    def begin(self, verb: str, *flags: str) -> Process:
        """Start a verb's process."""
        self.attempts += 1
        log = self.folder / f"{verb}-{self.attempts}.log"
        log.touch()
        environment = {
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.folder}/mlflow.db", "PYTHONUNBUFFERED": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true", "TF_CPP_MIN_LOG_LEVEL": "3",
        }  # fmt: skip
        left = search_store.read_progress(self.folder).running
        process = self._start([verb, *flags], log, environment)
        self.begun.append(Process(process, log, time.monotonic(), self.seen, left))
        return self.begun[-1]

    def _start(
        self, words: list[str], log: Path, environment: dict[str, str]
    ) -> "subprocess.Popen[bytes] | search_processes.Forked":
        if not self.is_cold:
            experiment = SUBJECTS[self.experiment].experiment()
            return search_processes.start_verb(experiment, words, self.folder, log, environment)
        script = COMMANDS[self.experiment]
        command = [script, *words] if script.endswith(".py") else [f"{script}/{words[0]}.py", *words[1:]]
        with log.open("wb") as file:
            return subprocess.Popen(
                [sys.executable, *command], cwd=self.folder, env={**os.environ, **environment},
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def begin_or_resume(self) -> Process:
        """Start the search, or resume the one in the store."""
        known = search_store.read_progress(self.folder).search_id
        return self.begin("search", "--resume=latest") if known else self.begin("search", *self.flags)

    def measure(self, found: Process) -> Pace:
        """Take the times of a search without a kill, once two trials have ended."""
        times, progress = dict[int, float](), search_store.Progress()
        run = 0.0
        while found.process.poll() is None and len(times) < min(2, self.trials):
            progress, now = search_store.read_progress(self.folder), time.monotonic() - found.begun
            run = run or (now if progress.search_id else 0.0)
            if progress.trials:
                times.setdefault(progress.trials, now)
            time.sleep(0.1)
        self.finish(found, while_running=True)
        first, *later = times.values()
        training = later[0] - first if later else first / 2
        return Pace(run, first, training, max(first - run, training))

    @staticmethod
    def finish(found: Process, while_running: bool = False) -> None:
        """Wait for the end of a search without a kill.

        Raises:
            RuntimeError: if it failed.
        """
        code = found.process.poll() if while_running else found.process.wait()
        if code:
            raise RuntimeError(f"the search without a kill failed: {found.log.read_text()[-2000:]}")

    def search(self, kills: Sequence[Kill], pace: Pace) -> tuple[list[Landed], list[Kill]]:
        """Run the search with its kills until it has finished; returns the kills that landed and those that missed."""
        landed, left = list[Landed](), list(kills)
        found = self.begin_or_resume()
        while True:
            kill = left[0] if left else None
            hit = self._wait(found, kill, left, pace)
            if hit is None:  # it has ended by itself
                if found.process.returncode:
                    self._tell(f"exit {found.process.returncode} of attempt {self.attempts}", found)
                return landed, left
            left.pop(0)
            landed.append(hit)
            print(f"{len(landed)}: {hit.who} killed {hit.phase}", flush=True)
            if hit.who != "worker":
                if search_store.read_progress(self.folder).has_finished:  # killed in its last moment
                    return landed, left
                found = self.begin_or_resume()

    def _wait(self, found: Process, kill: Kill | None, left: Sequence[Kill], pace: Pace) -> Landed | None:
        """Wait for a kill's moment and kill; None if the search has ended before."""
        end: float | None = None
        while found.process.poll() is None:
            workers, now = found.find_workers(), time.monotonic()
            if kill:
                progress = search_store.read_progress(self.folder)
                if end is None and self._has_come(kill, found, progress, workers):
                    end = now + kill.share * self._last(kill, left, progress, pace)
                if end is not None and now >= end and (workers or kill.who != "worker"):
                    phase = progress.phase if found.has_run else "while a process starts"
                    if self._kill(kill.who, found, workers):
                        return Landed(kill.who, phase)
            time.sleep(0.02)
        return None

    @staticmethod
    def _has_come(kill: Kill, found: Process, progress: search_store.Progress, workers: Sequence[int]) -> bool:
        """Whether the phase has come from which on a kill waits."""
        if kill.phase == "starting":
            return True
        order = ("trials", "confirming", "registering", "ending")
        is_late = progress.phase in order[order.index(kill.phase) :]
        return found.has_run and bool(workers or kill.phase == "registering") and is_late

    def _last(self, kill: Kill, left: Sequence[Kill], progress: search_store.Progress, pace: Pace) -> float:
        """The seconds within which a kill comes: so many that all kills of its phase come before the phase's end."""
        if kill.phase == "starting":
            return pace.first
        if kill.phase == "registering":
            return pace.end + pace.first / 2
        is_trial = kill.phase == "trials"
        trainings = self.trials - progress.trials if is_trial else self.confirming - progress.confirming
        return 2 * max(0, trainings - 0.5) * pace.training / sum(one.phase == kill.phase for one in left)

    def _kill(self, who: str, found: Process, workers: Sequence[int]) -> bool:
        """Kill; returns whether it hit. A signal that can be handled must end the search in order."""
        if who in SIGNALS:
            return self._ask(who, found)
        pids = [*(workers if who == "all" else workers[:1] if who == "worker" else ())]
        if who != "worker":
            pids.insert(0, found.process.pid)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if who != "worker":
            return found.process.wait() == -signal.SIGKILL
        return True

    def _ask(self, who: str, found: Process) -> bool:
        signum, status = SIGNALS[who]
        has_output = bool(found.log.read_text())
        with suppress(ProcessLookupError):
            (os.killpg if who == "Ctrl-C" else os.kill)(found.process.pid, signum)
        try:
            found.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._tell(f"{who}: the search has not ended after {GRACE:.0f} s", found)
            found.process.kill()
        code = found.process.wait()
        if code == 0:
            return False  # it was about to end
        if code != status and (has_output or code != -signum):  # Python itself starts without a handler
            self._tell(f"{who}: exit {code}, not {status}", found)
        if workers := found.find_workers():
            self._tell(f"{who}: the workers {workers} live on", found)
        # One that a kill before left, and that this search has not resumed, is none of its own.
        if running := search_store.read_progress(self.folder).running - found.left_running:
            self._tell(f"{who}: {len(running)} trainings are left RUNNING", found)
        return True

    def _tell(self, problem: str, found: Process) -> None:
        self.problems.append(f"{problem}; {found.log}: ...{found.log.read_text(errors='replace')[-600:]}")
        print(self.problems[-1], flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for found in self.begun:
            if found.process.poll() is None:
                found.process.kill()

    def find_survivors(self) -> list[int]:
        """Find workers that outlive their search."""
        end = time.monotonic() + GRACE
        while alive := [pid for pid, start in self.seen.items() if start and start_of(pid) == start]:
            if time.monotonic() > end:
                break
            time.sleep(0.1)
        return alive

    def leave_training(self) -> str:
        """Leave a training that is no trial, killed in the middle of its epochs; returns its run's id."""
        more = [flag for flag in self.flags if flag.startswith("--data")]
        found = self.begin("train", "--epochs=100000", "--patience=100000", *more)
        snapshots = self.folder / "snapshots"
        while found.process.poll() is None and not list(snapshots.glob("*/epoch-*.npz")):
            time.sleep(0.05)
        time.sleep(1)
        found.process.kill()
        if found.process.wait() != -signal.SIGKILL:
            raise RuntimeError(found.log.read_text()[-2000:])
        (run_id,) = {path.parent.name for path in snapshots.glob("*/epoch-*.npz")}
        return run_id


def plan(count: int, chance: random.Random, who: Sequence[str], late: Mapping[str, float] = LATE) -> list[Kill]:
    """Plan kills, whom in turn, in the order of the phases; those of a starting process among those of the trials."""
    of = {phase: round(count * share) for phase, share in late.items()}
    early = ["starting"] * of.pop("starting") + ["trials"] * (
        count - sum(of.values()) - round(count * late["starting"])
    )
    chance.shuffle(early)
    phases = [*early, *(phase for phase, number in of.items() for _ in range(number))]
    kills = [Kill(who[number % len(who)], phase, chance.random()) for number, phase in enumerate(phases)]
    # A process that starts has no worker yet.
    return [replace(one, who="search") if (one.who, one.phase) == ("worker", "starting") else one for one in kills]


def kill_search(options: argparse.Namespace, folder: Path) -> tuple[list[Landed], search_store.Differences]:
    """Run a search twice, without a kill and with all kills, and compare both."""
    replaced = {flag.split("=")[0] for flag in options.flags}
    former = [flag for flag in FLAGS[options.experiment] if flag.split("=")[0] not in replaced]
    flags = [*former, f"--trials={options.trials}", *options.flags]
    more = options.trials, min(3, options.trials) + 1, options.cold
    with (
        Searches(options.experiment, folder / "reference", flags, *more) as reference,
        Searches(options.experiment, folder / "killed", [*flags, f"--workers={options.workers}"], *more) as killed,
    ):
        uninterrupted = reference.begin("search", *reference.flags)
        pace = reference.measure(uninterrupted)
        print(f"without a kill: {pace}", flush=True)
        foreign = killed.leave_training()
        before = in_child(search_store.read_foreign, killed.folder, foreign)
        kills = plan(options.kills, random.Random(options.seed), options.who.split(","))
        landed, missed = killed.search(kills, pace)
        survivors = killed.find_survivors()
        reference.finish(uninterrupted)
    if missed:
        print(f"{len(missed)} kills came too late: {missed}")
    differences = judge(killed, reference, is_repeated=options.workers == 1)
    differences.require(not survivors, "left behind", f"the workers {survivors} live")
    after = in_child(search_store.read_foreign, killed.folder, foreign)
    differences.require(after == before, "foreign runs touched", foreign)
    left = sorted(path.name for path in (killed.folder / "snapshots").iterdir())
    differences.require(left == [foreign], "left behind", f"snapshots has {left}")
    for problem in killed.problems:
        differences.add("anything else", problem)
    return landed, differences


def judge(killed: Searches, reference: Searches, is_repeated: bool) -> search_store.Differences:
    """Check a killed search, and compare it with the reference if it must repeat that to the bit."""
    subject = SUBJECTS[killed.experiment]
    ids = [search_store.read_progress(one.folder).search_id for one in (killed, reference)]
    found = in_child(search_store.read_search, killed.folder, ids[0], subject)
    differences = search_store.inspect(found, killed.trials, killed.confirming, keep=min(3, killed.trials))
    for problem in in_child(search_store.check_proposals, subject, killed.folder, found, ids[0]):
        differences.add("proposals not reproduced", problem)
    if is_repeated:
        expected = in_child(search_store.read_search, reference.folder, ids[1], subject)
        search_store.compare(found, expected, differences)
    return differences


def tabulate(title: str, landed: Sequence[Landed], differences: search_store.Differences) -> str:
    """Format the tables of kills and differences, and list all differences."""
    tables = {
        "killed": Counter(kill.who for kill in landed),
        "killed in the phase": Counter(kill.phase for kill in landed),
        "difference": differences.counts,
    }
    lines = [title]
    for name, counts in tables.items():
        lines += [
            "",
            f"| {name} | count |",
            "| --- | ---: |",
            *(f"| {key} | {count} |" for key, count in counts.items()),
        ]
    return "\n".join([*lines, *differences.lines])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--experiment", choices=list(COMMANDS), default="diabetes")
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--workers", type=int, default=1, help="with more than one, trials cannot be equal to the bit")
    parser.add_argument("--seed", default="1", help="of the moments")
    parser.add_argument("--who", default=",".join(WHO), help=f"whom to kill in turn, of {', '.join(WHO)}")
    parser.add_argument(
        "--flags", default=[], type=shlex.split, help="further flags of the search, which replace others"
    )
    parser.add_argument("--cold", action="store_true", help="start each process anew, as users do: slower")
    parser.add_argument("--table", type=Path, help="file for the tables")
    parser.add_argument("--json", type=Path, help="file for the counts")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    start, folder = time.monotonic(), Path(tempfile.mkdtemp(prefix="search-faults-"))
    if not options.cold:
        search_processes.import_all()
    landed, differences = kill_search(options, folder)
    told = "one worker" if options.workers == 1 else f"{options.workers} workers"
    title = (
        f"{options.experiment}: a search of {options.trials} trials with {told}, killed {len(landed)} times and "
        f"resumed; {(time.monotonic() - start) / 60:.0f} minutes, seed {options.seed}."
    )
    table = tabulate(title, landed, differences)
    print(table)
    if options.table:
        options.table.parent.mkdir(exist_ok=True)
        options.table.write_text(table + "\n")
    if options.json:
        who = dict(Counter(kill.who for kill in landed))
        options.json.write_text(json.dumps({"landed": who, "counts": differences.counts}))
    if any(differences.counts.values()):
        print(f"the stores and the logs are in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
