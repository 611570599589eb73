"""What a search hands to its workers and gets back: tasks, their outcomes, the workers' interface."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from tracked.training.holder import Holder
from tracked.workers import tasks
from tracked.workers.tasks import GRACE

__all__ = ["GRACE", "Event", "Outcome", "Setting", "Task", "Workers"]


@dataclass(frozen=True)
class Task:
    """A training of a search: a trial, or a training that confirms one. Plain values, so that it can be sent.

    Args:
        name: of the training, in messages: "trial 3".
        run_id: of the training to resume; empty for a new one.
        run_name: of a new run.
        given: the parameters, as :func:`tracked.console.train_parameters.make_train_parameters` takes them.
        of_preset: the validation's context: values that win even where they equal a default; None without a preset.
        tags: of a new run, set when it is created.
        prune: the rule for giving up; none for no rule.
        others: the histories that the rule compares with.
        register: whether the best checkpoint becomes a version; else the run folder stays when the training ends.
        note: a paragraph of Markdown for the description of that version; ``version_tags``: further tags of it.
    """

    name: str
    run_id: str
    run_name: str
    given: Mapping[str, Any]
    of_preset: Mapping[str, Any] | None
    tags: Mapping[str, str]
    prune: Literal["none", "median", "asha"] = "none"
    others: Sequence[Sequence[float]] = ()
    register: bool = False
    note: str = ""
    version_tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What came of a task.

    Args:
        status: ended: the training's run has ended by itself, FINISHED; failed: an error ended it; interrupted: the
            search asked the worker to stop, or the store failed, which ``error`` tells; the training can be resumed.
        run_id: empty if no run was made.
        error: one line.
        version: the title of the registered version, if there is one.
    """

    status: Literal["ended", "failed", "interrupted"]
    run_id: str = ""
    error: str = ""
    version: str = ""


@dataclass(frozen=True)
class Setting:
    """What all workers of a search are made with.

    Args:
        experiment_id: the MLflow experiment of the runs.
        folder: the search's run folder, on a disk that all workers see.
        holder: the search's process, as the lock of that folder names it.
        data_digest: of the data that the search began with.
        source: what finds these data again.
        threads: of TensorFlow, a worker; 0 for its own default.
        environment: variables of the environment, such as MLflow's settings.
        working_folder: of the processes; empty: as the search's.
        code: the digest of the code that a result depends on, and ``code_files`` the files and folders that it is of.
    """

    experiment_id: str
    folder: str
    holder: Holder | None
    data_digest: str
    source: str
    threads: int
    environment: Mapping[str, str] = field(default_factory=dict)
    working_folder: str = ""
    code: str = ""
    code_files: Sequence[str] = ()


Event: TypeAlias = tasks.Event[Task, Outcome]
Workers: TypeAlias = tasks.Workers[Task, Outcome]
