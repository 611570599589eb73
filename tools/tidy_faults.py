"""Kill a tidy at named points and at random, begin it again, and compare what is left with a tidy without a kill.

python tools/tidy_faults.py                       # 500 made-up runs, 30 kills
python tools/tidy_faults.py --made-up 40 --kills 8 --only-made-up

Then everything that must work is done in the tidied store and in an untidied copy, and compared: each version is
evaluated, each unfinished training and search is resumed, all trainings are compared and replayed.
"""

import argparse
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[1:1] = [str(ROOT / "tests"), str(ROOT / "src"), str(ROOT / "examples" / "diabetes")]

KEEP = 10
# Imported once, before the forks: that takes longer than a tidy. None of them opens a store.
MODULES = (
    "mlflow", "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.artifact.local_artifact_repo", "alembic.command",
    "diabetes", "tracked.verbs.tidy", "tracked.runs.rights", "tracked.runs.run_start", "tracked.tidy.tracked_tidy",
)  # fmt: skip
POINTS = (
    "the list is logged", "a record is about to go", "a record is gone", "files are half removed", "files are removed",
    "a run folder is half removed", "a run folder is removed", "the outcome is about to be logged", "at random",
)  # fmt: skip


def arm(point: str, times: int) -> None:
    """Make this process kill itself at the n-th time that it passes a point."""
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    from fault_points import Countdown, around, die
    from tracked.runs import artifact_files
    from tracked.tidy import report
    from tracked.training.run_folder_lock import RunFolderLock

    count = Countdown(times)

    def half_removed(repository: Any, path: str | None = None) -> None:
        folder = Path(repository.artifact_dir) / (path or "")
        if folder.exists() and count.is_over():
            files = [folder] if folder.is_file() else [one for one in sorted(folder.rglob("*")) if one.is_file()][::2]
            for file in files:
                file.unlink()
            die()

    def half_a_folder(lock: RunFolderLock) -> None:
        if count.is_over():
            files = sorted(lock.folder.iterdir()) if lock.folder else []
            # The tokens and the lock go last: a folder without them and with files is none that a kill leaves.
            for path in [one for one in files if one.name not in ("attempts", "lock")][::2]:
                path.unlink()
            die()

    arms: dict[str, Callable[[], None]] = {
        "the list is logged": lambda: around(report, "log_plan", None, die_after_flush),
        "a record is about to go": lambda: around(artifact_files, "delete_model", count),
        "a record is gone": lambda: around(artifact_files, "delete_model", None, count),
        "files are half removed": lambda: around(LocalArtifactRepository, "delete_artifacts", half_removed),
        "files are removed": lambda: around(artifact_files, "delete", None, count),
        "a run folder is half removed": lambda: around(RunFolderLock, "remove", half_a_folder),
        "a run folder is removed": lambda: around(RunFolderLock, "remove", None, count),
        "the outcome is about to be logged": lambda: around(report, "log_outcome", lambda *_: die()),
    }

    def die_after_flush(run: Any, *_: Any) -> None:
        run.flush()
        die()

    if point in arms:
        arms[point]()


def tidy(work: Path, log: Path, point: str = "", times: int = 1) -> int:
    """Begin a tidy in a process of its own, which may kill itself; returns its PID."""
    if pid := os.fork():
        return pid
    status = 1
    try:
        os.chdir(work)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{work}/mlflow.db"
        if point:
            arm(point, times)
        from diabetes import Diabetes
        from tracked.console.signals import Signals
        from tracked.verbs import tidy as verb

        verb.main(Diabetes(), ["--experiment=tidied", f"--keep={KEEP}", "--yes=true"], Signals())
        status = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", flush=True)
    finally:
        os._exit(status)


