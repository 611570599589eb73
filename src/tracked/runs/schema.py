"""The tags of a run."""

from mlflow.utils.mlflow_tags import MLFLOW_PROJECT_ENTRY_POINT

from tracked.experiment import Experiment, owns_untagged

# Tags of a training's run.
VERB = "verb"
EXPERIMENT = "experiment"  # the name of the experiment that it is of; earlier runs of one experiment have none
LAUNCH = "launch"  # JSON: by which process, and of a training with what, it was begun or gone on with
STOP_REASON = "stop_reason"
CLOSED = "closed"  # set when it is given up
REGISTERED = "registered_version"  # comes last: with it a training is complete, whatever its status says
EXTENDED = "raised"  # patience or epochs, which were raised when it was resumed
RESUMED = "resumed"
ENTRY_POINT = MLFLOW_PROJECT_ENTRY_POINT  # of mlflow run
TAGS = {
    VERB, EXPERIMENT, LAUNCH, STOP_REASON, CLOSED, REGISTERED, EXTENDED, RESUMED,
    "error", "data_source", "data_digest", "data_rows", "versions", "machine",
}  # fmt: skip
OF_VERSIONS = {"best_epoch", "data_digest"}  # tags that a training's version is made with, and no other version
UNNAMED = "?"  # whose a run or a model is that was made before experiments had names, to any but that one


def owner_of(owner: Experiment, told: str | None, is_made_here: bool = True) -> str:
    """Name the experiment that a run, a version or a model is of, as ``owner`` sees it.

    Args:
        told: what it says itself; None or empty if it says nothing.
        is_made_here: whether it was made by some version of this project; what others have made is anybody's.
    """
    return told or (owner.name if owns_untagged(owner) or not is_made_here else UNNAMED)


def name_experiment(name: str) -> str:
    """Name an experiment in a sentence; ``UNNAMED`` is one that has not named itself."""
    return "another experiment, which has not named itself" if name == UNNAMED else f"experiment {name!r}"
