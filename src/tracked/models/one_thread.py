"""Load a model in a process that scores with one thread; nothing slow is imported before it is loaded."""

from typing import Any

# Of the environment, before TensorFlow is imported: sums have the same bits whatever the number of processes is.
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}


def load_model(path: str) -> Any:
    """Load a model that was checked, as an ``mlflow.pyfunc.PyFuncModel``."""
    from tracked.models import loader

    return loader.load(path)
