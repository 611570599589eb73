"""A worker of a search in a process that Ray started: made to equal a process of the search itself.

Knows nothing of Ray. What Ray changes in its processes is undone before anything slow is imported, so that the same
training has the same bits in either.
"""

import os
import pickle
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import process, spawn
from pathlib import Path
from typing import Any, Self

from tracked.console.errors import UserError
from tracked.console.signals import Signals
from tracked.experiment import Experiment
from tracked.search.processes import carry_out, prepare_process
from tracked.search.tasks import Setting, Task
from tracked.search.worker import Worker

THREADS_OF_LIBRARIES = "OMP_NUM_THREADS"  # Ray sets it to an actor's CPUs
OF_MAIN = ("sys_argv", "init_main_from_name", "init_main_from_path")


@dataclass(frozen=True)
class Start:
    """What a worker's process is made with.

    Args:
        main: what :mod:`multiprocessing` hands to a process that it spawns, as far as it concerns ``__main__``.
        experiment: pickled, since its class may be one of ``__main__``.
        log: what the process prints goes to this file.
        threads: of libraries such as OpenMP's, as the search's environment says; None for their own default.
    """

    main: Mapping[str, Any]
    experiment: bytes
    setting: Setting
    log: str
    threads: str | None

    @classmethod
    def here(cls, experiment: Experiment, setting: Setting, log: str) -> Self:
        """Make a start from the search's own process."""
        name = process.current_process().name
        found = spawn.get_preparation_data(name)
        main = {key: found[key] for key in OF_MAIN if key in found}
        return cls(main, pickle.dumps(experiment), setting, log, os.environ.get(THREADS_OF_LIBRARIES))


def start(pickled: bytes) -> Callable[[bytes], bytes]:
    """Make the worker of this process; returns what carries out one task: pickled, as is its outcome.

    Raises:
        UserError: if the machine does not see the search's folders.
    """
    how: Start = pickle.loads(pickled)
    setting = how.setting
    for folder in filter(None, (setting.folder, setting.working_folder)):
        if not Path(folder).is_dir():
            raise UserError(f"{folder} is not on machine {os.uname().nodename}; share it with every machine of Ray's")
    if how.threads is None:
        os.environ.pop(THREADS_OF_LIBRARIES, None)
    else:
        os.environ[THREADS_OF_LIBRARIES] = how.threads
    prepare_process(how.log)
    # As multiprocessing does: a script is imported again, under another name and without its last lines.
    spawn.prepare(dict(how.main))
    # Ray has a handler of SIGTERM of its own: the search asks by a file, which the worker looks for.
    worker = Worker(pickle.loads(how.experiment), setting, Signals(), ends_process=False)

    def run(task: bytes) -> bytes:
        loaded: Task = pickle.loads(task)
        outcome = carry_out(worker, loaded)
        sys.stdout.flush()
        return pickle.dumps(outcome)

    return run
