"""The tags of a run."""

from mlflow.utils.mlflow_tags import MLFLOW_PROJECT_ENTRY_POINT

# Tags of a training's run.
VERB = "verb"
EXPERIMENT = "experiment"  # the name of the experiment that it is of; earlier runs of one experiment have none
LAUNCH = "launch"  # JSON: by which process, and of a training with what, it was begun or gone on with
STOP_REASON = "stop_reason"
CLOSED = "closed"  # set when it is given up
REGISTERED = "registered_version"  # comes last: with it a training is complete, whatever its status says
RAISED = "raised"  # patience or epochs, which were raised when it was resumed
RESUMED = "resumed"
ENTRY_POINT = MLFLOW_PROJECT_ENTRY_POINT  # of mlflow run
