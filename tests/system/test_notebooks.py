"""The notebooks run from top to bottom on a store with one training, and show their results; so do those committed."""

import ast
import re
from pathlib import Path

import mlflow
import nbformat
import pytest
from nbclient import NotebookClient

import make_notebooks
from helpers import ROOT
from helpers.recording import record
from helpers.reviews import TINY
from helpers.verbs import train
from tracked.console.signals import Signals

pytestmark = pytest.mark.slow

FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


of_each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
# A path or a time of the machine that executed it, or an address.
OF_A_MACHINE = re.compile(r"/(home|root|tmp|usr|opt|work|Users|var)\b|\d\d:\d\d:\d\d|https?://")


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def statements(cell: nbformat.NotebookNode) -> list[ast.stmt]:
    return ast.parse("\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))).body


def kinds(notebook: nbformat.NotebookNode) -> list[tuple[int, str, list[str]]]:
    """List the outputs: the cell, the type, and of a result its media types."""
    return [
        (number, output.output_type, sorted(output.get("data", {})))
        for number, cell in enumerate(code_cells(notebook))
        for output in cell.outputs
    ]


@of_each
def test_notebooks_define_no_functions(path: Path) -> None:
    for cell in code_cells(nbformat.read(path, as_version=4)):
        nodes = [node for statement in statements(cell) for node in ast.walk(statement)]
        assert not any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in nodes)


@of_each
def test_committed_notebooks_have_each_cells_output_and_nothing_else(path: Path) -> None:
    cells = code_cells(nbformat.read(path, as_version=4))
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)], "run `make notebooks`"
    for cell in cells:
        shows = isinstance(statements(cell)[-1], ast.Expr)
        assert [output.output_type for output in cell.outputs] == ["execute_result"] * shows, "run `make notebooks`"


@of_each
def test_committed_notebooks_are_small_and_name_no_machine(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert path.stat().st_size < 300_000
    assert notebook.metadata.language_info == {"name": "python"}
    for cell in code_cells(notebook):
        assert not cell.metadata
        for output in cell.outputs:
            for text in (output.data.get("text/plain", ""), output.data.get("text/html", "")):
                assert not OF_A_MACHINE.search(text)


def test_executing_a_notebook_again_changes_nothing(tmp_path: Path) -> None:
    """Whatever the run's id is."""
    source = "import os, sys\n[os.environ['RUN_ID'], sys.version_info.major]"
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "language_info": {"name": "python"}}
    path = tmp_path / "one.ipynb"
    texts = set()
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source, id="a")], metadata=metadata), path)
    for run_id in ("5e44f50a74554712ab840f85c111991f", "91e4e9efc14e4dd1a4ea6029d98f3e5b"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RUN_ID", run_id)
            nbformat.write(make_notebooks.execute(path, {run_id: "of this run"}), path)
        texts.add(path.read_text())
    assert len(texts) == 1
    assert "['of this run', 3]" in texts.pop()


def results(name: str) -> list[dict[str, str]]:
    """Run a notebook and return its cells' results by type, which are of the same kinds as the committed ones."""
    notebook = nbformat.read(FOLDER / name, as_version=4)
    committed = kinds(notebook)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(FOLDER)}}).execute()
    assert kinds(notebook) == committed, "run `make notebooks`"
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
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
    assert yours["text/html"].count("<td>") == 10 * 6


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
