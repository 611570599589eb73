"""Go on with this tree from what earlier versions have left, and compare the outcome with what they made of it.

python tools/old_stores.py make [COMMIT ...]              make states with a commit's code, and let it finish a copy
python tools/old_stores.py check [COMMIT[/STATE] ...]     let this tree finish the kept states: same, or what differs

By default, of the last version before src was redesigned all states, of each released one a small store. What a
commit's own code makes of a state is the reference, to the bit: the store's rows, the files beside it, what registered
models predict. States and references belong to this machine, as stores hold absolute paths and bits follow from CPU and
packages: they lie in bench/out/old-stores, and what is missing is made, too, by ``check``. A commit's folder ``kept``
has the states, ``expected`` the references: what is removed there is made anew.

Commands are forks of one warm process a tree, and run its scripts: so any code can go on from what another's has left.
Of a tree, helpers/forked.py is needed; to make states, also its fault_points.py and where a prediction writes a part.
"""

import argparse
import atexit
import csv
import hashlib
import io
import json
import multiprocessing
import os
import random
import re
import runpy
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / "bench" / "out" / "old-stores"
NEWEST, SMALL = "552c6c2", "small"
# The last commit of each released version, before the first one of the next.
VERSIONS = {
    NEWEST: "0.14.0", "00f35e4": "0.13.0", "9ed8eec": "0.12.0", "9258972": "0.11.0", "b809d4b": "0.10.0",
    "917e1c0": "0.9.0", "38e1e05": "0.8.0", "4c83cd8": "0.7.0",
}  # fmt: skip
# Differences that are meant: patterns of VERSION STATE and of what differs, and the reason.
ALLOWED: Sequence[tuple[str, str, str]] = (
    (".*", "command .* refused for its code$", "a prediction or a search that is half done is refused by other code"),
)
READ = ("expected", "found")  # folders of what is read
LIMIT = 400.0  # seconds of a command
MOST = 12  # lines of a state's differences
ENVIRONMENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "IMDB_CONV1D_CACHE_GB": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}
States = Sequence[tuple[str, str]]  # commits and names
Facts = Mapping[str, Sequence[str]]

# --- the states -------------------------------------------------------------------------------------------------------

