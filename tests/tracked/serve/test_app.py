"""All paths of an endpoint: what they answer, under which headers, and each refusal as JSON without input."""

import asyncio
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.routing import Mount

from helpers.adding import SECRET, Adder
from helpers.endpoints import Answer, Endpoint, serve
from helpers.made_registry import MadeRegistry
from tracked.console.errors import UserError
from tracked.serve.app import create_app
from tracked.serve.pages import STATIC
from tracked.serve.statuses import STATUSES

ROWS = [[1, 2], [2.5, -10]]
OUTPUT = {"predictions": [[3.0], [-7.5]]}
ANSWERS = {"predictions": [{"sum": 3.0, "sign": "plus"}, {"sum": -7.5, "sign": "minus"}]}
TOKEN = "0123456789abcdef"
PREFIX, BODY = "/models/adder", json.dumps({"pairs": ROWS}).encode()
SAFE = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-store"}
LIMITS = {"max_rows": 3, "max_length": 50, "max_body": 2000}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with serve(tmp_path_factory.mktemp("endpoint"), **LIMITS) as endpoint:
        yield endpoint


def read_metrics(endpoint: Endpoint) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = endpoint.ask("/metrics").body.decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize(
    "rows", [ROWS, [{"left": 1, "right": 2}, {"right": -10, "left": 2.5}], [["1", "2"], ["2.5", "-1e1"]]]
)
def test_plain_form_is_answered_with_the_experiments_columns(endpoint: Endpoint, rows: Any) -> None:
    answer = endpoint.ask("/predict", {"pairs": rows})
    assert (answer.status, answer.json) == (200, ANSWERS)
    assert (answer.headers["content-type"], answer.headers["model-version"]) == ("application/json", "adder/1")
    assert int(answer.headers["content-length"]) == len(answer.body)


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["right", "left"], "data": [[2, 1], [-10, 2.5]]}},
        {"dataframe_split": {"columns": ["left", "right"], "index": [0, 1], "data": ROWS}, "params": {}},
        {"dataframe_records": [{"left": 1, "right": 2}, {"right": -10, "left": 2.5}]},
        {"instances": ROWS},
        {"instances": [{"left": 1, "right": 2}, {"right": -10, "left": 2.5}]},
        {"inputs": ROWS},
        {"inputs": {"left": [1, 2.5], "right": [2, -10]}},
    ],
)
def test_each_of_mlflows_forms_is_answered_with_the_models_output(endpoint: Endpoint, body: Any) -> None:
    answer = endpoint.ask("/invocations", body)
    assert (answer.status, answer.json, answer.headers["model-version"]) == (200, OUTPUT, "adder/1")


@pytest.mark.parametrize("content_type", ["text/csv", "text/csv; charset=utf-8", 'TEXT/CSV;charset="UTF-8"'])
def test_csv_is_answered_with_the_models_output(endpoint: Endpoint, content_type: str) -> None:
    body = b"right,left\r\n2,1\r\n-10,2.5\r\n"
    answer = endpoint.ask("/invocations", body, headers={"content-type": content_type})
    assert (answer.status, answer.json) == (200, OUTPUT)


def test_packed_body_is_unpacked(endpoint: Endpoint) -> None:
    packed = gzip.compress(json.dumps({"pairs": ROWS}).encode())
    answer = endpoint.ask("/predict", packed, headers={"content-encoding": "gzip"})
    assert (answer.status, answer.json) == (200, ANSWERS)


def test_one_row_is_explained(endpoint: Endpoint, tmp_path: Path) -> None:
    answer = endpoint.ask("/explain", {"pairs": [[3, -4]]})
    assert answer.status == 200
    assert answer.json == {
        "prediction": {"sum": -1.0, "sign": "minus"},
        "pieces": [],
        "parts": [{"name": "left", "effect": 3.0, "note": ""}],
        "note": "an effect is a number",
    }
    two = endpoint.ask("/explain", {"pairs": ROWS})
    assert (two.status, two.message) == (422, "pairs: exactly one can be explained at a time")


def test_model_that_cannot_be_explained_says_so(tmp_path: Path) -> None:
    with serve(tmp_path, versions={"1": {"explains": False}}) as endpoint:
        answer = endpoint.ask("/explain", {"pairs": [[3, -4]]})
        assert (answer.status, answer.message) == (404, "answers of this model cannot be explained")


def test_version_tells_which_model_answers(endpoint: Endpoint) -> None:
    answer = endpoint.ask("/version")
    expected = {"model": "adder", "version": "1", "uri": "models:/adder/1", "digest": "digest of 1"}
    expected |= {"data_digest": "data", "run_id": "run", "experiment": "adder"}
    assert {name: value for name, value in answer.json.items() if name != "software"} == expected


