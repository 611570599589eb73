import os
import subprocess
import sys

import pytest

from helpers import SRC

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


@pytest.mark.parametrize("private", ["with", "without"])
def test_deterministic_operations_are_known_without_tensorflows_private_part(private: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(SRC)}
    done = subprocess.run([sys.executable, "-c", CODE, private], env=env, capture_output=True, text=True)
    assert done.stdout == "false true\n", done.stderr
