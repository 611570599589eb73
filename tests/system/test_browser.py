"""The UI in Chromium: a real server with two trainings, an evaluation and a comparison."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from playwright.sync_api import Browser, Page, expect

from helpers import SRC, warm
from helpers.chromium import started_browser
from helpers.recording import record
from helpers.reviews import TINY, make_reviews
from helpers.servers import mlflow_server
from helpers.trials import AXES, make_trials
from helpers.verbs import compare
from tracked.console.signals import Signals
from tracked.reports.search_page import Confirmation, render_search

pytestmark = [pytest.mark.slow, pytest.mark.needs("Chromium")]

# Without these, the first visit opens an assistant's panel over the page.
NO_ASSISTANT = """
localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');
localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');
"""
VERSION = "/models/imdb-conv1d/versions/1"


@dataclass(frozen=True)
class Server:
    """A server with a training, an evaluation of its model, another training and a comparison."""

    uri: str
    trained: Run
    evaluated: Run
    longer: Run
    compared: Run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    reviews = folder / "reviews.csv"
    make_reviews(200).to_csv(reviews, index=False)
    with mlflow_server(folder) as uri:
        data = (f"--data={reviews}", "--epochs=5", *TINY)
        run_script(folder, uri, "train.py", "--patience=1", *data)
        run_script(folder, uri, "evaluate.py")
        run_script(folder, uri, "train.py", "--patience=2", "--seed=8", "--model_name=other", *data)
        run_script(folder, uri, "compare.py")
        compared, longer, evaluated, trained = MlflowClient(uri, uri).search_runs(["0"])
        yield Server(uri, trained, evaluated, longer, compared)


def run_script(folder: Path, uri: str, script: str, *arguments: str) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    done = subprocess.run(
        [warm.python(), str(SRC / script), *arguments],
        cwd=folder,
        env=clean | {"MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("View run") == 1, done.stdout  # MLflow prints the run's address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started_browser() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    # As high as all charts: MLflow draws only those in view.
    context = browser.new_context(viewport={"width": 1500, "height": 2600}, base_url=server.uri)
    context.add_init_script(NO_ASSISTANT)
    yield context.new_page()
    context.close()


def open_run(page: Page, run: Run, tab: str = "") -> None:
    page.goto(f"/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}{tab}")
    expect(page.get_by_role("heading", name=run.info.run_name)).to_be_visible()


def cells(page: Page, first: str) -> list[str]:
    """Read the texts of the table row that begins with ``first``."""
    row = page.get_by_role("row", name=re.compile(f"^{re.escape(first)} "))
    expect(row).to_be_visible()
    return re.split(r"\s*[\t\n]\s*", row.inner_text().strip())


def test_runs_table_in_the_ui_lists_runs_by_name(server: Server, page: Page) -> None:
    page.goto("/#/experiments/0/runs?workflowType=machine_learning")
    expect(page.get_by_text("4 matching runs")).to_be_visible()
    for run in (server.trained, server.evaluated, server.longer, server.compared):
        expect(page.get_by_role("link", name=run.info.run_name, exact=True)).to_be_visible()


def test_charts_of_several_runs_are_curves_of_epochs_and_bars_of_figures(server: Server, page: Page) -> None:
    only = quote('tags.verb = "train"')
    page.goto(f"/#/experiments/0/runs?workflowType=machine_learning&compareRunsMode=CHART&searchFilter={only}")
    expect(page.get_by_text("2 matching runs")).to_be_visible()
    cards = page.get_by_test_id("experiment-view-compare-runs-card")
    val_loss = cards.filter(has=page.get_by_text("val_loss", exact=True))
    points = sum(run.data.metrics["stopped_epoch"] for run in (server.trained, server.longer))
    expect(val_loss.locator(".scatterlayer .point")).to_have_count(int(points))
    for name in ("stopped_epoch", "best_epoch", "best_val_loss"):
        figure = cards.filter(has=page.get_by_text(name, exact=True))
        expect(figure.locator(".barlayer .point")).to_have_count(2)


def test_compare_page_has_differing_parameters_on_its_axes(server: Server, page: Page) -> None:
    ids = json.dumps([server.trained.info.run_id, server.longer.info.run_id])
    page.goto(f"/#/compare-runs?runs={quote(ids)}&experiments={quote(json.dumps(['0']))}")
    for run in (server.trained, server.longer):
        expect(page.get_by_text(run.info.run_name, exact=True).first).to_be_visible()
    axes = page.locator("svg .parcoords .axis-title")
    expect(axes).to_have_text(["model_name", "patience", "seed", "accuracy"])
    assert cells(page, "patience") == ["patience", "1", "2"]


def test_comparison_page_without_network_shows_values(server: Server, browser: Browser, tmp_path: Path) -> None:
    client = MlflowClient(server.uri, server.uri)
    file = client.download_artifacts(server.compared.info.run_id, "comparison.html", str(tmp_path))
    context = browser.new_context(viewport={"width": 1300, "height": 1000}, offline=True)
    tab, requests, errors = context.new_page(), [], []
    tab.on("request", lambda request: requests.append(request.url))
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.goto(Path(file).as_uri())
    for run in (server.trained, server.longer):
        expect(tab.get_by_role("cell", name=run.info.run_name, exact=True).first).to_be_visible()
    last = tab.locator(".scatterlayer .trace").first.locator(".point").last
    last.hover(force=True)
    expect(tab.locator(".hoverlayer text").first).to_contain_text("epoch")
    assert requests == [Path(file).as_uri()]
    assert errors == []
    context.close()


def record_evaluated(seed: int, rate: float, folder: Path) -> str:
    """Record a finished training and an evaluation of its model, as the verbs do; returns the training's id."""
    name = f"patience=30 seed={seed} learning_rate={rate:g} data=/data/collected/2026/reviews-of-three-shops.csv.gz"
    parameters = {"monitor": "val_loss", "mode": "min", "patience": 30, "seed": seed, "learning_rate": rate}
    tags = {"verb": "train", "stop_reason": "patience", "data_digest": "ab" * 32, "registered_version": str(seed)}
    values = [0.6912 - epoch / 50 + seed / 100 for epoch in range(12)]
    training = record(values, parameters, tags, name=name, milliseconds=90_000)
    tags = {"verb": "evaluate", "training_run_id": training, "rows_digest": "d", "evaluation_format": "3"}
    evaluation = record([], tags=tags)
    client, rows = MlflowClient(), range(200)
    losses = [(row * seed % 17) / 10 for row in rows]
    table = pd.DataFrame({"id": [f"{row:04}" for row in rows], "loss": losses, "seen": [row < seed for row in rows]})
    table = table.assign(key=table["id"], correct=table["loss"] < 0.7)
    table.to_parquet(folder / "predictions.parquet")
    client.log_artifact(evaluation, str(folder / "predictions.parquet"))
    metrics = {"test_loss": table["loss"].mean(), "test_accuracy": table["correct"].mean(), "test_reviews_seen": seed}
    for key, value in metrics.items():
        client.log_metric(evaluation, key, value)
    return training


