"""Answer a Parquet file of texts by ``pyfunc.predict`` on pandas tables; run by ``predictions.py``.

python bench/prediction_loop.py MODEL TEXTS.parquet OUTPUT
"""

import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

ROWS = 10_000  # of a table


def main() -> None:
    """Predict table by table, and write a file for each."""
    model, source, output = sys.argv[1:]
    Path(output).mkdir()
    loaded = mlflow.pyfunc.load_model(model)
    for number, batch in enumerate(pq.ParquetFile(source).iter_batches(ROWS)):
        table = batch.to_pandas()
        probability = np.asarray(loaded.predict(table["text"].astype(object))).reshape(-1)
        answers = pd.DataFrame({"id": table["id"], "probability": probability})
        answers.to_parquet(Path(output) / f"part-{number:05d}.parquet")


if __name__ == "__main__":
    main()
