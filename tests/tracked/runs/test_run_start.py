"""The run that MLFLOW_RUN_ID names: which verb it may become, and that what is refused stays as it was."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.utils import name_utils

from helpers.recording import record
from helpers.reviews import TINY
from helpers.verbs import compare, evaluate, promote, replay, rollback, tidy, train, unfinished
from tracked import __version__
from tracked.console.errors import UserError
from tracked.console.signals import Signals
from tracked.runs import metric_history, run_start

Verb = Callable[[Sequence[str], Signals], object]
VERBS: dict[str, Verb] = {
    "train": train.main,
    "evaluate": evaluate.main,
    "replay": replay.main,
    "compare": compare.main,
    "promote": promote.main,
    "rollback": rollback.main,
    "unfinished": unfinished.main,
    "tidy": tidy.main,
}
RULE = {"patience": 1, "min_delta": 0.0}
TRAINING = {"verb": "train", "stop_reason": "patience", "registered_version": "1"}


def everything() -> list[dict[str, Any]]:
    """All runs with all that can be said of them."""
    return [run.to_dictionary() for run in mlflow.search_runs(["0"], output_format="list")]


@pytest.mark.parametrize("begun", ["train", "evaluate", "promote", "unfinished"])
@pytest.mark.parametrize("verb", VERBS)
def test_used_run_of_another_verb_is_refused(
    store: str, noisy: Path, monkeypatch: pytest.MonkeyPatch, verb: str, begun: str
) -> None:
    record([0.5, 0.4], tags=TRAINING)
    run_id = record([0.5, 0.4], tags=TRAINING | {"verb": begun}, name="kept")
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    if verb == begun == "train":  # which goes on with it
        VERBS[verb](TINY, Signals())
        return
    before = everything()
    with pytest.raises(UserError) as caught:
        VERBS[verb]([], Signals())
    allowed = "a training, a run that nothing has begun" if verb == "train" else "a run that nothing has begun"
    assert str(caught.value) == (
        f"MLFLOW_RUN_ID: run {run_id} is a run of {begun} and cannot become one of {verb}; "
        f"allowed: {allowed}, or no --run-id"
    )
    assert everything() == before


@pytest.mark.parametrize("verb", VERBS)
def test_run_of_mlflow_run_for_another_verb_is_refused(store: str, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    record([0.5, 0.4], tags=TRAINING)
    entry = "evaluate" if verb == "train" else "main"
    run_id = record([0.5, 0.4], tags={"mlflow.project.entryPoint": entry}, status=None)
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    before = everything()
    with pytest.raises(
        UserError, match=f"^MLFLOW_RUN_ID: run {run_id} was made by mlflow run for {entry} and cannot become one of"
    ):
        VERBS[verb]([], Signals())
    assert everything() == before


@pytest.mark.parametrize("verb", VERBS)
def test_missing_run_is_named(store: str, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with pytest.raises(UserError, match=f"^MLFLOW_RUN_ID: no run can begin, as there is no run '{'0' * 32}'; allowed"):
        VERBS[verb]([], Signals())


@pytest.mark.parametrize("verb", ["replay", "compare", "unfinished"])
@pytest.mark.parametrize("is_made", [True, False])
def test_unused_run_becomes_the_verbs(store: str, monkeypatch: pytest.MonkeyPatch, verb: str, is_made: bool) -> None:
    """As mlflow run makes one, and as a user does."""
    record([0.5, 0.4], RULE, TRAINING)
    made = mlflow.MlflowClient().create_run("0", tags={"mlflow.project.entryPoint": verb} if is_made else {})
    monkeypatch.setenv("MLFLOW_RUN_ID", made.info.run_id)
    VERBS[verb]([], Signals())
    tags = mlflow.get_run(made.info.run_id).data.tags
    assert (tags["verb"], tags["tracked_version"]) == (verb, __version__)
    assert len(everything()) == 2


@pytest.mark.parametrize("verb", ["replay", "compare"])
def test_run_used_by_another_process_meanwhile_is_refused(
    store: str, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """Two processes were given the same run."""
    record([0.5, 0.4], RULE, TRAINING)
    client = mlflow.MlflowClient()
    made = client.create_run("0")
    monkeypatch.setenv("MLFLOW_RUN_ID", made.info.run_id)
    read = metric_history.read_all

    def meanwhile(*arguments: Any, **named: Any) -> Any:
        client.set_tag(made.info.run_id, "verb", "promote")
        return read(*arguments, **named)

    monkeypatch.setattr(metric_history, "read_all", meanwhile)
    with pytest.raises(UserError, match=f"^MLFLOW_RUN_ID: run {made.info.run_id} is a run of promote"):
        VERBS[verb]([], Signals())
    assert dict(client.get_run(made.info.run_id).data.tags)["verb"] == "promote"
    assert len(everything()) == 2


def test_name_without_mlflows_words_counts_as_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_start.is_made_up("gifted-crow-512")
    assert not run_start.is_made_up("lstm-big-512")
    monkeypatch.delattr(name_utils, "_GENERATOR_NOUNS")
    assert not run_start.is_made_up("gifted-crow-512")
    monkeypatch.delattr(name_utils, "_GENERATOR_PREDICATES")
    assert not run_start.is_made_up("gifted-crow-512")
