"""Carry out the tasks of a search in one process: the data are read once, and each task is a training."""

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from tracked.analysis.pruning import decide
from tracked.console.errors import Interrupted, RunFailed, StoreFailed, UserError
from tracked.console.lines import one_line, say
from tracked.console.signals import Signals
from tracked.console.train_parameters import TrainParameters, make_train_parameters
from tracked.experiment import Dataset, Experiment
from tracked.search.tasks import Outcome, Setting, Task
from tracked.training import reproducibility
from tracked.training.dataset_cache import DatasetCache
from tracked.workers.lifetime import Lifetime

THREADS = "TF_NUM_INTRAOP_THREADS"


class Worker:
    """One process's part of a search; made before anything slow is imported.

    Args:
        signals: their handler, or one that is asked to stop by :meth:`Signals.request`.
        ends_process: whether the process may be ended if a task does not reach a point where it can stop.
    """

    def __init__(self, experiment: Experiment, setting: Setting, signals: Signals, ends_process: bool = True) -> None:
        os.environ.update(setting.environment)
        if setting.threads:
            os.environ[THREADS] = str(setting.threads)  # read when TensorFlow is imported
        if setting.working_folder:
            os.chdir(setting.working_folder)
        self.experiment, self.setting, self.signals = experiment, setting, signals
        self._cache = DatasetCache(experiment)
        self._lifetime = Lifetime(Path(setting.folder), setting.holder, signals, ends_process)

    def run(self, task: Task) -> Outcome:
        """Carry out a task; whatever becomes of the training is told in the outcome, and in its run."""
        with self._lifetime.working:
            return self._run(task)

    def _run(self, task: Task) -> Outcome:
        run_id = task.run_id
        try:
            self.signals.check()
            run_id, version = self._train(task)
            return Outcome("ended", run_id, version=version)
        except Interrupted:
            return Outcome("interrupted", run_id)
        except StoreFailed as error:
            return Outcome("interrupted", run_id, one_line(error))
        except (UserError, RunFailed, OSError) as error:
            return Outcome("failed", run_id, one_line(error))

    def _train(self, task: Task) -> tuple[str, str]:
        from tracked.resume import resume_plan, tracked_training
        from tracked.runs.schema import REGISTERED
        from tracked.training.run_folder_lock import RunFolderLock

        experiment = self.experiment
        with RunFolderLock(experiment.file_patterns) as folder_lock:
            plan = resume_plan.plan_trial(experiment, task.run_id, folder_lock) if task.run_id else None
            if plan and plan.is_complete:
                resume_plan.finish(plan, folder_lock)
                return plan.id, f"{plan.parameters.model_name} version {plan.run.data.tags[REGISTERED]}"
            cls = make_train_parameters(experiment)
            parameters = plan.parameters if plan else cls.model_validate(dict(task.given), context=task.of_preset)
            data = self._load(parameters)
            if plan:
                resume_plan.require_same_data(plan, data)
            start = tracked_training.TrialStart(
                task.run_name, task.tags, self.setting.experiment_id, self._make_rule(task, parameters), task.register
            )
            say(f"{task.name}: {task.run_name}")
            opened = tracked_training.open_training(
                experiment, parameters, data, plan, folder_lock, self.signals, start
            )
            with opened as training:
                training.fit()
                version = ""
                if task.register:
                    from tracked.models import finalize

                    run, trainer = training.run, training.trainer
                    origin = finalize.Origin(task.note, task.version_tags)
                    version = finalize.register_best(run, data, trainer, self.signals, origin).title
            return training.run.id, version

    def _load(self, parameters: TrainParameters) -> Dataset:
        """Read the data, or take those of the former task.

        Raises:
            UserError: if the data or the code are not those that the search began with: a new process reads both anew.
        """
        if not self._has_same_code:
            raise UserError("the code changed since the search began; restore it, then resume the search")
        data = self._cache.load(parameters, self.setting.source)
        if data.digest != self.setting.data_digest:
            change = f"(digest {self.setting.data_digest[:12]} -> {data.digest[:12]})"
            raise UserError(f"data: {data.source} changed since the search began {change}; restore the data")
        return data

    @cached_property
    def _has_same_code(self) -> bool:
        """Whether the code is that which the search began with: read once, as Python imports it once."""
        expected = self.setting.code
        return not expected or expected == reproducibility.digest_code(*map(Path, self.setting.code_files))

    @staticmethod
    def _make_rule(task: Task, parameters: TrainParameters) -> Callable[[Sequence[float]], str] | None:
        rule = task.prune
        if rule == "none":
            return None
        return lambda values: decide(rule, values, task.others, parameters.direction)
