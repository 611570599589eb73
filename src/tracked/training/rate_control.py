"""The learning rate of each epoch, and its cuts at plateaus."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import keras
import numpy as np

from tracked.analysis.plateau import advance
from tracked.console.errors import RunFailed
from tracked.console.lines import format_count, one_line, say
from tracked.console.rate_parameters import RateParameters
from tracked.console.train_parameters import TrainParameters
from tracked.experiment import Trainee
from tracked.training.callbacks import EarlyStopping, Logs
from tracked.training.plateau_rates import make_first_state, make_rule

ADVICE = "start a new training with schedule=constant and without warmup_steps"


@dataclass(frozen=True)
class Cut:
    """A cut at the end of an epoch: the rates until then and from the next epoch on."""

    epoch: int
    old: float
    new: float


class RateControl(keras.callbacks.Callback):
    """Read the rate that an epoch ended with, then cut it for the next epoch if the plateau rule says so.

    It runs before the recorder, so that the epoch's snapshot has the next epoch's rate and its metrics the former one.

    Attributes:
        rate: of the last step of the last epoch.
        cut: the cut after the last epoch, None if there was none.
    """

    def __init__(self, parameters: TrainParameters) -> None:
        super().__init__()
        self.parameters, self.rule = parameters, make_rule(parameters)
        self.rate = float("nan")
        self.cut: Cut | None = None
        self._trainee: Trainee | None = None
        self._set_rate: Callable[[float], None] = lambda rate: None

    def restore(self, trainee: Trainee, history: Iterable[Mapping[str, float]]) -> None:
        """Set the trainee's rate to that after these epochs: a function of their metrics and the parameters alone.

        Raises:
            RunFailed: if the trainee cannot follow the schedule of the parameters.
        """
        _require_schedule(self.parameters, trainee)
        self._trainee = trainee
        if self.rule:
            self._state = make_first_state(self.parameters)
            for logs in history:
                self._advance(logs)
            self._set_rate = getattr(trainee, "set_learning_rate", _refuse)
            try:
                self._set_rate(self._state.rate)
            except TypeError as error:
                problem = f"schedule=plateau cannot set the trainee's learning rate ({one_line(error)})"
                raise RunFailed(f"{problem}; give the result of make_rate to its optimizer, or {ADVICE}") from None

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Read the rate; cut it."""
        assert self._trainee is not None
        self.rate = self._trainee.learning_rate
        if self.rule:
            self._advance(logs or {})
        if self.cut:
            self._set_rate(self.cut.new)

    def _advance(self, logs: Mapping[str, float]) -> None:
        assert self.rule
        before = self._state
        self._state = advance(self.rule, before, float(logs[self.parameters.monitor]))
        self.cut = Cut(self._state.epoch, before.rate, self._state.rate) if self._state.is_cut else None


class CutReport(keras.callbacks.Callback):
    """Print a cut of the rate, after the epoch's own line; not after the last epoch, as no epoch has the new rate."""

    def __init__(self, rates: RateControl, stopping: EarlyStopping) -> None:
        super().__init__()
        self.rates, self.stopping = rates, stopping

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Print the cut after this epoch, if there is one."""
        if (cut := self.rates.cut) and self.rates.rule and not self.stopping.reason:
            waited = format_count(self.rates.rule.patience, "epoch")
            old, new = (str(np.float32(rate)) for rate in (cut.old, cut.new))
            say(f"epoch {cut.epoch}: no improvement for {waited}; learning rate {old} -> {new} from the next epoch on")


def _refuse(rate: float) -> None:
    raise TypeError("it has no set_learning_rate")


def _require_schedule(parameters: TrainParameters, trainee: Trainee) -> None:
    """Check that a trainee follows a schedule by steps: no run may state one that had no effect.

    Raises:
        RunFailed: if the trainee has none.
    """
    if not isinstance(parameters, RateParameters):
        return
    by_steps = [f"schedule={parameters.schedule}"] if parameters.schedule in ("exponential", "cosine") else []
    by_steps += [f"warmup_steps={parameters.warmup_steps}"] if parameters.warmup_steps else []
    if by_steps and not getattr(trainee, "has_schedule", False):
        problem = f"{by_steps[0]} has no effect on the trainee"
        raise RunFailed(f"{problem}; give the result of make_rate to its optimizer, or {ADVICE}")