# Texts of cells that reach out of the viewport, and elements that scroll sideways.
OVERFLOW = """() => {
  const width = document.documentElement.clientWidth;
  const isOutside = box => box.left < 0 || box.right > width + 0.5;
  const outside = [...document.querySelectorAll('th, td')].filter(cell => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    return isOutside(cell.getBoundingClientRect()) || isOutside(range.getBoundingClientRect());
  });
  const scrolling = [document.documentElement, ...document.querySelectorAll('body, body *')].filter(element =>
    element.scrollWidth > element.clientWidth && (element === document.documentElement ||
    ['auto', 'scroll'].includes(getComputedStyle(element).overflowX)));
  return [...outside.map(cell => cell.innerText), ...scrolling.map(element => element.tagName)];
}"""


def test_comparison_page_of_six_trainings_fits_the_viewport(store: str, browser: Browser, tmp_path: Path) -> None:
    """At each width: no table cell lies outside of the viewport, and nothing scrolls sideways."""
    for seed in range(1, 7):
        record_evaluated(seed, 0.001 / seed, tmp_path)
    compare.main([], Signals())
    (run,) = MlflowClient().search_runs(["0"], "tags.verb = 'compare'")
    file = MlflowClient().download_artifacts(run.info.run_id, "comparison.html", str(tmp_path))
    context = browser.new_context(viewport={"width": 1200, "height": 1000}, offline=True)
    page = context.new_page()
    page.goto(Path(file).as_uri())
    expect(page.locator("table").first.locator("tbody tr")).to_have_count(6)
    head = page.locator("table").first.locator("th").all_inner_texts()
    assert {"seed", "learning_rate", "version", "run_id"} <= set(head)
    for width in (1200, 1600, 900, 600, 400):
        page.set_viewport_size({"width": width, "height": 1000})
        page.reload()
        assert (width, page.evaluate(OVERFLOW)) == (width, [])
    context.close()


