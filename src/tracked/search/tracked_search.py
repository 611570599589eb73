"""Start or resume a search with its run, its run folder and its workers."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from tracked.console.cores import count_cores
from tracked.console.errors import RunFailed, StoreFailed
from tracked.console.lines import say
from tracked.console.search_parameters import SearchParameters
from tracked.console.signals import Signals
from tracked.experiment import Dataset, Experiment
from tracked.reports import search_log
from tracked.resume.tracked_training import load_data, require_short_name, tell_parameters
from tracked.runs import context, registry, rights, run_calls, run_start, trials
from tracked.runs.connection import forget_mlflow_run_id, registry_uri, tracking_uri
from tracked.runs.run_start import ResumableStart
from tracked.runs.schema import CANDIDATE, CODE, PRESET_VALUES, REGISTERED, SPACE
from tracked.runs.writer import Run
from tracked.search import search_plan, search_status
from tracked.search.coordinator import Search
from tracked.search.processes import ProcessWorkers
from tracked.search.search_plan import SearchPlan
from tracked.search.tasks import Setting, Workers
from tracked.training import reproducibility, run_folder
from tracked.training.run_folder_lock import RunFolderLock
from tracked.workers import lifetime


@contextmanager
def start_or_resume(experiment: Experiment, command: SearchParameters, signals: Signals) -> Iterator[Search | None]:
    """Start a search, or resume the one that the command names; None if its version is registered.

    After the block, whatever ends it, the workers have ended, and the run has the table and the page of the trials.
    After a block without an error, the run is FINISHED and the run folder is removed.

    Raises:
        UserError: for a mistake, before a run is made or changed.
        RunFailed: if the store keeps failing, or something could not be logged.
    """
    with RunFolderLock(search_status.FILES) as folder_lock:
        plan = search_plan.make_plan(experiment, command, folder_lock)
        if plan.is_complete:
            _finish(plan, folder_lock)
            yield None
            return
        parameters = plan.parameters
        require_short_name(parameters.model_name)
        tell_parameters(parameters, is_new=plan.run is None)
        place = rights.require_run(plan.run or run_start.require_own_run(experiment, "search"), "resume")
        rights.require_new_version(parameters.model_name, place, CANDIDATE)
        registry.require_own_model(experiment, parameters.model_name)
        make_workers = _choose_workers(parameters)
        data = load_data(experiment, parameters, plan.source)
        code_files = search_plan.find_code(experiment)
        code = reproducibility.digest_code(*code_files)
        search_plan.require_same(plan, data, code)
        start = _make_start(experiment, parameters, data, code, folder_lock, plan)
        name, texts = parameters.run_name, parameters.as_logged()
        with context.run(experiment, "search", name, texts, signals, resumable=start) as run:
            say(f"run {run.id} {name!r}")
            run.log_training_data(data)
            forget_mlflow_run_id()
            (run.folder / lifetime.STOP).unlink(missing_ok=True)
            lifetime.wait_for_workers(run.folder, signals, "a worker of the search's former attempt")
            experiment_id = run_calls.get(run.id).info.experiment_id
            first = trials.find_runs(run.id, experiment_id, parameters.monitor, parameters.direction)
            setting = _make_setting(experiment, parameters, data, run, experiment_id)
            setting = replace(setting, code=code, code_files=tuple(map(str, code_files)))
            del data  # the workers read them again
            search: Search | None = None
            is_away = False
            try:
                with make_workers(experiment, setting) as workers:
                    search = Search(experiment, parameters, run, setting, workers, signals, first, plan.decided)
                    yield search
            except StoreFailed:
                is_away = True
                raise
            finally:
                with signals.hold():
                    if search is not None:
                        if not is_away:
                            _read_running(search)
                        search_log.log_search(
                            run, parameters, experiment_id, list(search.trials.values()), search.confirmation
                        )
            if search.version:
                run.flush()  # the report, too
                run.set_tags({REGISTERED: search.version})


def _read_running(search: Search) -> None:
    """Read how far trials have come that have no result, for the report."""
    with suppress(RunFailed):  # then they are shown as the search itself knows them
        read = trials.find_runs(
            search.run.id, search.setting.experiment_id, search.parameters.monitor, search.direction
        )
        for number, trial in read.trials.items():
            if number in search.trials and not search.trials[number].is_result:
                search.trials[number] = trial


def _choose_workers(parameters: SearchParameters) -> Callable[[Experiment, Setting], Workers]:
    """Choose where the tasks are carried out.

    Raises:
        UserError: if Ray is not installed, or does not answer.
    """
    if parameters.executor == "processes":
        return partial(ProcessWorkers, count=parameters.workers)
    from tracked.search import ray_workers

    ray_workers.require_ray(parameters.address)
    return partial(ray_workers.RayWorkers, count=parameters.workers, address=parameters.address)


def _make_start(
    experiment: Experiment,
    parameters: SearchParameters,
    data: Dataset,
    code: str,
    folder_lock: RunFolderLock,
    plan: SearchPlan,
) -> ResumableStart:
    root = folder_lock.folder.parent if folder_lock.folder else run_folder.find_root(experiment.name, tracking_uri())
    launch = {"parameters": parameters.as_logged(), "source": data.source, "snapshots": str(root)}
    tags = {SPACE: parameters.search_space.text, CODE: code}
    if parameters.preset_values:
        tags[PRESET_VALUES] = json.dumps(parameters.preset_values)
    return ResumableStart(folder_lock, root, launch, plan.run.info.run_id if plan.run else "", tags)


def _make_setting(
    experiment: Experiment, parameters: SearchParameters, data: Dataset, run: Run, experiment_id: str
) -> Setting:
    threads = max(1, count_cores() // parameters.workers) if parameters.workers > 1 else 0
    environment = {"MLFLOW_TRACKING_URI": tracking_uri(), "MLFLOW_REGISTRY_URI": registry_uri()}
    environment[run_folder.setting_name(experiment.name)] = str(run.folder.parent)
    holder = run_folder.last_holder(run.folder)
    return Setting(
        experiment_id, str(run.folder), holder, data.digest, data.source, threads, environment, str(Path.cwd())
    )


def _finish(plan: SearchPlan, folder_lock: RunFolderLock) -> None:
    """End the run of a search whose version is registered."""
    folder_lock.remove()
    if plan.run is not None:
        if plan.run.info.status != "FINISHED":
            run_calls.end(plan.run.info.run_id, "FINISHED")
        version = f"version {plan.tags[REGISTERED]} of {plan.parameters.model_name}"
        say(f"search {plan.run.info.run_id} has finished: {version} is registered")
