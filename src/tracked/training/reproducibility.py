"""What a training depends on beside its parameters and data, fixed where it can be and told where it cannot."""

import ast
import hashlib
import importlib.metadata
import os
import platform
import random
import sys
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from tracked.console.lines import quiet_stderr
from tracked.experiment import Experiment

if TYPE_CHECKING:
    import tensorflow as tf

PACKAGES = ("tensorflow", "keras", "mlflow", "numpy", "pandas", "scikit-learn")
MODEL_PACKAGES = ("mlflow", "tensorflow", "keras", "numpy", "pandas")


def import_tensorflow() -> ModuleType:
    """TensorFlow with its devices found, without the notes that it writes to the terminal meanwhile.

    They come before its own log level counts. Whoever sets TF_CPP_MIN_LOG_LEVEL sees them, as does a failing import.
    """
    chatty = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3"
    with nullcontext() if chatty else quiet_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()
        tf.constant(0)
    return tf


def make_repeatable(seed: int) -> None:
    """Seed Python, NumPy and TensorFlow, and let TensorFlow choose operations whose result does not vary.

    From here on, Keras draws no progress bars.
    """
    tf = import_tensorflow()

    import keras

    keras.config.disable_interactive_logging()  # progress bars of whoever predicts would mix into the output
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def get_random_states() -> dict[str, Any]:
    """The states of Python's and NumPy's random numbers, as JSON; those of the layers are the network's variables."""
    name, keys, *rest = np.random.get_state()
    return {"python": random.getstate(), "numpy": [name, [int(key) for key in keys], *rest]}


def restore_random_states(states: dict[str, Any]) -> None:
    """Put back what :func:`get_random_states` gave."""
    version, keys, gauss = states["python"]
    random.setstate((version, tuple(keys), gauss))
    np.random.set_state(tuple(states["numpy"]))


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}


def digest_code(*others: Path) -> str:
    """Digest the code that an epoch depends on: this folder's, the rule's, and ``others``, which are files or folders.

    Comments, docstrings and layout change no digest.
    """
    here = Path(__file__).parent
    places = [here, here.parent / "analysis" / "early_stopping.py", *others]
    files = [file for place in places for file in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]
    return hashlib.sha256("\n".join(map(_program, files)).encode()).hexdigest()[:12]


def find_source_files(experiment: Experiment) -> list[Path]:
    """Find the folder of the package that an experiment is defined in; of a script, what is imported beside it.

    One that is defined in a notebook has neither.
    """
    module = sys.modules[type(experiment).__module__]
    file = Path(getattr(module, "__file__", None) or "")
    if not file.is_file():
        return []
    if module.__package__:
        return [file.parent]
    found = {Path(getattr(one, "__file__", None) or "").absolute() for one in list(sys.modules.values())}
    return sorted({file.absolute(), *(path for path in found if path.parent == file.absolute().parent)})


def _program(file: Path) -> str:
    """A file's program without its docstrings."""
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


def model_requirements() -> list[str]:
    """What a registered model needs, pinned to what it was made with."""
    return [f"{name}=={importlib.metadata.version(name)}" for name in MODEL_PACKAGES]


def describe_machine() -> dict[str, str]:
    """What equal bits depend on: two processes agree bit for bit where all of these are the same."""
    import tensorflow as tf
    from tensorflow.python.framework.config import is_op_determinism_enabled  # has no public name

    threads = tf.config.threading.get_intra_op_parallelism_threads() or count_cores()
    return {
        "cpu": _cpu(),
        "threads": str(threads),
        "deterministic_ops": str(is_op_determinism_enabled()).lower(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "gpus": str(count_gpus()),
        "platform": platform.platform(),
    }


def count_cores() -> int:
    """Number of cores that this process may use, where the system tells (Linux), else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def without_autotune() -> "tf.data.Options":
    """No tuning by tf.data: its thread sleeps longer and longer, and the end of an iterator waits for it."""
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def count_gpus() -> int:
    """Number of GPUs that TensorFlow sees."""
    import tensorflow as tf

    return len(tf.config.list_physical_devices("GPU"))


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
