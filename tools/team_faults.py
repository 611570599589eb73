"""Restart a team's server, stop its database and take S3 away while four trainings run; compare them with one alone.

make team-faults
python tools/team_faults.py --seconds 60 --hanging

S3 goes when a training's last line says that it ends, so that checkpoint, tables and model find it away. A training
that gives up is resumed, as its own line says. Then each is compared with the uninterrupted one, as in faults.py.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from faults import Outcome, Store, compare, count_runs, fingerprint, make_shared
from helpers.forked import become_training, import_all, in_child
from helpers.subjects import SUBJECTS, Subject
from helpers.team import TeamStack, team_stack

SUBJECT = "diabetes"
WORDS = ["--batch_size=1", "--patience=1000"]  # a fifth of a second an epoch
DOWN_SECONDS = 5.0


@dataclass
class Training:
    """A training in a process, and what it prints."""

    subject: Subject
    store: Store
    folder: Path
    log: Path
    pid: int = 0

    def begin(self, *words: str) -> "Training":
        """Start it, or resume it."""
        self.pid = os.fork()
        if self.pid == 0:
            self.store.choose()
            become_training(self.subject, list(words), self.folder, self.log)
        return self

    def wait(self) -> int:
        """Wait for its end; return its exit status."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def run_id(self) -> str:
        return re.search(r"^run ([0-9a-f]{32})", self.text, re.MULTILINE)[1]

    def epochs(self) -> int:
        """The number of epochs that it has printed."""
        return len(re.findall(r"^epoch \d+ ", self.text, re.MULTILINE))


def until(condition: Callable[[], Any], seconds: float = 300) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("the trainings have not come so far")
        time.sleep(0.05)


def disturb(stack: TeamStack, trainings: list[Training], epochs: int, seconds: float, hanging: bool) -> list[str]:
    """Let the servers fail one after the other while the trainings run; say when."""
    told = []

    def tell(what: str) -> None:
        begun = ", ".join(str(training.epochs()) for training in trainings)
        told.append(f"{what}: the trainings had printed {begun} of {epochs} epochs")
        print(told[-1], flush=True)

    until(lambda: min(training.epochs() for training in trainings) >= 2)
    tell("PostgreSQL is stopped")
    stack.stop_database()
    time.sleep(DOWN_SECONDS)
    stack.start_database()
    tell("PostgreSQL has started again; the MLflow server is killed and started again")
    stack.restart_server()
    tell("the MLflow server answers again")
    until(lambda: any("best epoch" in training.text for training in trainings))
    stack.take_s3_away(hanging)
    tell(f"S3 {'hangs' if hanging else 'refuses connections'} for {seconds:.0f} s")
    time.sleep(seconds)
    stack.bring_s3_back()
    tell("S3 is back")
    return told


def measure(folder: Path, number: int, epochs: int, seconds: float, hanging: bool) -> dict[str, Any]:
    """Train with and without faults; return the counts."""
    subject = SUBJECTS[SUBJECT]
    words = [*WORDS, f"--epochs={epochs}"]
    with team_stack(folder / "team") as stack:
        stack.add_user("ann")
        store = make_shared(stack, "faults", folder)

        def make(name: str) -> Training:
            return Training(subject, store, folder, folder / f"{name}.log")

        alone = make("alone").begin(*words, "--model_name=alone")
        if alone.wait():
            raise RuntimeError(f"the training without faults failed: {alone.text[-600:]}")
        expected = in_child(fingerprint, subject, store, alone.run_id)
        trainings = [make(f"disturbed-{place}") for place in range(number)]
        for training in trainings:
            training.begin(*words, f"--model_name={training.log.stem}")
        told = disturb(stack, trainings, epochs, seconds, hanging)
        statuses = [training.wait() for training in trainings]
        resumed = [training for training, status in zip(trainings, statuses, strict=True) if status]
        outcomes = {}
        for training in resumed:
            print(f"{training.log.stem} gave up: {training.text.strip().splitlines()[-1]}", flush=True)
            if training.begin(f"--resume={training.run_id}").wait():
                outcomes[training.run_id] = Outcome(other=[f"the resume failed: {training.text[-600:]}"])
        for training in trainings:
            actual = in_child(fingerprint, subject, store, training.run_id)
            outcomes.setdefault(training.run_id, compare(actual, expected | {"tags": actual["tags"]}))
        runs = in_child(count_runs, store)
    return {
        "faults": told,
        "trainings": number,
        "epochs of each": epochs,
        "gave up and were resumed": len(resumed),
        "epochs lost": sum(len(outcome.lost) for outcome in outcomes.values()),
        "epochs logged twice": sum(len(outcome.doubled) for outcome in outcomes.values()),
        "differing bits": sum(len(outcome.bits) for outcome in outcomes.values()),
        "versions missing or doubled": sum(len(outcome.versions) for outcome in outcomes.values()),
        "runs too many": runs - number - 1,
        "anything else": sum(len(outcome.other) for outcome in outcomes.values()),
        "differences": [difference for outcome in outcomes.values() for difference in outcome.all],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trainings", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=200, help="of each training")
    parser.add_argument("--seconds", type=float, default=60, help="how long S3 is away")
    parser.add_argument("--hanging", action="store_true", help="S3 does not answer, in place of refusing connections")
    parser.add_argument("--json", type=Path, help="a file for the counts")
    options = parser.parse_args()
    import_all()
    with tempfile.TemporaryDirectory(prefix="team-faults-") as folder:
        counts = measure(Path(folder), options.trainings, options.epochs, options.seconds, options.hanging)
    for name, count in counts.items():
        print(
            f"{name}: {count}" if not isinstance(count, list) else f"{name}:" + "".join(f"\n  {one}" for one in count)
        )
    if options.json:
        options.json.write_text(json.dumps(counts))
    return int(bool(counts["differences"] or counts["runs too many"]))


if __name__ == "__main__":
    sys.exit(main())
