import os
import subprocess
import sys

import pytest

from helpers import SRC, fresh
from tracked.training import reproducibility

CODE = """
import sys
from tracked.training import reproducibility
reproducibility.import_tensorflow()
if "without" in sys.argv:
    sys.modules["tensorflow.python.framework.config"] = None
before = reproducibility.describe_machine()["deterministic_ops"]
reproducibility.make_repeatable(7)
print(before, reproducibility.describe_machine()["deterministic_ops"])
"""

# Each line: what a training after others depends on.
AGAIN = """
import random, sys
import keras, numpy as np, tensorflow as tf
from tracked.training import reproducibility
keras.config.set_dtype_policy("mixed_bfloat16")
for time in range(int(sys.argv[1])):
    reproducibility.make_repeatable(7)
    model = keras.Sequential([keras.Input((3,)), *(keras.layers.Dense(2) for _ in range(6)), keras.layers.Dropout(0.5)])
    drawn = keras.random.normal((2,)), tf.random.normal((2,)), np.random.random(), random.random()
    answer = model(np.ones((4, 3), np.float32), training=True)
print(model.name, [layer.name for layer in model.layers], keras.config.dtype_policy().name)
print([weight.tolist() for weight in model.get_weights()], [np.asarray(value).tolist() for value in drawn])
print(tf.cast(answer, "float32").numpy().tolist(), keras.config.is_interactive_logging_enabled())
"""


@pytest.mark.slow
def test_training_after_others_in_a_process_has_names_draws_and_weights_of_a_fresh_process() -> None:
    env = {**os.environ, "PYTHONPATH": str(SRC)}
    once, later = (
        subprocess.run([sys.executable, "-c", AGAIN, times], env=env, capture_output=True, text=True)
        for times in ("1", "4")
    )
    assert once.stdout.startswith("sequential ['dense', 'dense_1', "), once.stderr
    assert "'dropout'] mixed_bfloat16" in once.stdout
    assert once.stdout.endswith("False\n")
    assert later.stdout == once.stdout


@pytest.mark.slow
@pytest.mark.parametrize("private", ["with", "without"])
def test_deterministic_operations_are_known_without_tensorflows_private_part(private: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(SRC)}
    done = subprocess.run([sys.executable, "-c", CODE, private], env=env, capture_output=True, text=True)
    assert done.stdout == "false true\n", done.stderr


@pytest.mark.slow
def test_import_of_tensorflow_leaves_out_what_keras_needs_for_pictures_and_wrappers() -> None:
    code = (
        "import sys; from tracked.console import entry; from tracked.training import reproducibility;"
        "entry.is_command = True; tf = reproducibility.import_tensorflow(1);"
        "left = [name for name in reproducibility.KERAS_EXTRAS if name in sys.modules];"
        "import keras, matplotlib.pyplot, sklearn.metrics;"
        "print(left, tf.config.threading.get_intra_op_parallelism_threads(),"
        " tf.config.threading.get_inter_op_parallelism_threads())"
    )
    environment = os.environ | {"TF_NUM_INTRAOP_THREADS": "3"}
    assert fresh.run(code, environment) == "[] 1 3\n"


@pytest.mark.slow
def test_import_of_tensorflow_keeps_what_was_imported_before() -> None:
    code = (
        "import sys, matplotlib; from tracked.console import entry; from tracked.training import reproducibility;"
        "entry.is_command = True; reproducibility.import_tensorflow();"
        "assert sys.modules['matplotlib'] is matplotlib; import keras; print(keras.__version__)"
    )
    assert fresh.run(code)


@pytest.mark.slow
def test_import_of_tensorflow_in_a_notebook_leaves_all_of_keras() -> None:
    code = (
        "from tracked.training import reproducibility; reproducibility.import_tensorflow();"
        "from keras.src.visualization import plot_image_gallery; from keras.src.wrappers import fixes;"
        "print(plot_image_gallery.plt is not None, fixes.sklearn is not None)"
    )
    assert fresh.run(code) == "True True\n"


@pytest.mark.parametrize(("given", "used"), [("abc", 7), ("2.0", 7), ("0", 7), ("", 7), ("3", 3)])
def test_threads_that_are_no_number_are_the_cores(given: str, used: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", given)
    monkeypatch.setattr(reproducibility, "count_cores", lambda: 7)
    assert reproducibility._count_threads() == used
