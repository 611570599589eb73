"""Compare every refusal with tests/refusals, a table a verb: a mistake, its command, its exit status, its lines.

python tools/refusals.py          print what today's code does otherwise than the tables; exit status 1 if there is any
python tools/refusals.py --write  write what it does into the tables

Rows whose mistake begins with "parameter" are made from the parameters. All others are typed by hand: add a row with a
mistake and a command, and --write fills in the rest. A command is as in a shell, with settings before it; a script's
experiment is found by ``scripts.py``, and <finished> is the run of that name in ``store.toml``. Lines on standard
output begin with ">"; what differs from one machine or time to another is a word in angle brackets.

Each command is run by ``tracked.console.entry.run`` in a process of its own, forked from one with all imports done:
from a small one if its parameters are refused, else from one that has MLflow. No refusal needs TensorFlow.
"""

import difflib
import functools
import gc
import importlib
import itertools
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("src", "tests", "tests/refusals", "examples/diabetes")]

import scripts
from pydantic import ValidationError

from tracked.console.errors import UserError
from tracked.console.parameters import Parameters, describe_allowed
from tracked.console.signals import Signals
from tracked.experiment import Experiment
from tracked.verbs import command

TABLES, HEAD, MADE = ROOT / "tests" / "refusals", "mistake\tcommand\tstatus\tlines", "parameter "
LIMIT = 30  # seconds of a command
WRONG = ("-1", "0", "1e31", "")  # the first that a parameter refuses
OF_TRAINING = ("find_rate", "search")  # verbs that have parameters of train
KEPT = ("PATH", "LD_LIBRARY_PATH")  # settings of whoever runs this; all others are ours
SETTINGS = {
    "TZ": "UTC", "LC_ALL": "C.UTF-8", "COLUMNS": "80", "NO_PROXY": "*", "MPLBACKEND": "agg", "PYTHONHASHSEED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true", "IMDB_CONV1D_CACHE_GB": "0", "DIABETES_CACHE_GB": "0",
}  # fmt: skip
WORDS = {
    r"Traceback \(most recent call last\):(\n[ ~^].*)+": "Traceback", r"\bm-[0-9a-f]{32}\b": "<model>",
    r"\b[0-9a-f]{32}\b": "<run>", r"\b(?:[0-9a-f]{64}|[0-9a-f]{12})\b": "<digest>", r"\b0x[0-9a-f]+\b": "<address>",
    r"process \d+": "process <number>", r"(?<=since )[\d-]+.[\d:+]+": "<time>", r"Errno -?\d+": "Errno <number>",
    r"(?<=at most )\d+(?=, the cores)": "<number>", r"(?<=http://127\.0\.0\.1:)\d{2,}": "<port>",
    rf"(?<=host ){re.escape(socket.gethostname())}\b": "<host>",
}  # fmt: skip


def list_made() -> Iterator[tuple[str, str, str]]:
    """List the rows that follow from the parameters: the verb, the mistake and the command of each.

    What two scripts of a verb would say in the same words is asked of the first one alone.
    """
    seen = set()
    for script in ("{}.py", "diabetes.py {}"):
        experiment, _ = scripts.find(script.split()[0])
        for verb, module in command.find_modules(experiment).items():
            cls, words = find_parameters(experiment, module), script.format(verb)
            some = next(iter(cls.model_fields))
            wrong = {"that is unknown": f"--colour={experiment.name}", "that is misspelt": f"--{some[:-1]}=1"}
            for name in cls.model_fields:
                wrong[name] = next(f"--{name}={value}" for value in WRONG if is_refused(cls, name, value))
            for what, argument in (wrong | {"without a value": f"--{some}"}).items():
                field = cls.model_fields.get(what)
                key = "train" if verb in OF_TRAINING and field else verb, argument, field and describe_allowed(field)
                if key not in seen:
                    seen.add(key)
                    yield verb, f"{MADE}{what}", f"{words} {argument}"


@functools.cache
def find_parameters(experiment: Experiment, module: str) -> Any:
    """Find the class that a verb parses its parameters with."""
    found: list[Any] = []

    def stop(cls: type[Parameters], argv: Sequence[str]) -> NoReturn:
        found.append(cls)
        raise InterruptedError

    with patch.object(Parameters, "parse", classmethod(stop)), suppress(InterruptedError):
        importlib.import_module(module).main(experiment, [], Signals())
    return found[0]


def is_refused(cls: Any, name: str, value: str) -> bool:
    """Whether a parameter refuses a value by itself."""
    try:
        cls(**{name: value})
    except ValidationError as error:
        return error.errors()[0]["loc"][:1] == (name,)
    return False


def is_small(words: str) -> bool:
    """Whether a command is refused for its parameters, before it imports anything large."""
    script, *arguments = shlex.split(words)
    if "=" in script:  # a setting
        return False
    try:
        experiment, verb = scripts.find(script)
        modules = command.find_modules(experiment)
        find_parameters(experiment, modules[verb or arguments.pop(0)]).parse(arguments)
    except (UserError, LookupError):
        return True
    return False


