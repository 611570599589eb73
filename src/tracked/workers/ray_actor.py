"""A worker in a process that Ray started: made to equal a process of :mod:`tracked.workers.processes`.

Knows nothing of Ray. What Ray changes in its processes is undone before anything slow is imported, so that the same
task has the same bits in either.
"""

import os
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import process, spawn
from pathlib import Path
from typing import Any, Self

from tracked.console.errors import Interrupted, UserError
from tracked.console.signals import Signals
from tracked.workers import processes
from tracked.workers.processes import prepare_process

THREADS_OF_LIBRARIES = "OMP_NUM_THREADS"  # Ray sets it to an actor's CPUs
OF_MAIN = ("sys_argv", "init_main_from_name", "init_main_from_path")


@dataclass(frozen=True)
class Start:
    """What a worker's process is made with.

    Args:
        main: what :mod:`multiprocessing` hands to a process that it spawns, as far as it concerns ``__main__``.
        begin: pickled, since it may name what is in ``__main__``; what the process begins with.
        folders: that the machine must see.
        log: what the process prints goes to this file.
        threads: of libraries such as OpenMP's, as the holder's environment says; None for their own default.
    """

    main: Mapping[str, Any]
    begin: bytes
    folders: Sequence[str]
    log: str
    threads: str | None

    @classmethod
    def here(cls, begin: "processes.Start[Any, Any]", folders: Sequence[str], log: str) -> Self:
        """Make a start from the holder's own process."""
        name = process.current_process().name
        found = spawn.get_preparation_data(name)
        main = {key: found[key] for key in OF_MAIN if key in found}
        return cls(main, pickle.dumps(begin), folders, log, os.environ.get(THREADS_OF_LIBRARIES))


def start(pickled: bytes) -> Callable[[bytes], bytes]:
    """Make the worker of this process; returns what carries out one task: pickled, as is what it returns.

    Raises:
        UserError: if the machine does not see the folders.
    """
    how: Start = pickle.loads(pickled)
    for folder in filter(None, how.folders):
        if not Path(folder).is_dir():
            raise UserError(f"{folder} is not on machine {os.uname().nodename}; share it with every machine of Ray's")
    if how.threads is None:
        os.environ.pop(THREADS_OF_LIBRARIES, None)
    else:
        os.environ[THREADS_OF_LIBRARIES] = how.threads
    prepare_process(how.log)
    # As multiprocessing does: a script is imported again, under another name and without its last lines.
    spawn.prepare(dict(how.main))
    # Ray has a handler of SIGTERM of its own: the holder asks by a file, which the worker looks for.
    carry_out = pickle.loads(how.begin)(Signals())

    def run(task: bytes) -> bytes:
        try:
            result = carry_out(pickle.loads(task))
        except Interrupted:  # asked to stop before it had begun
            result = None, False
        sys.stdout.flush()
        return pickle.dumps(result)

    return run