SMALLEST = "--maxlen=20 --max_features=50 --batch_size=8"
TEXTS = f"{SMALLEST} --filters=8 --hidden_dims=8 --learning_rate=0.01 --embedding_dims=22 --patience=3 --epochs=5"
FLAGS = {
    "REVIEWS": f"--data=reviews.csv {TEXTS}",
    "TICKETS": f"--data=tickets.csv --text_column=subject,body --label_column=queue --model_name=tickets {TEXTS}",
    "ACCURATE": f"--data=reviews.csv --preset=accurate {SMALLEST} --embedding_dims=4 --hidden_dims=4 --members=2",
    "TABLE": "--learning_rate=0.1 --patience=3 --epochs=60",
    "R2": "--monitor=val_r2 --mode=max --learning_rate=0.1 --patience=4 --epochs=40 --seed=2",
    "TRIALS": "--trials=3 --confirm=1 --epochs=12 --patience=12",
    "ANSWER": "--data=tickets.csv --text_column=subject --part_rows=50",
}
# A state's name, how it is made, and behind => how it goes on: commands of the experiment on texts, or of diabetes;
# behind @ where each is killed, the second time if there is one, or the n-th. <train-2> is the second training's run.
STATES = """
points: diabetes train $TABLE --model_name=<point> @ *; diabetes train $R2 @ an epoch is logged;
diabetes train --resume=<train-0> @ a training is restored => diabetes train --resume=<train-*>
points-texts: train $REVIEWS --model_name=<point> @ a snapshot is half written, a checkpoint is renamed,
an epoch is logged, a model is uploaded, a version is registered, the folder is half removed
=> train --resume=<train-*>
rates: diabetes train --schedule=plateau --decay_patience=1 --learning_rate=0.1 --epochs=9 @ an epoch is logged;
diabetes train --schedule=cosine --decay_epochs=8 --warmup_steps=10 --epochs=8 @ an epoch is logged/3;
diabetes train --learning_rate=auto --epochs=6 @ an epoch is logged => diabetes train --resume=<train-*> --epochs=12
searches: diabetes search $TRIALS --model_name=in-a-trial @ the third trial trains;
diabetes search $TRIALS --model_name=between-trials --seed=8 @ a task is handed out/3;
diabetes search $TRIALS --model_name=won --seed=9 --prune=median @ a task is handed out/8
=> diabetes unfinished; diabetes search --resume=<search-*>; diabetes compare; diabetes replay --run=all
predictions: train $REVIEWS; predict $ANSWER --output=in-a-part @ a part is half written/3;
predict $ANSWER --output=in-a-note --format=csv @ a task is handed out/4; cut in-a-note/work/journal.jsonl;
predict $ANSWER --output=complete => cut complete/part-00001.parquet; predict $ANSWER --output=in-a-part;
predict $ANSWER --output=in-a-note --format=csv; predict $ANSWER --output=complete; predict $ANSWER --output=new
due: train $REVIEWS --evaluate=true @ the run has ended; diabetes train --batch_size=100 --seed=9 --epochs=5
--evaluate=true @ the run is created/2 => train --resume=latest; diabetes train --resume=latest
champions: diabetes train $TABLE; diabetes evaluate; diabetes promote; diabetes train $R2; diabetes evaluate;
diabetes promote; diabetes train --seed=8 --epochs=6; diabetes evaluate
=> diabetes rollback; diabetes promote --margin=100; diabetes rollback; diabetes rollback; diabetes train --epochs=6;
diabetes promote --margin=100; diabetes evaluate --model=models:/diabetes@champion; diabetes tidy --keep=1 --yes=true;
diabetes compare
both: train $REVIEWS; evaluate; promote; train $REVIEWS --seed=3 @ an epoch is logged; train $REVIEWS --seed=4
@ an epoch is logged/3; diabetes train $TABLE; diabetes evaluate; diabetes promote; diabetes train $TABLE --seed=3
@ an epoch is logged; diabetes train $TABLE --seed=4 @ an epoch is logged/3
=> unfinished; train --resume=latest; unfinished --close=<train-2>; evaluate; promote; compare; replay;
replay --run=all --rules=median,asha; explain; explain --text=warm --model=models:/imdb-conv1d/1; diabetes unfinished;
diabetes train --resume=latest; diabetes unfinished --close=<train-5>; diabetes evaluate; diabetes promote
tickets: train $TICKETS --class_weight=balanced; evaluate --model=models:/tickets/1; train $TICKETS --seed=3
@ an epoch is logged => explain --model=models:/tickets/1; train --resume=latest --epochs=6;
promote --model=models:/tickets/2; predict --model=models:/tickets/1 --data=tickets.csv --output=queues
accurate: train $ACCURATE; train $ACCURATE --seed=3 @ an epoch is logged/1
=> explain --text=warm; evaluate; train --resume=latest; evaluate
small: train $REVIEWS; diabetes train $TABLE; diabetes evaluate; diabetes train $TABLE --seed=3 @ an epoch is logged
=> diabetes evaluate; diabetes train --resume=latest; diabetes evaluate; evaluate
"""
COMMANDS = dict(one.split(": ", 1) for one in re.split(r"\n(?=[\w-]+: )", STATES.strip()))


def write_tables(folder: Path) -> None:
    """Write the tables of the experiment on texts: reviews, and tickets of six queues, some without a subject."""
    from helpers.subjects import SUBJECTS

    SUBJECTS["imdb-conv1d"].prepare(folder)
    chance, lines = random.Random(3), ["subject,body,queue"]
    for number in range(300):
        queue = chance.choice(["billing", "login", "delivery", "refund", "errors", "praise"])
        words = chance.choices(["the", "a", "my", "again", "since", f"n{number}", queue, "film"], k=number % 9 + 4)
        lines.append(f"{' '.join(words[4:])},{' '.join(words[:4])},{queue}")
    (folder / "tickets.csv").write_text("\n".join(lines) + "\n")