def read_table(verb: str) -> list[str]:
    """Read the rows of a verb's table; none without one."""
    path = TABLES / f"{verb}.tsv"
    return path.read_text().splitlines()[1:] if path.exists() else []


def run_all(folder: Path) -> dict[str, list[str]]:
    """Run the commands of all tables, those that need MLflow last; returns the rows of each table."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # with more cores, evaluate starts a second process
    typed = [(path.stem, *row.split("\t")[:2]) for path in TABLES.glob("*.tsv") for row in read_table(path.stem)]
    rows = [*list_made(), *(row for row in typed if not row[1].startswith(MADE))]
    found = dict.fromkeys(rows, ("", ""))
    with socket.create_server(("127.0.0.1", 0)) as taken, ExitStack() as held:
        names = {"port": str(taken.getsockname()[1])}
        small = {row for row in rows if row[1].startswith(MADE) or is_small(scripts.fill(row[2], names))}
        gc.freeze()  # so that a collection in a forked process copies no page of this one
        found |= {row: run_case(row[2], folder, names) for row in small}
        names |= importlib.import_module("made_store").prepare(folder, held)
        found |= {row: run_case(row[2], folder, names) for row in rows if row not in small}
    tables: dict[str, list[str]] = {}
    for (verb, *cells), outcome in found.items():
        tables.setdefault(verb, []).append("\t".join((*cells, *outcome)))
    return tables


def run_case(words: str, folder: Path, names: Mapping[str, str]) -> tuple[str, str]:
    """Run a command in a forked process; returns its status and its lines."""
    paths = [folder.with_name(name) for name in ("stdout", "stderr")]
    child = os.fork()
    if not child:
        become(words, folder, names, paths)
    _, status = os.waitpid(child, 0)
    with suppress(OSError):
        os.killpg(child, signal.SIGKILL)  # what it has started
    out, err = (path.read_text("utf-8", "backslashreplace") for path in paths)
    code = os.waitstatus_to_exitcode(status)
    shown = "".join(f"> {line}\n" for line in out.splitlines()) + err
    return f"no end in {LIMIT} s" if code == -signal.SIGALRM else str(code), settle(shown, folder, names)


def become(words: str, folder: Path, names: Mapping[str, str], paths: Sequence[Path]) -> NoReturn:
    """Turn this process into a command: its streams, folder, settings and arguments, with a time limit."""
    os.setsid()
    signal.alarm(LIMIT)
    for number, path in enumerate(paths, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, "utf-8", closefd=False) for number in (1, 2))
    os.chdir(folder)
    typed = [scripts.fill(word, names) for word in shlex.split(words)]
    settings = list(itertools.takewhile(re.compile("[A-Z0-9_]+=").match, typed))
    os.environ |= dict(setting.split("=", 1) for setting in settings)
    sys.argv, status = typed[len(settings) :], 1
    try:
        command.run(*scripts.find(sys.argv[0]))
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(status)


def settle(text: str, folder: Path, names: Mapping[str, str]) -> str:
    """Put words in the place of what differs from one machine, or time, to another; on one line."""
    for name, value in {**names, "folder": str(folder), "temporary": str(folder.parent), "root": str(ROOT)}.items():
        text = text.replace(value, f"<{name}>")
    for pattern, word in WORDS.items():
        text = re.sub(pattern, word, text)
    return text.rstrip("\n").replace("\t", "\\t").replace("\n", "\\n")


def find_differences(*, write: bool = False) -> list[str]:
    """Run all commands in a fresh process; give each row that differs, as it was (-) and as it is (+).

    Args:
        write: whether to write the tables.
    """
    with tempfile.TemporaryDirectory(prefix="refusals-") as place:
        folder = Path(place).resolve() / "at"
        own = {"HOME": f"{folder}/home", "TMPDIR": place, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
        settings = {name: os.environ[name] for name in KEPT if name in os.environ} | SETTINGS | own
        words = [sys.executable, "-X", "utf8", __file__, "--in", str(folder)]
        ran = subprocess.run(words, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if ran.returncode:
            raise RuntimeError(f"the commands cannot be run:\n{ran.stdout}")
        tables: dict[str, list[str]] = json.loads(folder.with_name("tables").read_text())
    differences = []
    for verb, rows in sorted(tables.items()):
        lines = list(difflib.unified_diff(read_table(verb), rows, lineterm="", n=0))[2:]
        differences += [f"{verb}: {line}" for line in lines if not line.startswith("@@")]
        if write:
            (TABLES / f"{verb}.tsv").write_text("\n".join([HEAD, *rows]) + "\n")
    return differences


def main() -> None:
    """Compare, or write."""
    match sys.argv[1:]:
        case ["--in", place]:
            Path(place, "home").mkdir(parents=True)
            Path(place).with_name("tables").write_text(json.dumps(run_all(Path(place))))
        case [] | ["--write"] as words:
            differences = find_differences(write=bool(words))
            print("\n".join(differences) or "no difference")
            sys.exit(bool(differences) and not words)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
