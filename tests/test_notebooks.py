"""The notebooks run from top to bottom on a store with one training, and show what they promise."""

import ast
from pathlib import Path

import mlflow
import nbformat
import pytest
from nbclient import NotebookClient

import train
from conftest import TINY
from imdb_conv1d.console import Signals

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_defines_nothing_and_is_kept_without_output(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            lines = [line for line in cell.source.splitlines() if not line.startswith("%")]
            assert not any(
                isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in ast.walk(ast.parse("\n".join(lines)))
            )


def test_the_training_notebook(store: str, reviews_csv: Path) -> None:
    train.main([*TINY, f"--data={reviews_csv}", "--patience=1", "--epochs=3"], Signals())
    notebook = nbformat.read(FOLDER / "training.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(FOLDER)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output.data for output in outputs if output.output_type == "execute_result"]
    (run,) = mlflow.search_runs(output_format="list")
    assert f"{run.data.metrics['best_val_loss']:.6f}".rstrip("0") in shown[0]["text/plain"]
    assert "image/png" in shown[1]
    assert "improved" in shown[2]["text/plain"]
    scores = [float(line.split()[-1]) for line in shown[3]["text/plain"].splitlines()[1:]]
    assert len(scores) == 3
    assert all(0 < score < 1 for score in scores)
