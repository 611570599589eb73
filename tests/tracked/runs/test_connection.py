import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from helpers.verbs import train
from tracked.console.errors import UserError
from tracked.console.signals import Signals
from tracked.runs import connection


@contextmanager
def server(answer: bytes, status: int = 200) -> Iterator[tuple[str, list[str]]]:
    """A server that gives one answer to everything; its URI, and what it was asked."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(f"{self.path} {self.headers.get('Authorization', '')}".strip())
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}", seen
        finally:
            listening.shutdown()


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.mark.parametrize("version", ["2.22.2", "2.22.0rc0", "1.30.1", "0.9", "2.99.99.dev0\n"])
def test_server_that_cannot_store_a_model_is_refused_in_one_line(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(version.encode()) as (uri, _):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(UserError) as error:
            connection.require_model_store()
    assert str(error.value) == (
        f"MLFLOW_TRACKING_URI: the server {uri!r} is mlflow {version.strip()}, which cannot store a model; "
        "allowed: a server of mlflow 3.0 or newer"
    )


def test_old_registry_beside_a_database_is_refused(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(b"2.22.2") as (uri, _):
        monkeypatch.setenv("MLFLOW_REGISTRY_URI", uri)
        with pytest.raises(UserError, match=r"^MLFLOW_REGISTRY_URI: the server 'http\S+' is mlflow 2\.22\.2, which"):
            connection.require_model_store()


@pytest.mark.parametrize("answer", [b"3.0.0", b"3.4.0", b"3.17.2", b"10.0", b"4.0.0.dev0", b"", b"2", b"2.22 or so",
    b"<html>Sign in</html>", b"\xff\xfe", b"2." + b"2" * 10000])  # fmt: skip
def test_new_server_or_answer_without_a_version_passes(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(answer) as (uri, seen):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        connection.require_model_store()
    assert seen == ["/version"]


def test_refused_or_unanswered_version_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(b"2.22.2", status=404) as (uri, _):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        connection.require_model_store()
    connection.require_model_store()  # it has gone
    for other in ("databricks", "sqlite:///x.db", "postgresql://127.0.0.1:9/x"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", other)
        connection.require_model_store()


def test_version_request_has_mlflows_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "abc")
    with server(b"3.0.0") as (uri, seen):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{uri}/a/prefix")
        connection.require_model_store()
    assert seen[0] == "/a/prefix/version Bearer abc"


def test_version_without_mlflows_private_calls_is_not_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.utils.credentials", None)
    monkeypatch.delattr("mlflow.utils.credentials")
    with server(b"2.22.2") as (uri, seen):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        connection.require_model_store()
    assert seen == []


def test_training_on_an_old_server_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "require_answers", lambda: None)
    with server(b"2.22.2") as (uri, seen):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(UserError, match=r"is mlflow 2\.22\.2, which cannot store a model"):
            train.main([], Signals())
    assert seen == ["/version"]


def test_folder_of_files_is_refused_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an mlflow command of an older version gives it to the script that it starts."""
    for address in (f"file://{tmp_path}/mlruns", str(tmp_path / "mlruns")):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        with pytest.raises(UserError) as error:
            connection.require_answers()
        text = str(error.value)
        assert text.startswith(f"MLFLOW_TRACKING_URI: '{address}' is a folder of files, which this version of MLflow")
        assert "maintenance" not in text
        assert "\n" not in text
