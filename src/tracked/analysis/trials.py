"""A trial of a search: what was proposed, and what came of it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Direction = Literal["min", "max"]
TrialStatus = Literal["running", "finished", "pruned", "not_a_number", "failed"]


@dataclass(frozen=True)
class Trial:
    """A training with proposed parameters.

    Args:
        number: from 0 on, in the order of the proposals.
        values: of the searched parameters, by name.
        known: the numbers of the trials whose results the proposal was made with, ascending.
        status: finished if the training ended by its own rule; failed if an error ended it.
        history: the monitored metric after each epoch, from epoch 1 on.
        best: the monitored metric of the best epoch; None without a finite one.
        best_epoch: 0 without one.
        seconds: of all epochs.
        note: the reason of the pruning rule, or the error.
    """

    number: int
    values: Mapping[str, Any]
    known: Sequence[int] = ()
    status: TrialStatus = "running"
    run_id: str = ""
    run_name: str = ""
    history: Sequence[float] = field(default=())
    best: float | None = None
    best_epoch: int = 0
    seconds: float = 0.0
    note: str = ""

    @property
    def epochs(self) -> int:
        """The number of trained epochs."""
        return len(self.history)

    @property
    def is_result(self) -> bool:
        """Whether it is known what comes of these values: a running or a failed trial does not tell."""
        return self.status in ("finished", "pruned", "not_a_number")


def rank(trials: Iterable[Trial], direction: Direction) -> list[Trial]:
    """Sort the trials that have ended by themselves with a finite best value, the best first; the earlier of equals.

    A pruned trial is left out: its best value is that of a training that was not finished.
    """
    sign = 1 if direction == "min" else -1
    ended = [one for one in trials if one.status == "finished" and one.best is not None and math.isfinite(one.best)]
    return sorted(ended, key=lambda one: (sign * (one.best or 0.0), one.number))
