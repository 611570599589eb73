"""Score requests in a process of its own: the model is loaded and checked once, then batches are answered."""

import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tracked.console.errors import RunFailed, UserError
from tracked.console.lines import locate, one_line, warn
from tracked.console.secrets import hide_in_streams
from tracked.console.serve_parameters import make_serve_parameters
from tracked.experiment import Request
from tracked.serve.frames import Answered, Bad, Batch, Failed, Form, Ready, Setting, Unfit, encode, receive_blocking
from tracked.serve.memory import settle_memory

NEEDED = ("find_bad", "predict", "describe")
LIBRARIES = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # a second thread would be another scorer's
# Between answers alone and among others. Sums in float32 round in an order that depends on the CPU and on the number of
# rows: a logit moves by up to 1e-5 of the largest one's size, a probability by half of that; a fault by far more.
TOLERANCE = 1e-4


def work(connection: socket.socket, setting: Setting) -> None:
    """Load the model, then score batches until the server ends: a scorer's process."""
    with suppress(OSError):
        os.setpgid(0, 0)  # Ctrl-C reaches the server alone, which ends its scorers
    hide_in_streams()
    stream, status = connection.makefile("rb"), 0
    try:
        try:
            scoring = Scoring.open(setting)
            ready = scoring.check()
            settle_memory()
        except (UserError, RunFailed) as error:
            connection.sendall(encode(Unfit(one_line(error))))
            return
        except Exception as error:
            connection.sendall(encode(Unfit(f"it cannot be loaded ({_locate(error)})")))
            return
        connection.sendall(encode(ready))
        while True:
            connection.sendall(encode(scoring.score(receive_blocking(stream))))
    except (EOFError, OSError):  # the server has ended
        pass
    except Exception as error:
        _locate(error)
        status = 1
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(status)  # libraries' threads may wait for each other at the end