# --- commands, and their kills ----------------------------------------------------------------------------------------


@dataclass
class Place:
    """A state's folder with its store, the tree that works on it, and how its commands have ended."""

    folder: Path
    tree: Path
    facts: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def follow(self, commands: str, is_made: bool) -> None:
        """Run commands one after the other.

        Raises:
            RuntimeError: if a command by which a state is made does not succeed, or is not killed where it is to be.
        """
        for line in re.split(r";\s", commands):
            command, _, kills = re.sub(r"\$(\w+)", lambda name: FLAGS[name[1]], line).partition("@ ")
            named = re.search(r"<(\w+)-(\d+|\*)>", command)
            runs = list_runs(self.folder, named[1]) if named else [""]
            for run in runs if not named or named[2] == "*" else [runs[int(named[2]) - 1]]:
                for kill in list_points() if kills == "*" else re.split(r",\s", kills):
                    text = command.replace(named[0] if named else "<>", run)
                    status, printed = self.run(text.replace("<point>", re.sub(r"\W", "-", kill)).split(), kill)
                    if is_made and status != (-signal.SIGKILL if kill else 0):
                        raise RuntimeError(f"{line}: exit {status}: {printed[-2000:]}")

    def run(self, words: list[str], kill: str = "") -> tuple[int, str]:
        """Run a script of src, or a verb of the other experiment, and note how it ends; gives what it printed."""
        verb, log, title = words[words[0] == "diabetes"], self.folder.with_suffix(".log"), f"command {' '.join(words)}"
        if verb == "cut":
            os.truncate(path := self.folder / words[1], path.stat().st_size - 50)
            return 0, ""
        script = self.tree / (f"src/{verb}.py" if verb == words[0] else "examples/diabetes/diabetes.py")
        log.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            become(script, words[1:], self.folder, log, kill)
        status, printed = wait_or_kill(child, self.folder, kill), log.read_text(errors="replace")
        if status == 2 and (change := re.search(r"code.*\(digest (\w+) -> (\w+)\)", printed)):
            # Refused as the promise says. What is stored is read all the same, as if the code were the former one.
            self.facts[f"{title} refused for its code"].append("yes")
            rename_code(self.folder, *change.groups())
            return self.run(words)
        self.facts[title] += [f"exit {status}", *(printed.splitlines() if verb in ("unfinished", "tidy") else [])]
        return status, printed


def query(folder: Path, sql: str, *values: str) -> list[tuple[Any, ...]]:
    """Ask a folder's store, without MLflow."""
    store = sqlite3.connect(f"file:{folder}/mlflow.db?mode=rw", uri=True, isolation_level=None)
    return store.execute(sql, values).fetchall()


def list_runs(folder: Path, verb: str) -> list[str]:
    """List the runs of a verb, the oldest first."""
    sql = "select run_uuid from runs join tags using (run_uuid) where key = 'verb' and value = ? order by start_time"
    return [run for (run,) in query(folder, sql, verb)]


def list_points() -> list[str]:
    """List the points that a new training passes."""
    from helpers.forked import in_child

    names = in_child(lambda: [*import_module("fault_points").points()])
    return [name for name in names if "restored" not in name]


def become(script: Path, words: Sequence[str], folder: Path, log: Path, kill: str) -> NoReturn:
    """Turn this process into a script's, in a session of its own, which may kill itself."""
    os.setsid()
    os.chdir(folder)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor, stream in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
        os.dup2(descriptor, stream)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    sys.argv, status = [str(script), *words], 99
    try:
        arm(*kill.split("/"))
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status)


