"""A registered model as a function of Spark: the answers of predict."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from helpers import ROOT
from imdb_conv1d.experiment import EXPERIMENT
from tracked.console.signals import Signals
from tracked.verbs import predict

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from helpers.trainings import Trainings

SCRIPT = ROOT / "examples" / "spark" / "spark_predict.py"


@pytest.mark.needs("Spark")
@pytest.mark.usefixtures("store")
def test_answers_of_spark_are_those_of_predict(imdb: "Trainings", noisy: Path, tmp_path: Path) -> None:
    imdb.train()
    texts = pd.read_csv(noisy)[["text"]].assign(name=[f"text {row}" for row in range(200)])
    for number, piece in enumerate((texts[:120], texts[120:])):
        (tmp_path / "texts").mkdir(exist_ok=True)
        piece.to_parquet(tmp_path / "texts" / f"{number}.parquet", index=False)
    model = f"models:/{EXPERIMENT.name}@candidate"
    words = {"model": model, "data": tmp_path / "texts", "output": tmp_path / "predicted", "id_column": "name"}
    predict.main(EXPERIMENT, [f"--{name}={word}" for name, word in words.items()], Signals())
    command = [sys.executable, SCRIPT, model, tmp_path / "texts", tmp_path / "spark", "--id=name", "--inputs", "text"]
    environment = os.environ | {"PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    ours, theirs = (
        pd.read_parquet(sorted((tmp_path / name).glob("part-*"))).set_index("id") for name in ("predicted", "spark")
    )
    assert len(ours) == len(theirs) == 200
    assert set(ours.index) == set(theirs.index)
    np.testing.assert_allclose(theirs["answer"].loc[ours.index], ours["probability"], rtol=0, atol=1e-5)