def test_search_page_without_network_fits_the_viewport_and_tells_the_trials(browser: Browser, tmp_path: Path) -> None:
    trials = make_trials(30)
    file = tmp_path / "search.html"
    confirmations = [Confirmation("trial 3", [7, 8], [0.29, 0.28], 0.285)]
    file.write_text(render_search("A search", trials, AXES, "val_loss", "min", confirmations, "Trial 3 is better."))
    context = browser.new_context(viewport={"width": 1200, "height": 1000}, offline=True)
    page, requests, errors = context.new_page(), [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(file.as_uri())
    expect(page.locator("table").last.locator("tbody tr")).to_have_count(30)
    history, curves, coordinates, importance = page.locator(".plotly-graph-div").all()
    expect(history.locator(".scatterlayer .point")).to_have_count(30)
    expect(importance.locator(".barlayer .point")).to_have_count(len(AXES))
    best = min((one for one in trials if one.status == "finished"), key=lambda one: one.best or 0)
    told = [f"trial {best.number}", f"val_loss {best.best:.4f}", f"schedule: {best.values['schedule']}"]
    place = [one.number for one in trials if one.status == "finished"].index(best.number)
    points = history.locator(".scatterlayer .trace").nth(1).locator(".point")
    for figure, point in (
        (history, points.nth(place)),
        (curves, curves.locator(".scatterlayer .trace .point").last),
        (coordinates, coordinates.locator(".scatterlayer .trace").last.locator(".point").last),
    ):
        point.scroll_into_view_if_needed()
        point.hover(force=True)
        words = figure.locator(".hoverlayer .hovertext").first
        expect(words).to_contain_text("trial ")
        if figure is not curves:
            for text in told:
                expect(words).to_contain_text(text)
    assert requests == [file.as_uri()]
    assert errors == []
    for width in (1200, 1600, 800, 400):
        page.set_viewport_size({"width": width, "height": 1000})
        page.reload()
        assert (width, page.evaluate(OVERFLOW)) == (width, [])
    context.close()


def test_run_page_shows_metrics_stop_reason_and_version(server: Server, page: Page) -> None:
    open_run(page, server.trained)
    recorded = server.trained.data
    for metric in ("best_epoch", "best_val_loss", "val_loss", "stopped_epoch"):
        name, value, *_ = cells(page, metric)
        assert (name, float(value)) == (metric, recorded.metrics[metric])
    expect(page.get_by_text(f"stop_reason: {recorded.tags['stop_reason']}")).to_be_visible()
    version = page.locator(f'a[href="#{VERSION}"]').first
    expect(version).to_be_visible()
    assert version.inner_text().split() == ["imdb-conv1d", "v1"]


def test_model_metrics_page_draws_every_metric(server: Server, page: Page) -> None:
    open_run(page, server.trained, "/model-metrics")
    cards = page.get_by_test_id("experiment-view-compare-runs-card")
    expect(cards.filter(has=page.locator("svg.main-svg"))).to_have_count(len(server.trained.data.metrics))
    expect(page.get_by_text("val_loss", exact=True)).to_be_visible()
    val_loss = cards.filter(has=page.get_by_text("val_loss", exact=True))
    expect(val_loss.locator(".scatterlayer .point")).to_have_count(int(server.trained.data.metrics["stopped_epoch"]))


def test_version_page_shows_alias_and_links_the_evaluation(server: Server, page: Page) -> None:
    page.goto(f"/#{VERSION}")
    expect(page.get_by_role("heading", name="Version 1")).to_be_visible()
    expect(page.get_by_text("@ candidate")).to_be_visible()
    expect(page.get_by_text("Best epoch")).to_be_visible()
    assert page.get_by_text("Nothing is registered").count() == 0

    value = server.evaluated.data.metrics["test_accuracy"]
    expect(page.get_by_text(f"test_accuracy {value:.4f}")).to_be_visible()
    assert cells(page, "test_accuracy")[:2] == ["test_accuracy", str(value)]  # a tag: this page shows no metrics

    page.get_by_test_id("source-model-link").click()  # the logged model's page shows them
    name, *_, source, shown = cells(page, "test_accuracy")
    assert (name, source) == ("test_accuracy", server.evaluated.info.run_name)
    assert float(shown) == value