def wait_or_kill(child: int, folder: Path, kill: str) -> int:
    """Wait for a command's end and that of its workers; all are killed after the limit, or in a third trial."""
    end, status = time.monotonic() + LIMIT, None
    while status is None or find_processes(folder):
        begun, third = (len([*folder.glob(f"snapshots/*/{name}")]) for name in ("rows.parquet", "epoch-3-*"))
        if ("third" in kill and begun == 3 and third) or time.monotonic() > end:
            for pid in find_processes(folder):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
        ended, code = (0, 0) if status is not None else os.waitpid(child, os.WNOHANG)
        status = os.waitstatus_to_exitcode(code) if ended else status
    return status


def find_processes(folder: Path) -> list[int]:
    """Find the processes that work in a folder: a command, and its workers."""
    found = list[int]()
    for path in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            found += [int(path.parent.name)] if path.readlink() == folder else []
    return found


def rename_code(folder: Path, former: str, now: str) -> None:
    """Write the present code's digest in the place of the former one: in tags, journals and manifests."""
    query(folder, "update tags set value = ? where value = ?", now, former)
    for path in (*folder.rglob("journal.jsonl"), *folder.rglob("manifest.json")):
        path.write_text(path.read_text().replace(f'"{former}"', f'"{now}"'))


def arm(kill: str, times: str = "") -> None:
    """Let this process kill itself: at a point of the tree's fault_points.py, or at one of a search or a prediction."""
    if not kill or "third" in kill:
        return
    from fault_points import Countdown, around, die, points

    most, prepare = points().get(kill, (2, None))
    count, forking = Countdown(int(times or min(most, 2))), multiprocessing.get_context("fork")

    def cut(path: Path, *_: object) -> None:
        if count.is_over():
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getppid(), signal.SIGKILL)
            die()

    if prepare:
        prepare(count)
    elif "task" in kill:
        around(import_module("tracked.workers.processes").ProcessWorkers, "submit", count)
    else:  # in a worker, which is a fork
        multiprocessing.get_context = lambda method=None: forking  # type: ignore[assignment]
        around(import_module("tracked.predict.part_files"), "_write", None, cut)


# --- what is read -----------------------------------------------------------------------------------------------------

# Times, processes, hosts, and versions of the code.
VOLATILE = r"tracked_version|code.*|environments|token|pid|host|since|start|system|mlflow\.(user|source).*|.*second.*"
MASKS = {
    r"(?<![0-9a-f])1[78]\d{11}(?!\d)|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d|Z)?": "<time>",
    r"\d[\d.,]*( s\b| seconds| ms\b| minutes)|(?m:^\|.*)": "<seconds>",  # also in tables, which CSV has without them
    r"model_size_bytes: \d+": "<size>",  # of archives with times
}


def read(place: Place) -> dict[str, list[str]]:
    """Read all that a store, the files beside it and the registered models tell, but what no repetition repeats."""
    facts, mask, folder = defaultdict[str, list[str]](list), make_mask(place), place.folder
    for title, lines in place.facts.items():
        facts[mask(title)] += map(mask, lines)
    for (table,) in query(folder, "select name from sqlite_master where type = 'table'"):
        columns = query(folder, f"pragma table_info({table})")
        for row in query(folder, f"select * from {table}"):
            parts: dict[bool, list[str]] = {True: [table], False: []}
            for (_, column, *_, is_key), value in zip(columns, row, strict=True):
                text = value.hex() if isinstance(value, float) else mask_json(str(value), mask)
                parts[bool(is_key) and not column.endswith("value")].append(text)
            if not any(re.fullmatch(VOLATILE, part) for part in parts[True]):
                facts[" ".join(parts[True])].append(" ".join(parts[False]))
    for path in (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("mlflow.db")):
        facts[mask(f"file {path.relative_to(folder)}")].append(hashlib.sha256(read_file(path, mask)).hexdigest())
    for model, version in query(folder, "select name, version from model_versions"):
        facts[f"predictions {model} {version}"].append(predict(folder, f"models:/{model}/{version}"))
    return {key: sorted(found) for key, found in facts.items()}


