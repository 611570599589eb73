"""How time and memory grow: made-up stores, exponents, the page."""

import math
from pathlib import Path

import mlflow
import pytest

import epochs
import growth
import growth_stores
from growth_parts import PARTS, Point
from helpers.tidying import MadeUp

POINTS = [Point("compare", size, size**1.5, 1.0, 300.0) for size in (10, 100, 1000)]
POINTS += [Point("tidy", 10, 1.0), Point("tidy", 100, 10.0)]


def test_exponent_is_of_the_two_largest_sizes() -> None:
    assert growth.find_exponent(POINTS[:3], "seconds") == pytest.approx(1.5)
    assert growth.find_exponent(POINTS[:3], "peak") == 0
    assert math.isnan(growth.find_exponent(POINTS[:1], "seconds"))
    assert math.isnan(growth.find_exponent(POINTS[3:], "peak"))


def test_page_is_drawn_from_the_parts_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epochs, "OUT", tmp_path)
    monkeypatch.setattr(growth, "PICTURE", tmp_path / "growth.png")
    monkeypatch.setattr(growth, "DOCS", tmp_path / "docs.md")
    growth.DOCS.write_text("before\n\n{}\nold\n{}\n\nafter\n".format(*growth.MARKS))
    growth.make_page()
    assert not (tmp_path / "growth.md").exists()
    growth.find_file("runs").write_text(growth.json.dumps([growth.asdict(point) for point in POINTS]))
    growth.make_page(is_documented=True)
    lines = (tmp_path / "growth.md").read_text().splitlines()
    assert lines[0].startswith(f"| {PARTS['runs'].name} | 10, s | 100, s | 1,000, s | exponent | ")
    assert lines[2].endswith("| 1.50 | 0.00 | 300 | 0.00 |")
    assert lines[3] == "| tidy | 1.00 | 10.0 |  | 1.00 |  |  |  |"
    assert (tmp_path / "growth.png").stat().st_size > 5000
    documented = growth.DOCS.read_text().splitlines()
    assert (documented[0], documented[-1]) == ("before", "after")
    assert "old" not in documented
    assert set(lines) < set(documented)


def test_copies_of_runs_name_themselves_alone(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = MadeUp(tmp_path / "snapshots")
    training, model, _ = made.registered(0.5)
    made.evaluation(training, model)
    broken = made.training(0.6, {"stop_reason": "interrupted"}, "KILLED")
    made.folder(broken)
    monkeypatch.setattr(growth_stores, "UNFINISHED", 3)
    own = growth_stores.Store(tmp_path, tmp_path / "home")
    own.path = Path(store.removeprefix("sqlite:///"))
    own.fill(13)
    client = mlflow.MlflowClient()
    versions = client.search_model_versions("name = 'diabetes'")
    runs = client.search_runs(["0"], max_results=100)
    assert len({run.info.run_id for run in runs}) == len(runs) == 12
    assert len(versions) == len({version.run_id for version in versions}) == 5
    for version in versions:
        run = client.get_run(version.run_id)
        assert run.data.tags["registered_version"] == str(version.version)
        assert run.info.run_id in run.info.artifact_uri
        assert client.get_logged_model(version.source.removeprefix("models:/")).source_run_id == run.info.run_id
    evaluated = [run.data.tags["training_run_id"] for run in runs if run.data.tags["verb"] == "evaluate"]
    assert sorted(evaluated) == sorted(version.run_id for version in versions)
    assert [run.info.status for run in runs].count("KILLED") == 2
    assert len(list((tmp_path / "snapshots").iterdir())) == 2