class Scoring:
    """A model that answers batches.

    Args:
        scorer: the experiment's :class:`tracked.experiment.OnlineScorer`.
    """

    def __init__(self, scorer: Any, setting: Setting) -> None:
        self._scorer, self._setting = scorer, setting

    @classmethod
    def open(cls, setting: Setting) -> "Scoring":
        """Load the model.

        Raises:
            UserError: if the experiment cannot serve it.
        """
        from tracked.models import one_thread

        os.environ.update(one_thread.ONE_THREAD | LIBRARIES)
        experiment = setting.experiment
        parameters = make_serve_parameters(experiment).model_validate(dict(setting.given))
        request = Request("", True, parameters, setting.metadata, online=True)
        scorer = experiment.open_scorer(one_thread.load_model(setting.path), request)
        if lacking := [name for name in NEEDED if not hasattr(scorer, name)]:
            raise UserError(f"experiment {experiment.name!r}: its scorer lacks {lacking[0]}, which serve needs")
        return cls(scorer, setting)

    def check(self) -> Ready:
        """Answer the model's own example, each row alone and all of them together; returns what to tell of the model.

        Raises:
            RunFailed: if they cannot be answered, or an answer depends on its neighbours.
        """
        import numpy as np

        rows, columns = self._setting.example, dict(self._scorer.columns)
        notes = dict(getattr(self._scorer, "notes", {}))
        if not rows:
            return Ready(columns, notes, [], False)
        table = self._make_table(Batch(self._setting.columns, [("output", rows)]))
        if bad := self._scorer.find_bad(table):
            raise RunFailed(f"its own example cannot be answered: {next(iter(bad.values()))}")
        together = np.asarray(self._scorer.predict(table))
        alone = np.concatenate([np.asarray(self._scorer.predict(table.iloc[[row]])) for row in range(len(rows))])
        if len(together) != len(rows) or not np.isfinite(together).all():
            raise RunFailed("its own example is not answered with a finite number for each row")
        if not np.allclose(together, alone, rtol=TOLERANCE, atol=TOLERANCE):
            raise RunFailed(f"answers of its own example depend on their neighbours by more than {TOLERANCE}")
        answers = [json.loads(_dump(answer)) for answer in _list_answers(self._scorer.describe(together))]
        can_explain = hasattr(self._scorer, "explain") and self._scorer.explain(table.iloc[:1]) is not None
        return Ready(columns, notes, answers, can_explain)

    def score(self, batch: Batch) -> list[Answered]:
        """Answer the requests of a batch together. A bad row, or a fault, is told of its own request alone."""
        table, parts, first = self._make_table(batch), [], 0
        for form, rows in batch.parts:
            parts.append(_Part(form, first, len(rows)))
            first += len(rows)
        try:
            bad = self._scorer.find_bad(table)
            for part in parts if bad else ():
                part.find_bad(bad)
            self._answer([part for part in parts if part.answered is None], table)
        except Exception as error:
            if len(parts) == 1:
                return [_fail(error)]
            return [alone for part in batch.parts for alone in self.score(Batch(batch.columns, [part]))]
        return [part.answered for part in parts if part.answered is not None]

    def _answer(self, parts: Sequence["_Part"], table: Any) -> None:
        import numpy as np

        if not parts:
            return
        rows = [row for part in parts for row in part.rows]
        chosen = table if len(rows) == len(table) else table.iloc[rows]
        output = np.asarray(self._scorer.predict(chosen))
        if len(output) != len(rows):
            raise RunFailed("another number of answers than of rows")
        is_plain = any(part.form != "output" for part in parts)
        answers = _list_answers(self._scorer.describe(output)) if is_plain else []
        if is_plain and len(answers) != len(rows):
            raise RunFailed("another number of descriptions than of rows")
        first = 0
        for part in parts:
            piece = slice(first, first + part.count)
            first += part.count
            if not np.isfinite(output[piece]).all():
                part.answered = Failed("the model's output is not a finite number")
            elif part.form == "output":
                part.answered = [_dump(value) for value in output[piece].tolist()]
            elif part.form == "answers":
                part.answered = [_dump(answer) for answer in answers[piece]]
            else:
                part.answered = self._explain(table.iloc[part.rows], answers[piece][0])

    def _explain(self, table: Any, answer: Mapping[str, Any]) -> Answered:
        reasons = self._scorer.explain(table) if hasattr(self._scorer, "explain") else None
        if reasons is None:
            return Failed("this model gives no reasons for it")
        return [_dump({"prediction": answer, **reasons})]

    def _make_table(self, batch: Batch) -> Any:
        import numpy as np
        import pandas as pd

        rows = [row for _, rows in batch.parts for row in rows]
        table = np.empty((len(rows), len(batch.columns)), dtype=object)
        table[:] = rows
        return pd.DataFrame(table, columns=list(batch.columns))


@dataclass
class _Part:
    """A request's rows in the table of a batch, and what has come of them."""

    form: Form
    first: int
    count: int
    answered: Answered | None = None

    @property
    def rows(self) -> list[int]:
        """The numbers of the rows."""
        return list(range(self.first, self.first + self.count))

    def find_bad(self, bad: Mapping[Any, str]) -> None:
        """Take the first row that is bad, if any, as the outcome."""
        found = next((row for row in self.rows if row in bad), None)
        if found is not None:
            self.answered = Bad(found - self.first, str(bad[found]))


def _list_answers(table: Any) -> list[dict[str, Any]]:
    """List a table's rows as Python's values; pandas' own way takes several times as long for few rows."""
    names = list(table)
    return [dict(zip(names, row, strict=True)) for row in zip(*(table[name].tolist() for name in names), strict=True)]


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def _fail(error: Exception) -> Failed:
    _locate(error)
    return Failed("a fault of the model or of its scorer, which the log names")


def _locate(error: Exception) -> str:
    """Log where an error came from, and return it."""
    place = locate(error)
    warn(f"scorer {os.getpid()}: {place}")
    return place