def make_mask(place: Place) -> Callable[[str], str]:
    """Name runs and models by their order: ids, times and paths differ in each repetition."""
    names = dict[str, str]()
    for (verb,) in query(place.folder, "select distinct value from tags where key = 'verb'"):
        names |= {run: f"{verb}-{number}" for number, run in enumerate(list_runs(place.folder, verb), 1)}
    for model, run in query(place.folder, "select model_id, source_run_id from logged_models"):
        names[model.removeprefix("m-")] = f"of-{names.get(run, 'none')}"

    def mask(text: str) -> str:
        text = re.sub(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])", lambda one: names.get(one[0], "<id>"), text)
        for pattern, word in MASKS.items():
            text = re.sub(pattern, word, text)
        return text.replace(str(place.folder), "<folder>").replace(str(place.tree), "<tree>")

    return mask


def mask_json(text: str, mask: Callable[[str], str]) -> str:
    """Mask a text; of JSON, leave out what is volatile."""

    def leave_out(content: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in content.items() if not re.fullmatch(VOLATILE, key)}

    with suppress(ValueError):
        text = json.dumps(json.loads(text, object_hook=leave_out)) if text.startswith(("{", "[")) else text
    return mask(text)


def read_file(path: Path, mask: Callable[[str], str]) -> bytes:
    """Read what an equal file repeats; of a Keras file, the weights, as the archive has times."""
    if path.suffix == ".keras":
        return zipfile.ZipFile(path).read("model.weights.h5")
    if path.suffix in (".png", ".pkl", ".html", ".pb") or path.name == "lock":  # with times, or a library's own
        return b""
    if path.suffix in (".parquet", ".npz") or path.name.startswith("part-"):
        return path.read_bytes()
    text = path.read_text(errors="replace")
    if path.suffix == ".csv":
        rows = [*csv.reader(text.splitlines())]
        kept = [number for number, head in enumerate(rows[0]) if not re.search("second|time", head)]
        return mask(repr([[row[number] for number in kept] for row in rows if row])).encode()
    return "\n".join(mask_json(one, mask) for one in ([text] if path.suffix == ".json" else text.split("\n"))).encode()


def predict(folder: Path, uri: str) -> str:
    """Predict a registered model's own example, as people load it."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    model = mlflow.pyfunc.load_model(uri)
    with redirect_stdout(io.StringIO()):  # Keras tells of its progress there
        predicted = model.predict(model.input_example)
    return " ".join(float(value).hex() for value in predicted.ravel())


# --- the warm process -------------------------------------------------------------------------------------------------


def carry_out(place: Place, kept: Path, to: Path) -> None:
    """Make a state if it is not kept; go on from it, in the folder where it was made, and write what is read then."""
    from helpers.forked import in_child

    made, finished = re.split(r"\s=> ", COMMANDS[kept.name])
    shutil.rmtree(place.folder, ignore_errors=True)
    if not kept.exists():
        place.folder.mkdir(parents=True)
        in_child(write_tables, place.folder)
        place.follow(made, is_made=True)
        place.facts.clear()
        kept.parent.mkdir(exist_ok=True)
        place.folder.rename(kept)
    shutil.copytree(kept, place.folder)
    try:
        place.follow(finished, is_made=False)
        found = in_child(read, place)
    except Exception as error:
        if to.parent.name == READ[0]:  # a reference has no faults
            raise
        traceback.print_exc()
        found = {"the check itself": [f"{type(error).__name__}: {error}"]}
    to.parent.mkdir(exist_ok=True)
    to.write_text(json.dumps(found, indent=0, sort_keys=True))


def work(tree: Path, folder: str, states: States) -> None:
    """Carry out states by a tree's code, in this process; ``folder`` is of what is read then."""
    sys.path[:1] = [str(tree / name) for name in ("src", "tests", "tools", "examples/diabetes")]
    from helpers import forked

    forked.import_all()
    for commit, state in states:
        begun, home = time.monotonic(), HOME / commit
        carry_out(Place(home / "now" / state, tree), home / "kept" / state, home / folder / f"{state}.json")
        print(f"{commit} {state}: {time.monotonic() - begun:.0f} s", flush=True)


