"""Answer parts in a process of its own: the model is loaded once, and each task is a part."""

import json
import os
import sys
import traceback
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from tracked.console.errors import RunFailed, UserError
from tracked.console.lines import one_line, say
from tracked.console.predict_parameters import make_predict_parameters
from tracked.console.signals import Signals
from tracked.experiment import Experiment, Request, Scorer
from tracked.models.one_thread import ONE_THREAD, load_model
from tracked.predict.tasks import Failed, Outcome, Part, PartTask, RejectedRow, Setting, Task, Training, TrainingTask
from tracked.tables.rows import show_values
from tracked.workers.lifetime import Lifetime


def start_worker(
    experiment: Experiment, setting: Setting, signals: Signals, ends_process: bool = True
) -> Callable[[Task], tuple[Outcome, bool]]:
    """Make the worker of this process, before anything slow is imported; returns what carries out one task."""
    os.environ.update({**setting.environment, **ONE_THREAD})
    if setting.working_folder:
        os.chdir(setting.working_folder)
    lifetime = Lifetime(Path(setting.folder), setting.holder, signals, ends_process)
    worker = Worker(experiment, setting)

    def run(task: Task) -> tuple[Outcome, bool]:
        with lifetime.working:
            signals.check()
            return worker.carry_out(task), True

    return run


class Worker:
    """One process's part of a prediction."""

    def __init__(self, experiment: Experiment, setting: Setting) -> None:
        self.experiment, self.setting = experiment, setting

    @cached_property
    def parameters(self) -> Any:
        """The parameters of the prediction."""
        return make_predict_parameters(self.experiment).model_validate(dict(self.setting.given))

    @cached_property
    def scorer(self) -> Scorer:
        """What answers, with the model loaded."""
        setting = self.setting
        request = Request(setting.source, True, self.parameters, setting.metadata)
        return self.experiment.open_scorer(load_model(setting.model), request)

    def carry_out(self, task: Task) -> Outcome:
        """Carry out a task; an error that no other worker would be spared is an outcome."""
        try:
            return self._observe(task) if isinstance(task, TrainingTask) else self._answer(task)
        except (UserError, RunFailed) as error:
            return Failed(one_line(error))
        except Exception as error:
            return Failed(f"{task.name} cannot be answered {self._log(error)}")

    def _answer(self, task: PartTask) -> Part:
        from tracked.predict import part_files

        scorer, setting, table = self.scorer, self.setting, task.table
        reasons = scorer.find_bad(table) if len(table) else {}
        names = dict(zip(table.index, task.ids, strict=True)) if reasons else {}
        rejected = [*task.rejected, *(self._reject(task, row, names[row], why) for row, why in reasons.items())]
        good = ~table.index.isin(list(reasons))
        chosen = table[good]
        answers = scorer.answer(chosen) if len(chosen) else chosen.iloc[:, :0].assign(**dict.fromkeys(scorer.columns))
        if not answers.index.equals(chosen.index) or not set(scorer.columns) <= set(answers):
            raise RunFailed(f"{task.name}: answer gave other rows or columns than it was asked for")
        observed = scorer.observe(chosen, answers) if len(chosen) else {}
        ids = [one for one, is_good in zip(task.ids, good, strict=True) if is_good]
        output = Path(setting.output)
        content = part_files.make_table(ids, task.id_type, answers, scorer.columns, setting.model_version)
        try:
            lost = part_files.write_rejected(output, task.number, rejected, setting.shows_inputs)
            name, sha256 = part_files.write_answers(output, task.number, content, self.parameters.format)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else one_line(error)  # a library's own text says no more
            raise RunFailed(f"{task.name} cannot be written ({reason})") from None
        say(f"{name}: {len(chosen):,} of {task.rows:,} answered")
        counts = dict(sorted(Counter(row.reason for row in rejected).items()))
        numbers = (task.rows, len(chosen), len(rejected))
        return Part(task.number, name, sha256, *numbers, lost, task.digest, counts, json.loads(json.dumps(observed)))

    def _reject(self, task: PartTask, row: Any, name: object, reason: str) -> RejectedRow:
        content = ""
        if self.setting.shows_inputs:
            content = show_values(task.table.loc[row].to_dict())
        of = task.files[bisect_right(task.files, row, key=lambda one: one.first) - 1]
        return RejectedRow(int(row), str(name), of.file, int(row) - of.file_first, reason, content)

    def _observe(self, task: TrainingTask) -> Training:
        """Observe the training part; the answers are complete without it, so no error ends the prediction."""
        try:
            observed = self.experiment.observe_training(self.scorer, task.trained_on)
            return Training(json.loads(json.dumps(observed)))
        except (UserError, RunFailed) as error:
            return Training(None, f"the training's data cannot be read again ({one_line(error)})")
        except OSError as error:
            return Training(None, f"the training's data cannot be read again {self._log(error)}")
        except Exception as error:
            return Training(None, f"{task.name} cannot be observed {self._log(error)}")

    def _log(self, error: Exception) -> str:
        """Log where an error came from, without its message and values, which may be the input; returns its place."""
        print(type(error).__name__, *traceback.format_tb(error.__traceback__), sep="\n", file=sys.stderr)
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else type(error).__name__
        return f"({reason}); see {self.setting.folder}"
