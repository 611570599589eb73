"""Load a model and predict in a process beside this one, which imports TensorFlow while this one imports MLflow.

Both imports hold Python's lock, so that two threads take as long as one after the other; two processes do not.
"""

import multiprocessing
import os
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from typing import Any, Self, TypeAlias

from tracked.console import entry
from tracked.console.cores import MOST, count_cores
from tracked.console.errors import RunFailed
from tracked.console.secrets import hide_in_streams
from tracked.console.signals import describe_exit

Load: TypeAlias = Callable[[str], Any]  # a checked model's folder -> its mlflow.pyfunc.PyFuncModel, or a ModelProcess


class ModelProcess:
    """A process that loads a model and predicts with it, in the place of an ``mlflow.pyfunc.PyFuncModel``.

    It begins its imports when it is made, and is killed at the end of the ``with`` block; should this process be
    killed, it ends by itself. Of a PyFuncModel's attributes but ``predict``, the model is loaded here as well.

    Args:
        meanwhile: names of modules that :meth:`load` imports here while it waits.
    """

    def __init__(self, meanwhile: Sequence[str] = ()) -> None:
        self._meanwhile, self._path = meanwhile, ""
        # A fresh Python: it has no thread and no connection of this one.
        context = multiprocessing.get_context("spawn")
        pairs = [context.Pipe() for _ in range(min(MOST, count_cores()))]
        self._free: SimpleQueue[Connection] = SimpleQueue()
        self._process = context.Process(
            target=_work, args=([theirs for _, theirs in pairs],), name="model", daemon=True
        )
        self._process.start()
        for ours, other in pairs:
            self._free.put(ours)
            other.close()  # so that the end of the process ends the connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # it holds nothing
        self._process.join()

    def load(self, path: str) -> "ModelProcess":
        """Load a model that :func:`tracked.models.loader.download` has checked.

        Raises:
            RunFailed: if the process ends.
            Exception: what the process raised.
        """
        self._path = path
        connection = self._free.get()
        with suppress(OSError):  # it has ended, as the answer says
            connection.send(path)
        for name in self._meanwhile:
            with suppress(Exception):  # the code that needs it says what is wrong
                import_module(name)
        self._receive(connection)
        return self

    def predict(self, inputs: Any) -> Any:
        """Predict, as ``PyFuncModel.predict`` does; may be called by several threads at once.

        Raises:
            RunFailed: if the process ends.
            Exception: what the process raised.
        """
        connection = self._free.get()
        with suppress(OSError):
            connection.send(inputs)
        return self._receive(connection)

    def _receive(self, connection: Connection) -> Any:
        try:
            answer, trace = connection.recv()
        except (EOFError, OSError):
            self._process.join()
            raise RunFailed(f"the process that predicts {describe_exit(self._process.exitcode or 0)}") from None
        finally:
            self._free.put(connection)
        if trace:
            raise answer from RuntimeError(f"in the process that predicts\n{trace}")
        return answer

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # such as what copying and pickling look for
            raise AttributeError(name)
        return getattr(import_module("tracked.models.loader").load(self._path), name)


@contextmanager
def beside(meanwhile: Sequence[str]) -> Iterator[Load]:
    """Begin to import TensorFlow in a process beside this one, if that saves time; gives what loads a model.

    Args:
        meanwhile: as of :class:`ModelProcess`.
    """
    if entry.is_command and count_cores() > 1 and "tensorflow" not in sys.modules:
        with ModelProcess(meanwhile) as process:
            yield process.load
    else:
        yield lambda path: import_module("tracked.models.loader").load(path)


def _work(connections: Sequence[Connection]) -> None:
    """Load a model, then predict in a thread for each connection until the other process ends."""
    with suppress(OSError):
        os.setpgid(0, 0)  # signals of a terminal or a group reach the other process alone, which ends this one
    entry.is_command = True
    hide_in_streams()
    import_module("tracked.training.reproducibility").import_tensorflow()
    loader, loaded = import_module("tracked.models.loader"), list[Any]()
    with suppress(EOFError, OSError):
        _answer(connections[0], lambda path: loaded.append(loader.load(path)))
        threads = [
            Thread(target=_answer_all, args=(one, lambda inputs: loaded[0].predict(inputs))) for one in connections
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    os._exit(0)  # libraries' threads may wait for each other at the end


def _answer_all(connection: Connection, call: Callable[[Any], Any]) -> None:
    with suppress(EOFError, OSError):
        while True:
            _answer(connection, call)


def _answer(connection: Connection, call: Callable[[Any], Any]) -> None:
    """Answer one message by what a call returns, or by what it raises and its trace."""
    asked, trace = connection.recv(), ""
    try:
        answer = call(asked)
    except Exception as error:
        answer, trace = error, traceback.format_exc()
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            answer = RuntimeError(f"{type(error).__name__}: {error}")
    connection.send((answer, trace))