def end(pid: int) -> int:
    """Wait for a process; returns its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def look(work: Path) -> dict[str, str]:
    """Describe a store: each file's digest, without those of tidies, and each stored model that is not deleted."""
    with closing(sqlite3.connect(work / "mlflow.db")) as database:
        rows = database.execute("SELECT run_uuid FROM tags WHERE key = 'verb' AND value = 'tidy'")
        tidies = {row[0] for row in rows}
        models = database.execute("SELECT model_id FROM logged_models WHERE lifecycle_stage = 'active'").fetchall()
    files = [path for part in ("artifacts", "snapshots") for path in (work / part).rglob("*") if path.is_file()]
    seen = {
        str(path.relative_to(work)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not tidies & set(path.parts) and path.name != "lock"
    }
    return seen | {model: "stored" for (model,) in models}


def restore(original: Path, work: Path) -> None:
    """Put the store back as it was, at the same path, which its artifacts' addresses name."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(original, work, symlinks=True)


def run_part(part: str, work: Path, *arguments: str) -> None:
    """Run a part of this script in a process of its own, as TensorFlow does not survive a fork."""
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{work}/mlflow.db",
        "MLFLOW_EXPERIMENT_NAME": "tidied",
    }
    words = [sys.executable, str(Path(__file__).resolve()), part, str(work), *arguments]
    with (work.parent / "log").open("a") as log:
        subprocess.run(words, cwd=work, env=environment, check=True, stdout=log, stderr=log)


def kill_and_compare(
    work: Path, original: Path, expected: dict[str, str], kills: int, seed: int, seconds: float
) -> int:
    """Kill tidies, some of them several times, complete them, and compare; returns the number of differences."""
    rng, killed, log = random.Random(seed), Counter[str](), work.parent / "log"
    differing = rounds = attempt = 0
    while killed.total() < kills:
        restore(original, work)
        rounds += 1
        for _ in range(rng.randint(1, 4)):
            point, times = POINTS[attempt % len(POINTS)], rng.randint(1, 6)
            attempt += 1
            pid = tidy(work, log, point, times)
            if point == "at random":
                time.sleep(rng.uniform(0.2, 1.0) * seconds)
                os.kill(pid, signal.SIGKILL)
            if end(pid) == -signal.SIGKILL:
                killed[point] += 1
            if killed.total() >= kills:
                break
        if (status := end(tidy(work, log))) != 0:
            print(f"exit {status} of a tidy after kills; see {log}", flush=True)
        left = look(work)
        if wrong := {name for name in expected.keys() | left.keys() if expected.get(name) != left.get(name)}:
            differing += len(wrong)
            print(f"round {rounds}: {len(wrong)} differ, such as {sorted(wrong)[:3]}", flush=True)
    print("killed: " + ", ".join(f"{count} as {point}" for point, count in killed.items()))
    print(f"{killed.total()} kills in {rounds} tidies; {differing} files or models differ from a tidy without a kill")
    return differing


def main() -> int:
    """Build the store, tidy it, kill tidies, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--made-up", type=int, default=500)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only-made-up", action="store_true", help="without real trainings and what is done with them")
    given = parser.parse_args()
    for module in MODULES:
        importlib.import_module(module)
    folder = Path(tempfile.mkdtemp(prefix="tidy-faults-"))
    work, original = folder / "work", folder / "original"
    work.mkdir()
    run_part("build", work, str(given.made_up), str(given.seed), "" if given.only_made_up else "real")
    shutil.move(work, original)
    restore(original, work)
    before, begun = look(work), time.monotonic()
    status = end(tidy(work, folder / "log"))
    seconds = time.monotonic() - begun
    after = look(work)
    gone = before.keys() - after.keys()
    counts = f"{len(before)} files and stored models; a tidy removes {len(gone)} in {seconds:.1f} s"
    print(f"{counts} (exit {status})", flush=True)
    print(f"changed or new: {len([name for name in after if before.get(name) != after[name]])}")
    differing = kill_and_compare(work, original, after, given.kills, given.seed, seconds)
    results: list[dict[str, Any]] = [{}, {}] if given.only_made_up else []
    for what in () if given.only_made_up else ("tidied", "untidied"):
        restore(original, work)
        if what == "tidied":
            end(tidy(work, folder / "log"))
        run_part("check", work)
        results.append(json.loads((folder / "checked.json").read_text()))
    wrong = sorted(
        name for name in results[0].keys() | results[1].keys() if results[0].get(name) != results[1].get(name)
    )
    kinds = Counter(name.split(" ")[0].split("/")[0] for name in results[1])
    print(f"done in both stores: {dict(kinds)}; {len(wrong)} differ {wrong[:3]}")
    if not (status or differing or wrong):
        shutil.rmtree(folder)
    return 1 if status or differing or wrong else 0


def run(part: str, work: Path, *arguments: str) -> None:
    """Build a store, or check one."""
    import tidy_store

    if part == "build":
        tidy_store.build(work, int(arguments[0]), int(arguments[1]), bool(arguments[2]))
    else:
        (work.parent / "checked.json").write_text(json.dumps(tidy_store.check(work)))


if __name__ == "__main__":
    if sys.argv[1:2] in (["build"], ["check"]):
        run(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
    else:
        sys.exit(main())