def test_health_and_readiness_are_told(endpoint: Endpoint) -> None:
    found = {path: endpoint.ask(path) for path in ("/health", "/ping", "/ready")}
    assert {path: answer.body for path, answer in found.items()} == {
        "/health": b"alive",
        "/ping": b"alive",
        "/ready": b"ready",
    }


def test_pages_and_description_are_those_of_the_model(endpoint: Endpoint) -> None:
    described = endpoint.ask("/openapi.json").json
    assert set(described["paths"]) >= {"/predict", "/invocations", "/explain", "/version"}
    address = f"http://127.0.0.1:{endpoint.port}"
    for path in ("/", "/docs"):
        answer = endpoint.ask(path)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "pairs" in answer.body.decode()
    assert address in endpoint.ask("/docs").body.decode()
    for path, kind in {"/page.js": "text/javascript", "/page.css": "text/css"}.items():
        answer = endpoint.ask(path)
        assert answer.headers["content-type"].startswith(kind)
        assert answer.body.decode() == (STATIC / path[1:]).read_text()


@pytest.mark.parametrize(
    "path",
    ["/health", "/ping", "/ready", "/version", "/metrics", "/docs", "/openapi.json", "/", "/page.js", "/nowhere"],
)
def test_all_answers_have_the_headers_that_keep_browsers_safe(endpoint: Endpoint, path: str) -> None:
    for answer in (endpoint.ask(path), endpoint.ask(path, b"x")):
        assert {name: answer.headers[name] for name in SAFE} == SAFE
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers


