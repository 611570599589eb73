"""Replay other early-stopping rules on recorded trainings: a table of (history, patience, min_delta).

Early stopping does not change a training before the stop. So a rule that stops within a recorded history would have
stopped a training at the same epoch, and a long run answers for all shorter ones. Where a history ends before the rule
stops, the row is censored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd

from tracked.analysis.early_stopping import improves, step

BLOCK = 256  # histories replayed at once


@dataclass(frozen=True, eq=False)
class History:
    """A metric's value after each epoch of a run, from epoch 1 on.

    ``values`` [epochs]; ``seconds`` [epochs]: seconds of training until each epoch's end, without the pause before a
    resume where the run has logged how long its epochs took. ``patience`` and ``min_delta`` are the run's own rule,
    None where the run does not state them. ``same_rate_until``: the last epoch before the run's own schedule lowered
    its learning rate, 0 if in the first; None if it never did. ``steps`` [epochs]: of a foreign run that logged its
    values at other steps than 1, 2, 3, … or 0, 1, 2, …: then each value is of an evaluation, and "epoch" everywhere
    means the evaluation's number, also in a patience; None where steps and epochs are the same.
    """

    run_id: str
    run_name: str
    monitor: str
    mode: Literal["min", "max"]
    values: np.ndarray
    seconds: np.ndarray
    patience: int | None = None
    min_delta: float | None = None
    same_rate_until: int | None = None
    steps: np.ndarray | None = None

    @property
    def unit(self) -> str:
        """What has one value: epoch or evaluation."""
        return "epoch" if self.steps is None else "evaluation"

    def name_epoch(self, epoch: int) -> str:
        """Name an epoch, counted from 1; an evaluation with its step."""
        number = f"{self.unit} {epoch}"
        return number if self.steps is None or epoch < 1 else f"{number}, step {self.steps[epoch - 1]}"

    @property
    def best_epoch(self) -> int:
        """The epoch of the best checkpoint; 0 if no value is finite."""
        return int(_replay_block([self], [0], [0.0])[2][0])


def replay(histories: Sequence[History], patience: Sequence[int], min_delta: Sequence[float]) -> pd.DataFrame:
    """Replay every rule on every history: a row for each pair, in the order of the arguments.

    Returns:
        run_id, run_name, monitor, mode, patience, min_delta as given; stopped_epoch: the epoch after which the rule
        ends the training; best_epoch and best_value: the checkpoint kept by then; epochs_saved and seconds_saved: what
        the recorded run spent after the stop (seconds_saved is NaN where the clock was set back); regret: how much
        worse best_value is than the best of the whole history, in the metric's unit, never negative, infinite without
        a checkpoint. All of these are missing in a ``censored`` row: the history ends before the rule stops. For the
        history itself: own_patience, and waited, the most epochs without an improvement by its own min_delta (0 if
        not stated). If a history has steps, also stopped_step and best_step, those of the two epochs.
    """
    rules = len(patience) * len(min_delta)
    stopped, kept = np.zeros((2, len(histories), rules), dtype=int)
    best, waited = np.zeros((2, len(histories)), dtype=int)
    by_length = np.argsort([len(history.values) for history in histories], kind="stable")
    for start in range(0, len(histories), BLOCK):
        block = by_length[start : start + BLOCK]
        epochs = _replay_block([histories[number] for number in block], patience, min_delta)
        stopped[block], kept[block] = (by_rule.reshape(-1, rules) for by_rule in epochs[:2])
        best[block], waited[block] = epochs[2:]
    return _make_table(histories, [(p, d) for p in patience for d in min_delta], stopped, kept, best, waited)


def drop_repeats(histories: Sequence[History]) -> list[History]:
    """Drop histories that another one repeats bit by bit or continues.

    Trainings with the same seed and parameters are the same training, however often it was run.
    """
    values = [history.values.astype(float).tobytes() for history in histories]
    order = sorted(range(len(histories)), key=lambda number: (values[number], -number))
    # In this order a history is followed at once by one that begins with it.
    repeated = {number for number, after in pairwise(order) if values[after].startswith(values[number])}
    return [history for number, history in enumerate(histories) if number not in repeated]


def _replay_block(
    histories: Sequence[History], patience: Sequence[int], min_delta: Sequence[float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Replay the rules on some histories at once.

    Returns:
        epochs, 0 for none: of the stop and of the checkpoint kept by then, both [histories, patience, min_delta]; of
        the best checkpoint of the whole history, and the longest wait by its own min_delta, both [histories].
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
        first = stops & (stopped == 0) & (epoch <= lengths)[:, None, None]
        if first.any():
            stopped[first] = epoch
            kept_then = np.where(first, kept[:, None, None], kept_then)
        improved, own_wait, _ = step(mode, 0, own, epoch, own_best, own_wait, value)
        own_best = np.where(improved, value, own_best)
        waited = np.where(epoch <= lengths, np.maximum(waited, own_wait), waited)
    return stopped, kept_then, kept, waited


def _make_table(
    histories: Sequence[History],
    grid: Sequence[tuple[int, float]],
    stopped: np.ndarray,
    kept: np.ndarray,
    best: np.ndarray,
    waited: np.ndarray,
) -> pd.DataFrame:
    """Make the table. Epoch 0 means none: a rule can stop before any epoch has a finite value to keep."""
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

    def epochs(numbers: np.ndarray, known: np.ndarray) -> pd.Series:
        return pd.Series(numbers.ravel(), dtype="Int64").where(known.ravel())

    steps = {}
    if any(history.steps is not None for history in histories):
        for name, numbers in (("stopped_step", stopped), ("best_step", kept)):
            at = [_find_steps(history, own) for history, own in zip(histories, numbers, strict=True)]
            steps[name] = epochs(np.array(at), numbers > 0)
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
            **steps,
        }
    )


def _find_steps(history: History, epochs: np.ndarray) -> np.ndarray:
    """Find the steps of epochs [rules] of a history; anything where the epoch is 0."""
    return epochs if history.steps is None else history.steps[np.maximum(epochs, 1) - 1]
