"""Load a model and predict in a process beside this one, which imports TensorFlow while this one imports MLflow.

Both imports hold Python's lock, so that two threads take as long as one after the other; two processes do not.
"""

import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib import import_module
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from typing import Any, Self, TypeAlias

from tracked.console import entry
from tracked.console.cores import MOST, count_cores
from tracked.console.errors import RunFailed
from tracked.console.imports import import_ahead
from tracked.console.secrets import hide_in_streams
from tracked.console.signals import describe_exit

Load: TypeAlias = Callable[[str], Any]  # a checked model's folder -> its mlflow.pyfunc.PyFuncModel, or a ModelProcess

# A fresh Python, which imports what this one finds; not its script, whose verb would run again.
BEGIN = "import sys; sys.path[:] = {path!r}; from tracked.models import model_process; model_process.work({ends!r})"


class ModelProcess:
    """A process that loads a model and predicts with it, in the place of an ``mlflow.pyfunc.PyFuncModel``.

    It begins its imports when it is made, and is killed at the end of the ``with`` block; should this process be
    killed, it ends by itself. For a public attribute but ``predict``, the model is loaded in this process, too.

    Args:
        meanwhile: names of modules that :meth:`load` imports in this process while it waits.
    """

    def __init__(self, meanwhile: Sequence[str] = ()) -> None:
        self._meanwhile, self._path = meanwhile, ""
        pairs = [Pipe() for _ in range(min(MOST, count_cores()))]
        ends = [theirs.fileno() for _, theirs in pairs]
        command = [sys.executable, "-u", "-c", BEGIN.format(path=[str(one) for one in sys.path], ends=ends)]
        # In a group of its own: a terminal's signals reach this process alone, which ends the other one.
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=ends, process_group=0)
        self._free: SimpleQueue[Connection] = SimpleQueue()
        for ours, theirs in pairs:
            self._free.put(ours)
            theirs.close()  # so that the end of the process ends the connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # it holds nothing
        self._process.wait()

    def load(self, path: str) -> "ModelProcess":
        """Load a model that :func:`tracked.models.loader.download` has checked.

        Raises:
            RunFailed: if the process ends.
            Exception: what the process raised.
        """
        self._path = path
        self._ask((path,), self._meanwhile)
        return self

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        """Predict, as ``PyFuncModel.predict`` does; may be called by several threads at once.

        Raises:
            RunFailed: if the process ends.
            Exception: what the process raised, or what pickling the data raises.
        """
        return self._ask((data, params))

    def _ask(self, arguments: tuple[Any, ...], meanwhile: Sequence[str] = ()) -> Any:
        content, connection = pickle.dumps(arguments), self._free.get()
        try:
            with suppress(OSError):  # it has ended, as the answer says
                connection.send_bytes(content)
            import_ahead(meanwhile)
            content = connection.recv_bytes()
        except (EOFError, OSError):
            ended = describe_exit(self._process.wait())
            advice = "if it lacked memory, free some and try again"
            raise RunFailed(f"the process that predicts {ended}; {advice}") from None
        finally:
            self._free.put(connection)
        answer, trace = pickle.loads(content)
        if trace:
            raise answer from RuntimeError(f"in the process that predicts\n{trace}")
        return answer

    @cached_property
    def _here(self) -> Any:
        return import_module("tracked.models.loader").load(self._path)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # such as what copying and pickling look for
            raise AttributeError(name)
        return getattr(self._here, name)


@contextmanager
def beside(meanwhile: Sequence[str]) -> Iterator[Load | None]:
    """Begin to import TensorFlow in a process beside this one; gives what loads a model, None if that saves no time.

    Args:
        meanwhile: as of :class:`ModelProcess`.
    """
    if entry.is_command and count_cores() > 1 and "tensorflow" not in sys.modules:
        with ModelProcess(meanwhile) as process:
            yield process.load
    else:
        yield None


def work(ends: Sequence[int]) -> None:
    """Load a model, then predict in a thread for each connection until the other process ends.

    Args:
        ends: the connections' descriptors.
    """
    entry.is_command = True
    hide_in_streams()
    import_module("tracked.training.reproducibility").import_tensorflow()
    loader, loaded = import_module("tracked.models.loader"), list[Any]()
    connections = [Connection(end) for end in ends]
    try:
        _answer(connections[0], lambda path: loaded.append(loader.load(path)))
    except (EOFError, OSError):
        os._exit(0)
    for connection in connections:
        Thread(target=_answer_all, args=(connection, lambda *given: loaded[0].predict(*given))).start()


def _answer_all(connection: Connection, call: Callable[..., Any]) -> None:
    """Answer until the other process ends; else it would wait for ever."""
    status = 1
    try:
        while True:
            _answer(connection, call)
    except (EOFError, OSError):
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)  # libraries' threads may wait for each other at the end


def _answer(connection: Connection, call: Callable[..., Any]) -> None:
    """Answer one message by what a call returns, or by what it raises and its trace."""
    content = connection.recv_bytes()
    try:
        content = pickle.dumps((call(*pickle.loads(content)), ""))
    except Exception as error:
        content = _dump_error(error, traceback.format_exc())
    connection.send_bytes(content)


def _dump_error(error: Exception, trace: str) -> bytes:
    try:
        content = pickle.dumps((error, trace))
        pickle.loads(content)
    except Exception:
        return pickle.dumps((RuntimeError(f"{type(error).__name__}: {error}"), trace))
    return content