# --- the commands -----------------------------------------------------------------------------------------------------


def choose(words: Sequence[str]) -> States:
    """Choose commits and states: those that are named, else all."""
    parts = [word.partition("/")[::2] for word in words or VERSIONS]
    names = {commit: [SMALL] if commit in VERSIONS and commit != NEWEST else [*COMMANDS][:-1] for commit, _ in parts}
    return [(commit, one) for commit, state in parts for one in ([state] if state else names[commit])]


def start(tree: Path, folder: str, states: States) -> None:
    """Let a tree's code carry out states in a process of its own.

    Raises:
        CalledProcessError: if a state cannot be made.
    """
    command = [sys.executable, __file__, "work", tree, folder, *map("/".join, states)]
    with (HOME / "log").open("ab") as log:
        subprocess.run(command, check=True, env={**os.environ, **ENVIRONMENT}, stderr=log)


def make(states: States) -> None:
    """Make the states and references that are missing, each commit's with its own code."""
    missing = defaultdict[str, list[tuple[str, str]]](list)
    for commit, state in states:
        if not (HOME / commit / "kept" / state).exists() or not (HOME / commit / READ[0] / f"{state}.json").exists():
            missing[commit].append((commit, state))
    for commit, chosen in missing.items():
        print(f"{commit}: {', '.join(state for _, state in chosen)} missing on this machine; made now", flush=True)
        shutil.rmtree(tree := HOME / commit / "tree", ignore_errors=True)
        tree.mkdir(parents=True)
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "-C", tree], input=archive.stdout, check=True)
        start(tree, READ[0], chosen)


def check(states: States, tree: Path = ROOT) -> dict[str, list[str]]:
    """Let a tree finish the kept states; returns what differs, by version and state."""
    start(tree, READ[1], states)
    differences = dict[str, list[str]]()
    for commit, state in states:
        expected, found = (json.loads((HOME / commit / of / f"{state}.json").read_text()) for of in READ)
        title = f"{VERSIONS.get(commit, commit)} {state}"
        differences[title] = [*compare(title, expected, found, state == SMALL)]
    return differences


def compare(title: str, expected: Facts, found: Facts, is_small: bool) -> Iterator[str]:
    """Yield what differs from the reference, but what is allowed; to a small store, more may have been added."""
    for key in sorted(expected if is_small else expected.keys() | found.keys()):
        is_allowed = any(re.match(of, title) and re.match(what, key) for of, what, _ in ALLOWED)
        if expected.get(key) != found.get(key) and not is_allowed:
            shown = [", ".join(facts.get(key, ["nothing"])) for facts in (expected, found)]
            yield f"{key}: {' -> '.join(one if len(one) < 90 else f'{one[:40]} … {one[-40:]}' for one in shown)}"


def main() -> int:
    """Run a command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("command", choices=["make", "check", "work"])
    parser.add_argument("words", nargs="*", help="commits, or COMMIT/STATE")
    options = parser.parse_args()
    if options.command == "work":
        work(Path(options.words[0]), options.words[1], choose(options.words[2:]))
        return 0
    begun, bad = time.monotonic(), list[str]()
    HOME.mkdir(parents=True, exist_ok=True)
    make(states := choose(options.words))
    if options.command == "check":
        print("| state | outcome |", "| --- | --- |", sep="\n")
        for title, lines in check(states).items():
            print(f"| {title} | {f'{len(lines)} differ' if lines else 'same'} |")
            bad += [f"{title}: {line}" for line in lines[:MOST]]
    print("", *bad, f"{(time.monotonic() - begun) / 60:.1f} minutes", sep="\n")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
