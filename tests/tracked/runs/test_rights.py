"""What is asked of a server before the work, and how a refusal is told; the answers are made up."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import mlflow
import pytest
import requests

from tracked.console.errors import UserError
from tracked.runs import connection, credentials, rights

API = "/api/2.0/mlflow"
Answer = Callable[[str, str, dict[str, Any]], tuple[int, Any]]


class Server:
    """A server that answers as ``answer`` says; ``seen`` lists method, path and body of each request."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, Any]]] = []
        self.refused: dict[str, int] = {}  # a path's end -> status
        self.knows_names = True  # tells that a registered model does not exist
        self.location = "mlflow-artifacts:/7"
        self.uri, self.stage = "", "active"

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        self.seen.append((method, path, body))
        if self.knows_names and path.startswith(f"{API}/registered-models/get?name=no-"):
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "there is none"}
        for end, status in self.refused.items():
            if urlsplit(path).path.endswith(end):
                return status, "Permission denied"
        if path.startswith((f"{API}/experiments/get?", f"{API}/experiments/get-by-name?")):
            found = {"experiment_id": "7", "name": "ours", "artifact_location": self.location}
            return 200, {"experiment": {**found, "lifecycle_stage": self.stage}}
        if path.startswith(f"{API}/registered-models/get?"):
            return 200, {"registered_model": {"name": "model"}}
        return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "a field is missing"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    made = Server()

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content = made.answer(self.command, self.path, json.loads(body or b"{}"))
            text = (content if isinstance(content, str) else json.dumps(content)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = _handle

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
        made.uri = f"http://127.0.0.1:{listening.server_port}"
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("HOME", "/nowhere")
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "bob")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret of bob")
        mlflow.set_tracking_uri(made.uri)
        yield made
        mlflow.set_tracking_uri(None)
        listening.shutdown()


def test_requests_that_ask_lack_what_the_server_requires(server: Server) -> None:
    place = rights.require_run()
    rights.require_new_version("model", place, "candidate")
    posts = {path.rpartition("/mlflow")[2]: body for method, path, body in server.seen if method == "POST"}
    assert posts == {
        "/runs/create": {"experiment_id": "7", "start_time": "never"},
        f"-artifacts/mpu/create/7/{'0' * 32}/artifacts": {},
        "/logged-models": {"experiment_id": "7", "tags": 0},
        "/model-versions/create": {"name": "model"},
        "/registered-models/alias": {"name": "model", "alias": "candidate"},
    }
    assert {method for method, _, _ in server.seen} == {"GET", "POST"}
    assert place == rights.Place("7", "ours")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/runs/create", "MLFLOW_EXPERIMENT_NAME: user 'bob' may not begin a run in experiment 'ours' (403); allowed: "
         "an experiment with EDIT for this user, or a new name"),
        ("/artifacts", "MLFLOW_EXPERIMENT_NAME: user 'bob' may not begin a run in experiment 'ours' (403); allowed: "
         "an experiment with EDIT for this user, or a new name"),
        ("/logged-models", "MLFLOW_EXPERIMENT_NAME: user 'bob' may not store a model in experiment 'ours' (403); "
         "allowed: an experiment with EDIT for this user"),
        ("/registered-models/get", "model_name: user 'bob' may not read 'model' (403), which is another's; allowed: "
         "another name, or EDIT for this user"),
        ("/model-versions/create", "model_name: user 'bob' may not add a version to 'model' (403), which is another's; "
         "allowed: another name, or EDIT for this user"),
        ("/registered-models/alias", "model_name: user 'bob' may not move the alias candidate of 'model' (403); "
         "allowed: EDIT for this user, which its owner or an administrator gives"),
    ],
)  # fmt: skip
def test_each_missing_right_has_a_line_of_its_own(server: Server, path: str, line: str) -> None:
    server.refused[path] = 403
    with pytest.raises(UserError) as error:
        rights.require_new_version("model", rights.require_run(), "candidate")
    assert str(error.value) == line


def test_new_name_asks_for_the_right_to_make_one(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "new")
    server.refused |= {"/registered-models/get": 404, "/experiments/get-by-name": 404}
    place = rights.require_run()
    assert place == rights.Place(None, "new")
    rights.require_new_version("new", place, "candidate")
    assert not [path for _, path, _ in server.seen if path.endswith(("/logged-models", "/runs/create"))]
    server.refused["/registered-models/create"] = 403
    with pytest.raises(UserError, match=r"^model_name: user 'bob' may not make the registered model 'new' \(403\)"):
        rights.require_new_version("new", place, "candidate")
    server.refused["/experiments/create"] = 403
    with pytest.raises(UserError, match=r"^MLFLOW_EXPERIMENT_NAME: user 'bob' may not make experiment 'new' \(403\)"):
        rights.require_run()