REFUSALS: dict[str, tuple[int, str, Any, dict[str, str]]] = {
    "no body": (400, "/predict", b"", {}),
    "no JSON": (400, "/predict", SECRET.encode(), {}),
    "no UTF-8": (400, "/predict", b"\xff", {}),
    "packed wrongly": (400, "/predict", b"{}", {"content-encoding": "gzip"}),
    "another key": (422, "/predict", {SECRET: [[1, 2]]}, {}),
    "no rows": (422, "/predict", {"pairs": []}, {}),
    "too many rows": (422, "/predict", {"pairs": [[1, 2]] * 4}, {}),
    "too long a value": (422, "/predict", {"pairs": [[SECRET * 2, 2]]}, {}),
    "another column": (422, "/predict", {"pairs": [{"left": 1, "right": 2, SECRET: 3}]}, {}),
    "a column less": (422, "/predict", {"pairs": [{"left": 1}]}, {}),
    "a null": (422, "/predict", {"pairs": [[1, None]]}, {}),
    "a text": (422, "/predict", {"pairs": [[1, SECRET]]}, {}),
    "a list": (422, "/predict", {"pairs": [[1, [SECRET]]]}, {}),
    "a fault": (500, "/predict", {"pairs": [["raise", 1]]}, {}),
    "output that is no number": (500, "/invocations", {"inputs": [["nan", 1]]}, {}),
    "no form": (422, "/invocations", {"pairs": [[1, 2]]}, {}),
    "two forms": (422, "/invocations", {"inputs": [[1, 2]], "instances": [[1, 2]]}, {}),
    "parameters": (422, "/invocations", {"inputs": [[1, 2]], "params": {"a": 1}}, {}),
    "CSV of other columns": (422, "/invocations", b"left,up\n1,2", {"content-type": "text/csv"}),
    "ragged CSV": (400, "/invocations", b"left,right\n1", {"content-type": "text/csv"}),
    "CSV for the plain form": (415, "/predict", b"left,right\n1,2", {"content-type": "text/csv"}),
    "another type": (415, "/predict", {"pairs": [[1, 2]]}, {"content-type": "text/plain"}),
    "another encoding": (415, "/predict", {"pairs": [[1, 2]]}, {"content-encoding": "br"}),
    "too large": (413, "/predict", b" " * 2001, {}),
    "too large once unpacked": (413, "/predict", gzip.compress(b" " * 2001), {"content-encoding": "gzip"}),
    "another path": (404, "/predict/all", {"pairs": [[1, 2]]}, {}),
    "another method": (405, "/version", {"pairs": [[1, 2]]}, {}),
    "another host": (403, "/predict", {"pairs": [[1, 2]]}, {"host": "example.com"}),
    "another origin": (403, "/predict", {"pairs": [[1, 2]]}, {"origin": "http://example.com"}),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal_is_one_sentence_in_json_without_input(endpoint: Endpoint, name: str) -> None:
    status, path, body, headers = REFUSALS[name]
    assert_refused(endpoint.ask(path, body, headers=headers), status)


def assert_refused(answer: Answer, status: int) -> None:
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert answer.json["error_code"] == STATUSES[status].code
    assert SECRET not in answer.body.decode()
    assert "\n" not in answer.message
    assert "model-version" not in answer.headers


def test_what_is_asked_is_counted(endpoint: Endpoint) -> None:
    before = read_metrics(endpoint)
    endpoint.ask("/predict", {"pairs": ROWS})
    endpoint.ask("/predict", {"pairs": [["x", 1]]})
    endpoint.ask("/invocations", {"inputs": ROWS})
    endpoint.ask(f"/{'x' * 100}")
    after = read_metrics(endpoint)
    grown = {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}
    requests = {key[1]: value for key, value in grown.items() if key[0] == "serve_requests_total"}
    assert requests == {
        (("path", "/predict"), ("status", "200")): 1,
        (("path", "/predict"), ("status", "422")): 1,
        (("path", "/invocations"), ("status", "200")): 1,
        (("path", "other"), ("status", "404")): 1,
        (("path", "/metrics"), ("status", "200")): 1,
    }
    assert grown["serve_rows_total", ()] == 4
    assert grown["serve_batch_rows_count", ()] == 3
    assert grown["serve_batch_rows_sum", ()] == 5
    assert grown["serve_request_seconds_count", (("path", "/predict"),)] == 2
    assert after["serve_waiting_rows", ()] == 0
    assert (after["serve_scorers", ()], after["serve_ready", ()]) == (1, 1)
    assert after["serve_model_info", (("digest", "digest of 1"), ("model", "adder"), ("version", "1"))] == 1
    assert any(name == "process_resident_memory_bytes" for name, _ in after)


def test_token_is_needed_for_what_answers_and_counts(tmp_path: Path) -> None:
    with serve(tmp_path, token=TOKEN) as endpoint:
        right = {"authorization": f"Bearer {TOKEN}"}
        bodies: dict[str, Any] = {"/predict": {"pairs": ROWS}, "/invocations": {"inputs": ROWS}}
        bodies |= {"/explain": {"pairs": ROWS[:1]}, "/metrics": None}
        for path, body in bodies.items():
            for headers in ({}, {"authorization": "Bearer wrong"}):
                answer = endpoint.ask(path, body, headers=headers)
                assert_refused(answer, 401)
                assert answer.headers["www-authenticate"] == "Bearer"
            assert endpoint.ask(path, body, headers=right).status == 200
        for path in ("/health", "/ping", "/ready", "/version", "/docs", "/openapi.json", "/", "/page.js"):
            assert endpoint.ask(path).status == 200
        assert TOKEN not in "".join(endpoint.ask(path).body.decode() for path in ("/", "/docs", "/openapi.json"))


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeRegistry:
    made = MadeRegistry(Adder(tmp_path))
    made.install(monkeypatch)
    monkeypatch.setenv("SERVE_TOKEN", TOKEN)
    return made


async def ask_app(app: Any, path: str, root: str, body: bytes = b"") -> int:
    """The status of an application's answer, as any ASGI server asks it."""
    sent = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST" if body else "GET", "path": PREFIX + path, "root_path": root,
             "headers": headers, "query_string": b"", "scheme": "http", "server": ("127.0.0.1", 80)}  # fmt: skip
    await app(scope, receive, send)
    return int(sent[0]["status"])


@pytest.mark.parametrize("way", ["mounted", "with a root"])
def test_application_under_a_prefix_of_another_server_keeps_its_token(made: MadeRegistry, way: str) -> None:
    """A prefix is in a request's path, and not in that of the route which answers."""

    async def ask() -> dict[str, int]:
        app = create_app(made.owner, workers=1, reload=0)
        outer, root = (Starlette(routes=[Mount(PREFIX, app)]), "") if way == "mounted" else (app, PREFIX)
        async with app._app.lifespan_context(app):  # type: ignore[attr-defined]
            return {path: await ask_app(outer, path, root, BODY if path == "/predict" else b"") for path in expected}

    expected = {
        "/version": 200,
        "/metrics": 401,
        "/predict": 401,
        "/predict\n": 404,
        "/health": 200,
        "/page.js": 200,
        "/nowhere": 404,
    }
    assert asyncio.run(ask()) == expected


def test_application_for_another_server_checks_its_parameters(made: MadeRegistry) -> None:
    with pytest.raises(UserError, match="workers: '0' is not allowed"):
        create_app(made.owner, workers=0)
