"""What other early-stopping rules would have made of recorded trainings: a table of (history, patience, min_delta).

Until it stops, early stopping changes nothing in a training. So every rule that stops within a recorded history stops a
training there too, and a longer run answers for all the shorter ones. What a history is too short to tell is censored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd

from tracked.analysis.early_stopping import improves, step

BLOCK = 256  # histories that are followed side by side


@dataclass(frozen=True, eq=False)
class History:
    """A metric's value after each epoch of a run, from epoch 1 on.

    ``values`` [epochs] and ``seconds`` [epochs], seconds of training until each epoch's end. Time that a training lay
    dead until it was resumed is none of them, where the run says how long its epochs took. ``patience`` and
    ``min_delta`` are the rule that the run itself had, None where it does not say.
    """

    run_id: str
    run_name: str
    monitor: str
    mode: Literal["min", "max"]
    values: np.ndarray
    seconds: np.ndarray
    patience: int | None = None
    min_delta: float | None = None

    @property
    def best_epoch(self) -> int:
        """The epoch whose checkpoint is the best of them all; 0 if no value is a finite number."""
        return int(_replayed([self], [0], [0.0])[2][0])


def replay(histories: Sequence[History], patience: Sequence[int], min_delta: Sequence[float]) -> pd.DataFrame:
    """Every rule on every history, a row each, in the order of the arguments.

    Returns:
        run_id, run_name, monitor, mode, patience, min_delta as given; stopped_epoch: the epoch after which the rule
        ends the training; best_epoch and best_value: what a checkpoint keeps by then; epochs_saved and seconds_saved:
        what the recorded run was trained on for (seconds is NaN where they are those of a clock that was set back);
        regret: how much worse than the best value of the whole history, in the metric's unit, never negative, infinite
        where nothing was kept. All are missing in a row that is ``censored``: the history ends before the rule stops.
        Of the history itself: own_patience, and waited, the most epochs without an improvement by its own min_delta,
        else by any.
    """
    rules = len(patience) * len(min_delta)
    stopped, kept = np.zeros((2, len(histories), rules), dtype=int)
    best, waited = np.zeros((2, len(histories)), dtype=int)
    by_length = np.argsort([len(history.values) for history in histories], kind="stable")
    for start in range(0, len(histories), BLOCK):
        places = by_length[start : start + BLOCK]
        found = _replayed([histories[place] for place in places], patience, min_delta)
        stopped[places], kept[places] = (epochs.reshape(-1, rules) for epochs in found[:2])
        best[places], waited[places] = found[2:]
    return _table(histories, [(p, d) for p in patience for d in min_delta], stopped, kept, best, waited)


def drop_repeats(histories: Sequence[History]) -> list[History]:
    """Leave out histories that others repeat: those equal to the bit, and those that another one goes on from.

    Trainings of one seed and one set of parameters are one training, however often it was made.
    """
    order = sorted(range(len(histories)), key=lambda place: (histories[place].values.astype(float).tobytes(), -place))
    # In this order what begins like a history stands right behind it.
    repeated = {
        one
        for one, after in pairwise(order)
        if histories[after].values.astype(float).tobytes().startswith(histories[one].values.astype(float).tobytes())
    }
    return [history for place, history in enumerate(histories) if place not in repeated]


def _replayed(
    histories: Sequence[History], patience: Sequence[int], min_delta: Sequence[float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Epochs, 0 for none: of the stop and of the checkpoint then [histories, patience, min_delta], of the very best.

    And the longest wait of each history by its own min_delta.
    """
    lengths = np.array([len(history.values) for history in histories])
    values = np.full((lengths.max(), len(histories)), np.nan)
    for number, history in enumerate(histories):
        values[: lengths[number], number] = history.values
    mode = np.array([history.mode for history in histories])
    modes, patiences = mode[:, None, None], np.asarray(patience)[None, :, None]
    deltas = np.asarray(min_delta, dtype=float)[None, None, :]
    shape = (len(histories), len(patience), len(min_delta))
    stopped, kept_then = np.zeros(shape, dtype=int), np.zeros(shape, dtype=int)
    best, wait = np.zeros((len(histories), 1, len(min_delta))), np.zeros((), dtype=int)
    kept, kept_value = np.zeros(len(histories), dtype=int), np.zeros(len(histories))
    own = np.array([history.min_delta or 0.0 for history in histories])
    own_best, own_wait, waited = np.zeros(len(histories)), np.zeros((), dtype=int), np.zeros(len(histories), dtype=int)
    for epoch, value in enumerate(values, 1):
        keeps = np.isfinite(value) & ((kept == 0) | improves(mode, value, kept_value))
        kept, kept_value = np.where(keeps, epoch, kept), np.where(keeps, value, kept_value)
        improved, wait, stops = step(modes, patiences, deltas, epoch, best, wait, value[:, None, None])
        best = np.where(improved, value[:, None, None], best)
        now = stops & (stopped == 0) & (epoch <= lengths)[:, None, None]
        if now.any():
            stopped[now] = epoch
            kept_then = np.where(now, kept[:, None, None], kept_then)
        improved, own_wait, _ = step(mode, 0, own, epoch, own_best, own_wait, value)
        own_best = np.where(improved, value, own_best)
        waited = np.where(epoch <= lengths, np.maximum(waited, own_wait), waited)
    return stopped, kept_then, kept, waited


def _table(
    histories: Sequence[History],
    grid: Sequence[tuple[int, float]],
    stopped: np.ndarray,
    kept: np.ndarray,
    best: np.ndarray,
    waited: np.ndarray,
) -> pd.DataFrame:
    """The epochs as the table. An epoch 0 is none: a rule may also stop before anything was worth keeping."""
    best_value, lost, seconds = (np.full(stopped.shape, np.nan) for _ in range(3))
    for number, history in enumerate(histories):
        keeps, ends = kept[number] > 0, stopped[number] > 0
        best_value[number, keeps] = history.values[kept[number, keeps] - 1]
        lost[number, ends & ~keeps & (best[number] > 0)] = np.inf
        lost[number, keeps] = np.abs(best_value[number, keeps] - history.values[best[number] - 1])
        if (np.diff(history.seconds) >= 0).all():
            seconds[number, ends] = history.seconds[-1] - history.seconds[stopped[number, ends] - 1]
    lengths = np.array([[len(history.values)] for history in histories]).reshape(-1, 1)

    def of_history(name: str) -> np.ndarray:
        return np.repeat([getattr(history, name) for history in histories], len(grid))

    def epochs(numbers: np.ndarray, there: np.ndarray) -> pd.Series:
        return pd.Series(numbers.ravel(), dtype="Int64").where(there.ravel())

    return pd.DataFrame(
        {
            **{name: of_history(name) for name in ("run_id", "run_name", "monitor", "mode")},
            "patience": np.tile([patience for patience, _ in grid], len(histories)),
            "min_delta": np.tile([min_delta for _, min_delta in grid], len(histories)),
            "stopped_epoch": epochs(stopped, stopped > 0),
            "best_epoch": epochs(kept, kept > 0),
            "best_value": best_value.ravel(),
            "epochs_saved": epochs(lengths - stopped, stopped > 0),
            "seconds_saved": seconds.ravel(),
            "regret": lost.ravel(),
            "censored": (stopped == 0).ravel(),
            "own_patience": pd.array(np.repeat([history.patience for history in histories], len(grid)), dtype="Int64"),
            "waited": np.repeat(waited, len(grid)),
        }
    )