def test_server_that_does_not_tell_whether_a_name_is_free_refuses_nothing(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.knows_names = False
    server.refused["/registered-models/get"] = 403
    rights.require_new_version("new", rights.require_run(), "candidate")
    assert "model_name: the server does not tell user 'bob' whether 'new' is free (403)" in capsys.readouterr().err


def test_experiment_that_may_not_be_read_or_is_deleted_is_refused(server: Server) -> None:
    server.refused["/experiments/get"] = 403
    with pytest.raises(UserError, match=r"^MLFLOW_EXPERIMENT_NAME: user 'bob' may not read experiment '0' \(403\)"):
        rights.require_run()
    server.refused.clear()
    server.stage = "deleted"
    with pytest.raises(UserError, match=r"^MLFLOW_EXPERIMENT_NAME: no run can begin in experiment 'ours', which"):
        rights.require_run()


def test_artifacts_that_go_past_the_server_are_not_asked_for(server: Server) -> None:
    server.location = "s3://bucket/7"
    server.refused["/artifacts"] = 403
    assert rights.require_run().id == "7"


def test_database_has_no_rights(store: str) -> None:
    rights.require_new_version("any", rights.require_run(), "candidate")
    rights.require_alias("any", "champion")


def test_other_answers_refuse_nothing(server: Server) -> None:
    """Of a server that does not know a path, or checks fields first."""
    server.refused |= {"/runs/create": 404, "/artifacts": 501, "/logged-models": 405, "/model-versions/create": 500}
    rights.require_new_version("model", rights.require_run(), "candidate")


def test_server_that_ends_while_it_is_asked_is_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"^MLFLOW_TRACKING_URI: 'http://127.0.0.1:9' does not answer"):
        connection.ask("http://127.0.0.1:9", "POST", f"{API}/runs/create", {})


def make_token(expiry: float) -> str:
    body = base64.urlsafe_b64encode(json.dumps({"sub": "bob", "exp": expiry}).encode()).decode().rstrip("=")
    return f"head.{body}.signature"


@pytest.mark.parametrize(
    ("settings", "begin"),
    [
        ({}, "MLFLOW_TRACKING_USERNAME: "),
        ({"USERNAME": "bob", "PASSWORD": "x"}, "MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD: "),
        ({"TOKEN": "opaque"}, "MLFLOW_TRACKING_TOKEN: "),
    ],
)
def test_unknown_user_is_told_the_setting_to_change(
    server: Server, settings: dict[str, str], begin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    server.refused["/experiments/search"] = 401
    with pytest.raises(UserError) as error:
        connection.require_answers()
    assert str(error.value).startswith(begin)
    assert "(401)" in str(error.value)
    assert "opaque" not in str(error.value)


def test_user_in_the_address_is_named_and_its_password_is_not(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    mlflow.set_tracking_uri(server.uri.replace("http://", "http://ann:the-password-of-ann@"))
    server.refused["/experiments/search"] = 401
    with pytest.raises(UserError, match=r"^MLFLOW_TRACKING_URI: 'http://ann:\*\*\*@\S+' knows no user 'ann'"):
        connection.require_answers()


def test_expired_token_is_told_with_its_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", make_token(1_700_000_000))
    assert "which expired at 2023-11-14 22:13 UTC" in credentials.explain_unknown(server.uri)
    for token in (make_token(time.time() + 1000), "a.b.c", "a", make_token(1e300), "a.bnVsbA.c"):
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", token)
        assert "which is wrong or has expired" in credentials.explain_unknown(server.uri)


def test_server_that_refuses_a_known_user_is_told(server: Server) -> None:
    server.refused["/experiments/search"] = 403
    with pytest.raises(UserError, match=r"^MLFLOW_TRACKING_URI: '.*' refuses user 'bob' \(403\)"):
        connection.require_answers()


@pytest.mark.parametrize(("status", "denied", "permanent"), [(401, True, True), (403, True, True), (413, False, True),
                                                             (500, False, False), (503, False, False)])  # fmt: skip
def test_refusal_of_a_file_is_read_from_its_status(status: int, denied: bool, permanent: bool) -> None:
    answer = requests.Response()
    answer.status_code = status
    error = requests.HTTPError("refused", response=answer)
    assert (credentials.is_denied(error), connection.is_permanent_error(error)) == (denied, permanent)
    assert not credentials.is_denied(requests.HTTPError("without an answer"))
    assert not credentials.is_denied(None)
