"""The notebooks run from top to bottom on a store with one training, and show their results."""

import ast
import re
from pathlib import Path

import mlflow
import nbformat
import pytest
from nbclient import NotebookClient

from helpers import ROOT
from helpers.recording import record
from helpers.reviews import TINY
from helpers.verbs import train
from tracked.console.signals import Signals

FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_define_no_functions_and_store_no_output(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            lines = [line for line in cell.source.splitlines() if not line.startswith("%")]
            assert not any(
                isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in ast.walk(ast.parse("\n".join(lines)))
            )


def results(name: str) -> list[dict[str, str]]:
    """Run a notebook and return its cells' results by type."""
    notebook = nbformat.read(FOLDER / name, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(FOLDER)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [output.data for output in outputs if output.output_type == "execute_result"]


def record_anothers() -> None:
    """Record a newer training of another model with other metrics in the same MLflow experiment."""
    of_another = {"verb": "train", "experiment": "another", "stop_reason": "patience"}
    run_id = record([3.0, 2.0, 1.0], {"monitor": "val_loss"}, of_another, name="another")
    mlflow.MlflowClient().log_metric(run_id, "best_epoch", 3)


def test_patience_notebook_runs_and_recommends(store: str, reviews_csv: Path) -> None:
    for seed, patience in ((1, 4), (2, 2)):
        arguments = [f"--data={reviews_csv}", f"--patience={patience}", "--epochs=30", f"--seed={seed}"]
        train.main([*TINY, *arguments], Signals())
    runs = mlflow.search_runs(filter_string="tags.verb = 'train'", output_format="list")
    record_anothers()
    trained, curve, table, heat_map, sentence, pooled, yours = results("patience.ipynb")
    assert "another" not in trained["text/plain"]
    for run in runs:
        assert run.info.run_id in trained["text/plain"]
        assert f"{run.data.metrics['best_val_loss']:.6f}" in trained["text/plain"]
    assert all("image/png" in picture for picture in (curve, heat_map, pooled))
    longest = max(runs, key=lambda run: run.data.metrics["stopped_epoch"])
    last_row = table["text/html"].split("<tr>")[-1]
    assert re.findall("<td>(.*?)</td>", last_row)[0] == f"{longest.data.metrics['stopped_epoch']:g}"
    assert "Too few runs to recommend a patience" in sentence["text/plain"]
    assert yours["text/html"].count("<td>") == 10 * 7


def test_training_notebook_shows_the_runs_values_and_scores(store: str, reviews_csv: Path) -> None:
    train.main([*TINY, f"--data={reviews_csv}", "--patience=1", "--epochs=3"], Signals())
    (run,) = mlflow.search_runs(output_format="list")
    record_anothers()
    shown = results("training.ipynb")
    assert "another" not in shown[0]["text/plain"]
    assert f"{run.data.metrics['best_val_loss']:.6f}".rstrip("0") in shown[0]["text/plain"]
    assert "image/png" in shown[1]
    assert "improved" in shown[2]["text/plain"]
    scores = [float(line.split()[-1]) for line in shown[3]["text/plain"].splitlines()[1:]]
    assert len(scores) == 3
    assert all(0 < score < 1 for score in scores)
