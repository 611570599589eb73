"""What a training depends on beside parameters and data: random states, code, package versions, the machine."""

import ast
import hashlib
import importlib.metadata
import os
import platform
import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from tracked.console import collector, entry
from tracked.console.cores import count_cores
from tracked.console.lines import quiet_stderr
from tracked.experiment import Experiment

if TYPE_CHECKING:
    import tensorflow as tf

PACKAGES = ("tensorflow", "keras", "mlflow", "numpy", "pandas", "scikit-learn")
# Keras imports them, where they are installed, for pictures and wrappers: a second, before the first step.
KERAS_EXTRAS = ("matplotlib", "sklearn")
OPERATION_THREADS = "TF_NUM_INTRAOP_THREADS"  # of the environment
MODEL_PACKAGES = ("mlflow", "tensorflow", "keras", "numpy", "pandas")

_deterministic: set[str] = set()  # not empty once this process has chosen deterministic operations


def import_tensorflow(threads: int = 0) -> ModuleType:
    """Import TensorFlow and initialize its devices without its notes on standard error, which ignore its log level.

    They are printed if TF_CPP_MIN_LOG_LEVEL is set, or if the import fails.

    Args:
        threads: of one operation, see ``Experiment.operation_threads``. TensorFlow that works already keeps its own.
    """
    is_verbose = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3"
    if entry.is_command and "tensorflow" not in sys.modules:
        collector.pause()
    with nullcontext() if is_verbose else quiet_stderr():
        with _hide(KERAS_EXTRAS if entry.is_command else ()):  # a notebook may want them of Keras later
            import tensorflow as tf

        if threads:
            with suppress(RuntimeError):  # it has begun its work
                tf.config.threading.set_inter_op_parallelism_threads(max(1, _count_threads() // threads))
                tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.list_physical_devices()
        tf.constant(0)
    collector.go_on()
    return tf


@contextmanager
def _hide(packages: Sequence[str]) -> Iterator[None]:
    """Let imports of packages fail within the block, as if they were not installed; not of those imported already."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _count_threads() -> int:
    """Count the threads that TensorFlow may use: those that the environment names, else one a core."""
    given = os.environ.get(OPERATION_THREADS, "")
    return int(given) if given.isdecimal() and int(given) else count_cores()  # as TensorFlow takes what is no number


def make_repeatable(seed: int, threads: int = 0) -> None:
    """Seed Python, NumPy and TensorFlow, and make TensorFlow's operations deterministic.

    Keras is set back as in a fresh process, so that a training has the same bits whatever was trained before it, and
    the memory of former networks is freed. Only Keras's dtype policy stays. Its progress bars are switched off.

    Args:
        threads: of one operation, as of :func:`import_tensorflow`.
    """
    tf = import_tensorflow(threads)

    import keras

    # Keras numbers the layers of a process. The order in which TensorFlow adds up gradients follows the layers' names,
    # and dense_10 comes before dense_9.
    policy = keras.config.dtype_policy()
    keras.backend.clear_session()
    keras.config.set_dtype_policy(policy)
    keras.config.disable_interactive_logging()  # progress bars of predict would mix into the output
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    _deterministic.add("here")


def get_random_states() -> dict[str, Any]:
    """Get the random states of Python and NumPy as JSON; those of layers are variables of the network."""
    name, keys, *rest = np.random.get_state()
    return {"python": random.getstate(), "numpy": [name, [int(key) for key in keys], *rest]}


def restore_random_states(states: dict[str, Any]) -> None:
    """Restore the states of :func:`get_random_states`."""
    version, keys, gauss = states["python"]
    random.setstate((version, tuple(keys), gauss))
    np.random.set_state(tuple(states["numpy"]))


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}


def digest_code(*others: Path) -> str:
    """Digest the code that an epoch depends on: this folder's, the rules' and ``others``, files or folders."""
    folder = Path(__file__).parent
    rules = [folder.parent / "analysis" / name for name in ("early_stopping.py", "plateau.py")]
    return digest_programs([folder, *rules, *others])


def digest_programs(paths: Iterable[Path]) -> str:
    """Digest the programs of files and folders. Comments, docstrings and layout do not change the digest."""
    files = [file for path in paths for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]
    programs = (_dump_program(file.read_bytes()) for file in files)
    return hashlib.sha256("\n".join(programs).encode()).hexdigest()[:12]


def find_source_files(experiment: Experiment) -> list[Path]:
    """Find an experiment's source: its package's folder, or its script and the modules imported from beside it.

    Empty for an experiment that is defined in a notebook.
    """
    module = sys.modules[type(experiment).__module__]
    if not (path := getattr(module, "__file__", None)) or not Path(path).is_file():
        return []
    file = Path(path).absolute()
    if module.__package__:
        return [file.parent]
    imported = {Path(getattr(module, "__file__", None) or "").absolute() for module in list(sys.modules.values())}
    # Those of the end are imported already where a training follows others in a process, else later.
    ends = {end for name in experiment.end_modules if (end := file.with_name(f"{name}.py")).is_file()}
    return sorted({file, *ends, *(path for path in imported if path.parent == file.parent)})


@cache
def _dump_program(source: bytes) -> str:
    """Dump a file's syntax tree without docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


def model_requirements() -> list[str]:
    """Requirements of a registered model, pinned to the installed versions."""
    return [f"{name}=={importlib.metadata.version(name)}" for name in MODEL_PACKAGES]


def describe_machine() -> dict[str, str]:
    """Describe the machine by what results depend on: equal values give equal bits."""
    import tensorflow as tf

    threads = tf.config.threading.get_intra_op_parallelism_threads() or _count_threads()
    return {
        "cpu": _cpu(),
        "threads": str(threads),
        "deterministic_ops": str(_has_deterministic_ops()).lower(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "gpus": str(count_gpus()),
        "platform": platform.platform(),
    }


def describe_host() -> dict[str, str]:
    """Describe the machine without asking TensorFlow."""
    onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default")
    return {"cpu": _cpu(), "onednn": onednn, "platform": platform.platform()}


def _has_deterministic_ops() -> bool:
    try:
        from tensorflow.python.framework.config import is_op_determinism_enabled  # not in the public API
    except ImportError:
        return bool(_deterministic)
    return bool(is_op_determinism_enabled())


def without_autotune() -> "tf.data.Options":
    """Options without tf.data's tuning: its thread sleeps ever longer, and an iterator's end waits for it."""
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def count_gpus() -> int:
    """Count the GPUs that TensorFlow finds."""
    import tensorflow as tf

    return len(tf.config.list_physical_devices("GPU"))


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
