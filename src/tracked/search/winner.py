"""Choose a search's winner by trainings with new seeds, and register one of them."""

from collections.abc import Iterator

from tracked.analysis.confirmation import Candidate, Confirmation, choose_seeds, confirm
from tracked.analysis.trials import Trial
from tracked.console.errors import RunFailed
from tracked.console.lines import say
from tracked.reports import confirmation_lines
from tracked.reports.search_scale import format_value
from tracked.resume import training_status
from tracked.runs import run_calls, run_parameters, trials
from tracked.runs.schema import (
    CLOSED,
    CONFIRMED,
    CONFIRMS,
    EXTENDED,
    REGISTERED,
    SEARCH_RUN_ID,
    STOP_REASON,
    WINNER,
    WINNER_RUN_ID,
)
from tracked.runs.writer import escape_markdown
from tracked.search import trial_folders
from tracked.search.coordinator import Search
from tracked.search.tasks import Task

CANDIDATES = 3
DEFAULTS = "defaults"


def confirm_best(search: Search) -> Confirmation | None:
    """Train the best trials and the defaults with new seeds, and decide; None if the search confirms nothing.

    Raises:
        Interrupted: if a signal came.
        RunFailed: if no training has a value, or the store keeps failing.
    """
    parameters = search.parameters
    if not parameters.confirm:
        return None
    best, seeds = search.ranked[:CANDIDATES], choose_seeds(parameters.seed, parameters.confirm)
    arms = [(str(trial.number), trial.values) for trial in best] + [(DEFAULTS, {})]
    if not search.decided:
        say(f"confirming the best {len(best)} trials and the defaults with {len(seeds)} new seeds each")

    def make_tasks() -> Iterator[Task]:
        for seed in seeds:
            for label, values in arms:
                found = search.confirming.get((label, seed))
                if found is None or not found.is_result:
                    tags = trials.make_confirming_tags(search.run.id, label, values)
                    who = label if label == DEFAULTS else search.name_trial(int(label))
                    name = f"confirm {who} with seed {seed}"
                    yield search.make_task(name, values, tags, found.run_id if found else "", seed=seed)

    for task, trial in search.dispatcher.carry_out(iter(()) if search.decided else make_tasks()):
        search.confirming[_key_of(task)] = trial
        search.tell_confirming(task, trial)

    def list_values(label: str) -> dict[int, float | None]:
        found = {seed: search.confirming.get((label, seed)) for seed in seeds}
        return {seed: one.best if one and one.status == "finished" else None for seed, one in found.items()}

    candidates = [Candidate(trial.number, trial.best, list_values(str(trial.number))) for trial in best]
    try:
        return confirm(candidates, list_values(DEFAULTS), seeds, search.direction)
    except ValueError:
        note = next((one.note for one in search.confirming.values() if one.note), "none has a finite value")
        raise RunFailed(f"no confirming training has a result: {note}") from None


def _key_of(task: Task) -> tuple[str, int]:
    return task.tags[CONFIRMS], int(task.given["seed"])


def register(search: Search, confirmation: Confirmation | None) -> str:
    """Register the winner's training, or without a confirmation the best trial; returns the version's title.

    The search's tag ``REGISTERED`` is set later, once the report is logged, so a search that has it is complete.

    Raises:
        Interrupted: if a signal came.
        RunFailed: if the training cannot be registered, or the store keeps failing.
    """
    chosen, seed = search.ranked[0], None
    label = str(chosen.number)
    search.confirmation = confirmation
    if confirmation is not None:
        number, seed = confirmation.winner.number, confirmation.seed
        label = DEFAULTS if number is None else str(number)
        chosen = search.confirming[label, seed]
    if search.decided and search.decided != chosen.run_id:
        raise RunFailed(
            f"search {search.run.id} had chosen run {search.decided}, and its trainings now tell run {chosen.run_id}; "
            "were some deleted or changed?"
        )
    note = _describe_origin(search, chosen, confirmation)
    told = "unknown" if confirmation is None else str(confirmation.confirmed).lower()
    search.run.set_tags({WINNER: label, WINNER_RUN_ID: chosen.run_id, CONFIRMED: told})
    search.run.flush()  # before a version is made: whatever comes then, this choice stands
    say(_describe_choice(search, chosen, confirmation))
    _rename(search, chosen.run_id)
    tags = {SEARCH_RUN_ID: search.run.id, WINNER: label, CONFIRMED: told}
    name = f"registering {chosen.run_name}"
    title = search.dispatcher.register(
        search.make_task(name, chosen.values, {}, chosen.run_id, seed=seed, register=True, note=note, version_tags=tags)
    )
    version = run_calls.get(chosen.run_id).data.tags[REGISTERED]
    keep_checkpoints(search)
    search.version = version
    return title


def _rename(search: Search, run_id: str) -> None:
    """Give the search's ``model_name``, which a resume may have changed, to the training that is registered."""
    run, name = run_calls.get(run_id), search.parameters.model_name
    if REGISTERED not in run.data.tags and run_parameters.read_given(run).get("model_name") != name:
        tag = run_parameters.format_extended({"model_name": name}, 0)
        run_calls.set_tags("naming the model", run_id, {EXTENDED: tag})


def _describe_origin(search: Search, chosen: Trial, confirmation: Confirmation | None) -> str:
    """Describe for the version how its training was chosen, in Markdown."""
    link = f"#/experiments/{search.setting.experiment_id}/runs/{search.run.id}"
    values = ", ".join(f"{name} {format_value(value)}" for name, value in chosen.values.items())
    told = _describe_choice(search, chosen, confirmation)
    lines = [
        f"Chosen by a [search]({link}) of {len(search.trials)} trials: {escape_markdown(values or 'the defaults')}."
    ]
    return "\n\n".join([*lines, escape_markdown(told)])


def _describe_choice(search: Search, chosen: Trial, confirmation: Confirmation | None) -> str:
    """Describe who won, whether the lead is confirmed, and how optimistic the search was."""
    if confirmation is None:
        return f"{confirmation_lines.describe_unconfirmed(chosen.number).capitalize()}."
    return confirmation_lines.describe_confirmation(confirmation, search.parameters.monitor)


def keep_checkpoints(search: Search) -> None:
    """Log the checkpoints of the best trials at their runs, remove all run folders, and end what is left RUNNING.

    Raises:
        RunFailed: if the store keeps failing.
    """
    for trial in search.ranked[: search.parameters.keep]:
        trial_folders.keep_checkpoint(search.root, trial.run_id)
    for run in trials.list_runs(search.run.id, search.setting.experiment_id):
        if training_status.is_of_search(run):
            if run.info.status not in ("FINISHED", "FAILED"):  # of a candidate that is none any more
                run_calls.set_tags(
                    "tagging the run as closed", run.info.run_id, {CLOSED: "true", STOP_REASON: "killed"}
                )
                run_calls.end(run.info.run_id, "KILLED")
            trial_folders.remove(search.experiment, search.root, run.info.run_id)
