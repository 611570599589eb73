"""Plan a search: a new one, or one to resume with the parameters, the data and the code that it began with."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from tracked.console.errors import UserError
from tracked.console.parameters import as_string, describe_error, refusal
from tracked.console.search_parameters import SearchParameters, make_search_parameters
from tracked.experiment import Dataset, Experiment
from tracked.resume import resume_parameters, resume_plan, training_status
from tracked.runs import queries, run_parameters, run_start, versions
from tracked.runs.connection import mlflow_run_id, tracking_uri
from tracked.runs.queries import MlflowRun
from tracked.runs.schema import CODE, DATA_DIGEST, DATA_SOURCE, REGISTERED, SPACE, VERB, WINNER_RUN_ID, name_experiment
from tracked.search import search_status
from tracked.training import reproducibility, run_folder
from tracked.training.run_folder_lock import RunFolderLock

CHANGEABLE = ("workers", "executor", "address")  # they change when a trial runs, not what comes of it
EXTENDABLE = ("trials",)


@dataclass(frozen=True)
class SearchPlan:
    """A search to carry out: its parameters, and its run if it is resumed.

    Args:
        source: what finds the data of a resumed search again; else empty.
    """

    parameters: SearchParameters
    run: MlflowRun | None = None
    source: str = ""

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags of the resumed search; empty for a new one."""
        return self.run.data.tags if self.run else {}

    @property
    def decided(self) -> str:
        """The run of the winner that was chosen; empty as long as none is."""
        return self.tags.get(WINNER_RUN_ID, "")

    @property
    def is_complete(self) -> bool:
        """Whether the winner is registered: only the run's end may be missing."""
        return REGISTERED in self.tags


def make_plan(owner: Experiment, command: SearchParameters, folder_lock: RunFolderLock) -> SearchPlan:
    """Find and lock the search to resume, or plan a new one.

    Raises:
        UserError: if the search does not exist, cannot be resumed or is held by another process, or a parameter would
            have to change.
        RunFailed: if the store keeps failing.
    """
    own = run_start.require_own_run(owner, "search")
    if own and command.resume != "no":
        allowed = "no under mlflow run: mlflow run . -e search --run-id RUN_ID resumes a search"
        raise refusal("resume", command.resume, allowed)
    run = own if own and VERB in own.data.tags else None
    if command.resume == "latest":
        run = search_status.find_latest(owner)
    elif command.resume != "no":
        run = queries.read_runs(owner, [command.resume], "resume").runs[0]
    if run is None:
        resume_plan.require_writable(owner, run_folder.find_root(owner.name, tracking_uri()))
        return SearchPlan(command)
    run_id = run.info.run_id
    if run.data.tags.get(VERB) != "search" or not queries.is_own(owner, run):
        of = name_experiment(queries.owner_of(owner, run))
        raise UserError(
            f"resume: run {run_id} is not a search of {owner.name!r} (verb {run.data.tags.get(VERB)}, {of})"
        )
    if training_status.is_elsewhere(owner, run):
        place = run_parameters.read_launch(run).get("snapshots")
        raise UserError(
            f"resume: search {run_id} runs or died on another host or in another container (snapshots in {place}): "
            "resume it there; if that is gone, close it here, then resume it"
        )
    held = partial(_held_error, run_id)
    resume_plan.lock_folder(owner, search_status.find_folder(owner, run), folder_lock, held)
    run = run_start.read_run(run_id)  # another process may have finished it before the lock
    source = run_parameters.read_launch(run).get("source") or run.data.tags.get(DATA_SOURCE, "")
    return SearchPlan(_merge(owner, run, command), run, source)


def _held_error(run_id: str, holder: str) -> UserError:
    return UserError(f"resume: search {run_id} is held by {holder}; end that process first")


def _merge(owner: Experiment, run: MlflowRun, command: SearchParameters) -> SearchParameters:
    """Merge the search's parameters with the command's.

    A value equal to its default counts as not given, since ``mlflow run`` passes every default; of what may change, it
    counts on a command line.

    Raises:
        UserError: if a parameter would have to change.
    """
    cls, run_id = make_search_parameters(owner), run.info.run_id
    is_decided = WINNER_RUN_ID in run.data.tags  # more trials could choose another winner, beside its version
    given = {name: value for name, value in command.given.items() if name != "resume"}
    counted = () if mlflow_run_id() else (*CHANGEABLE, *EXTENDABLE, resume_parameters.RENAMABLE)
    requested = {
        name: value for name, value in given.items() if name in counted or value != cls.model_fields[name].default
    }
    values = {name: value for name, value in run_parameters.read_given(run).items() if name in cls.model_fields}
    # Before the check: this machine may have fewer cores than the former one, or no Ray.
    values |= {name: value for name, value in requested.items() if name in CHANGEABLE}
    if requested.get("executor") == "processes" and "address" not in requested:
        values.pop("address", None)  # of the cluster that the search had before
    try:
        recorded = cls.model_validate(values, context=run_parameters.read_preset_values(run))
    except ValidationError as error:
        problem = describe_error(error)
        advice = "give another value" if problem.startswith(CHANGEABLE) else "start a new search"
        raise UserError(f"resume: search {run_id} has an invalid parameter ({problem}); {advice}") from None
    resume_parameters.warn_of_uncounted(given, requested, recorded)
    space = run.data.tags.get(SPACE, recorded.search_space.text)
    # The experiment's own space may be another by now. Else it counts as not given, as in the search's name.
    changes: dict[str, object] = {} if recorded.search_space.text == space else {"space": space}
    for name, value in requested.items():
        former = getattr(recorded, name)
        if name == "space":
            if command.search_space.text != space:
                raise refusal(name, as_string(value), f"{space}, as search {run_id} has it, or a new search")
        elif name == resume_parameters.RENAMABLE and value != former:
            if _has_version(run):
                raise refusal(name, as_string(value), f"{former}, since search {run_id} has a registered version")
            changes[name] = value
        elif name in EXTENDABLE and value > former and not is_decided:
            changes[name] = value
        elif value != former:
            more = " or more" if name in EXTENDABLE and not is_decided else ""
            raise refusal(name, as_string(value), f"{as_string(former)}{more}, as search {run_id} has it")
    try:
        return recorded.extend(changes)
    except ValidationError as error:
        raise UserError(describe_error(error)) from None


def _has_version(run: MlflowRun) -> bool:
    """Whether a search's winner is registered, also where the search has not noted it.

    Raises:
        RunFailed: if the store keeps failing.
    """
    winner = run.data.tags.get(WINNER_RUN_ID)
    if REGISTERED in run.data.tags or not winner:
        return REGISTERED in run.data.tags
    return bool(versions.find_versions_by_run([winner])[winner])


def require_same(plan: SearchPlan, data: Dataset, code: str) -> None:
    """Check the data and the code of a resumed search: trials of others would not compare.

    Raises:
        UserError: if they changed.
    """
    for what, name, tag, now in (("data", data.source, DATA_DIGEST, data.digest), ("code", "it", CODE, code)):
        former = plan.tags.get(tag, now)
        if former != now:
            change = f"(digest {former[:12]} -> {now[:12]})"
            subject = f"{what}: {name} changed since search {plan.run.info.run_id if plan.run else ''} began {change}"
            raise UserError(f"{subject}; restore the {what}, or start a new search without --resume or --run-id")


def find_code(owner: Experiment) -> list[Path]:
    """Find the files and folders of the code that a trial's result depends on, beside the machinery's own."""
    rules = Path(__file__).parents[1] / "analysis" / "pruning.py"
    return [rules, *reproducibility.find_source_files(owner)]
