"""Endpoints as users start them: real processes, a store, a registered model, curl."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from diabetes import MEASUREMENTS
from helpers import ROOT, warm
from helpers.endpoints import Answer, Begun, until
from helpers.processes import environment
from helpers.raw_http import RawClient
from helpers.reviews import TINY
from helpers.servers import free_port
from helpers.stores import copied_store

pytestmark = pytest.mark.slow

SCRIPT = ROOT / "examples" / "diabetes" / "diabetes.py"
ROWS = [[round(0.01 * row + 0.001 * column - 0.05, 4) for column in range(10)] for row in range(5)]
RECORDS = [dict(zip(MEASUREMENTS, row, strict=True)) for row in ROWS]
MODEL, ALIAS = "diabetes", "champion"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A store with two versions of the model, and one that brings code."""
    folder = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch, copied_store(empty_store, folder, patch) as uri:
        for seed in (1, 2):
            command = [warm.python(), SCRIPT, "train", "--epochs=2", f"--seed={seed}"]
            done = subprocess.run(
                command, cwd=folder, env=environment(uri, warm.python()), capture_output=True, text=True
            )
            assert done.returncode == 0, done.stdout + done.stderr
        (folder / "own_loader.py").write_text("raise SystemExit('the code of a model ran')\n")
        mlflow.pyfunc.save_model(str(folder / "coded"), loader_module="own_loader", code_paths=["own_loader.py"])
        client = mlflow.MlflowClient()
        client.create_model_version(MODEL, str(folder / "coded"))
        move(client, "1")
    return folder


def uri_of(place: Path) -> str:
    return f"sqlite:///{place}/mlflow.db"


def move(client: mlflow.MlflowClient, version: str) -> None:
    client.set_registered_model_alias(MODEL, ALIAS, version)


@pytest.fixture
def client(place: Path) -> Iterator[mlflow.MlflowClient]:
    """A client whose alias is moved back."""
    client = mlflow.MlflowClient(uri_of(place))
    yield client
    move(client, "1")


class Served:
    """An endpoint's process."""

    def __init__(self, place: Path | str, folder: Path, *words: str, command: Sequence[str] = ()) -> None:
        self.lines: list[str] = []
        env = environment(place if isinstance(place, str) else uri_of(place)) | {"TMPDIR": str(folder)}
        self.folder = folder
        self.process = subprocess.Popen(
            [*(command or [sys.executable, SCRIPT, "serve", "--port=0", "--workers=1", "--reload=0"]), *words],
            cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.port = 0

    def _read(self) -> None:
        assert self.process.stdout
        self.lines.extend(iter(self.process.stdout.readline, ""))

    @property
    def printed(self) -> str:
        return "".join(self.lines)

    def wait_for(self, text: str) -> str:
        """Wait for a line with a text."""

        def find() -> str:
            found = next((line for line in list(self.lines) if text in line), "")
            assert found or self.process.poll() is None, self.printed
            return found

        return str(until(find))

    def begin(self) -> None:
        self.port = int(self.wait_for("listening at http://127.0.0.1:").rpartition(":")[2].split()[0])
        self.wait_for(" answers, on 1 scorer ")

    def send(self, signum: signal.Signals) -> None:
        os.killpg(self.process.pid, signum)  # as a terminal and a container do, to all processes

    def end(self) -> int:
        status = self.process.wait(120)
        self._reader.join(60)
        return status

    def list_children(self) -> dict[int, str]:
        """List its processes, whichever of its threads started them, with their commands."""
        found = {}
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        for number in " ".join(thread.read_text() for thread in threads).split():
            found[int(number)] = Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    @property
    def scorer(self) -> int:
        (found,) = (number for number, command in self.list_children().items() if "spawn_main" in command)
        return found

    def ask(self, path: str, body: Any = None) -> Answer:
        content = b"" if body is None else json.dumps(body).encode()
        words = ["Content-Type: application/json", f"Content-Length: {len(content)}"] if body is not None else []
        head = [f"{'GET' if body is None else 'POST'} {path} HTTP/1.1", "Host: localhost", "Connection: close", *words]
        with RawClient(self.port) as client:
            client.send("\r\n".join([*head, "", ""]).encode() + content)
            answer = client.read_answer()
        return Answer(answer.status, answer.headers, answer.body)


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and ") Z " not in Path(f"/proc/{pid}/stat").read_text()


@contextmanager
def served(place: Path | str, folder: Path, *words: str, command: Sequence[str] = ()) -> Iterator[Served]:
    endpoint = Served(place, folder, *words, command=command)
    try:
        yield endpoint
    finally:
        endpoint.process.kill()
        endpoint.end()


@pytest.fixture(scope="module")
def endpoint(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(place, tmp_path_factory.mktemp("endpoint")) as endpoint:
        endpoint.begin()
        yield endpoint


def predict(place: Path, version: str, rows: Any = ROWS) -> np.ndarray:
    """What MLflow's own interface answers."""
    mlflow.set_tracking_uri(uri_of(place))
    try:
        return np.asarray(mlflow.pyfunc.load_model(f"models:/{MODEL}/{version}").predict(np.array(rows, np.float32)))
    finally:
        mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def expected(place: Path) -> np.ndarray:
    return predict(place, "1")


CSV = "\n".join([",".join(MEASUREMENTS), *(",".join(map(str, row)) for row in ROWS)]) + "\n"
SPLIT = {"columns": list(MEASUREMENTS), "data": ROWS}
FORMS: dict[str, Any] = {
    "dataframe_split": {"dataframe_split": SPLIT},
    "dataframe_split with an index": {"dataframe_split": {"index": [*range(5)], **SPLIT}},
    "dataframe_split in another order": {
        "dataframe_split": {"columns": [*MEASUREMENTS][::-1], "data": [row[::-1] for row in ROWS]}
    },
    "dataframe_records": {"dataframe_records": RECORDS},
    "instances": {"instances": ROWS},
    "instances as records": {"instances": RECORDS},
    "inputs": {"inputs": ROWS},
    "inputs by column": {"inputs": {name: [row[name] for row in RECORDS] for name in MEASUREMENTS}},
    "inputs with parameters": {"inputs": ROWS, "params": {}},
}


@pytest.mark.parametrize("form", FORMS)
def test_mlflows_forms_are_answered_as_its_pyfunc_answers(endpoint: Served, expected: np.ndarray, form: str) -> None:
    """As MLflow's documentation has curl ask."""
    done = curl(endpoint, "-H", "Content-Type: application/json", "-d", json.dumps(FORMS[form]))
    np.testing.assert_allclose(done["predictions"], expected, rtol=1e-5)


def curl(endpoint: Served, *words: str) -> Any:
    command = ["curl", "--silent", "--show-error", "--fail", f"http://127.0.0.1:{endpoint.port}/invocations", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=endpoint.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_csv_is_answered_as_pyfunc_answers(endpoint: Served, expected: np.ndarray) -> None:
    (endpoint.folder / "rows.csv").write_text(CSV)
    for data in ("--data-binary", "--upload-file"):
        given = [data, "@rows.csv"] if data == "--data-binary" else ["-X", "POST", data, "rows.csv"]
        done = curl(endpoint, "-H", "Content-Type: text/csv", *given)
        np.testing.assert_allclose(done["predictions"], expected, rtol=1e-5)


def test_plain_form_is_answered_with_the_same_numbers(endpoint: Served, expected: np.ndarray) -> None:
    for rows in (ROWS, RECORDS):
        answer = endpoint.ask("/predict", {"rows": rows})
        assert (answer.status, answer.headers["model-version"]) == (200, "diabetes/1")
        numbers = [[row["predicted"]] for row in answer.json["predictions"]]
        np.testing.assert_allclose(numbers, expected, rtol=1e-5)
    assert endpoint.ask("/explain", {"rows": ROWS[:1]}).status == 404


def test_row_alone_and_among_many_has_the_same_answer(endpoint: Served, place: Path) -> None:
    rows = np.random.default_rng(7).normal(0, 0.05, (1000, 10)).round(5).tolist()
    expected = predict(place, "1", rows)
    many = endpoint.ask("/invocations", {"inputs": rows}).json["predictions"]
    np.testing.assert_allclose(many, expected, rtol=1e-5)
    begun = [Begun(lambda row=row: endpoint.ask("/invocations", {"inputs": [row]})) for row in rows[:40]]
    alone = [one.result().json["predictions"][0] for one in begun]
    np.testing.assert_allclose(alone, expected[:40], rtol=1e-5)


def test_tickets_of_two_columns_are_served_as_they_were_trained(place: Path, tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    words = {"login": ["password", "account", "reset"], "refund": ["money", "invoice", "twice"]}
    rows = [
        (queue, *(" ".join(chance.choice(some, 3)) for _ in range(2)))
        for queue, some in words.items()
        for _ in range(60)
    ]
    lines = [
        "queue,subject,body",
        *(f"{queue},{subject},{body} {number}" for number, (queue, subject, body) in enumerate(rows)),
    ]
    (tmp_path / "tickets.csv").write_text("\n".join(lines) + "\n")
    columns = ["--text_column=subject,body", "--label_column=queue", "--model_name=tickets"]
    command = [warm.python(), ROOT / "src/train.py", *TINY, "--data=tickets.csv", *columns, "--epochs=4"]
    env = environment(uri_of(place), warm.python())
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    tickets = [{"subject": "reset", "body": "my password"}, {"subject": None, "body": "money\ntwice"}]
    joined = ["reset\nmy password", "\nmoney\ntwice"]
    serving = [
        sys.executable, str(ROOT / "src/serve.py"), "--port=0", "--workers=1", "--reload=0", "--model=models:/tickets/1"
    ]  # fmt: skip
    with served(place, tmp_path, command=serving) as endpoint:
        endpoint.begin()
        alone, both = (endpoint.ask("/predict", {"texts": some}) for some in (tickets[:1], tickets))
        assert endpoint.ask("/predict", {"texts": ["one text"]}).status == 422
        shown = endpoint.ask("/openapi.json").json
    assert (alone.status, both.status) == (200, 200), alone.body + both.body
    assert alone.json["predictions"][0]["predicted"] == both.json["predictions"][0]["predicted"] == "login"
    assert both.json["predictions"][1]["predicted"] == "refund"
    mlflow.set_tracking_uri(uri_of(place))
    try:
        expected = mlflow.pyfunc.load_model("models:/tickets/1").predict(np.array(joined, dtype=object))
    finally:
        mlflow.set_tracking_uri(None)
    assert [row["probability"] for row in both.json["predictions"]] == pytest.approx(np.ravel(expected), rel=1e-5)
    assert "subject" in json.dumps(shown)


def test_mlflows_other_paths_answer(endpoint: Served) -> None:
    assert [endpoint.ask(path).status for path in ("/ping", "/health", "/version")] == [200] * 3
    assert endpoint.ask("/version").json["uri"] == "models:/diabetes/1"


def test_clients_of_mlflow_work(endpoint: Served, expected: np.ndarray) -> None:
    import pandas as pd
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    client = ScoringServerClient("127.0.0.1", endpoint.port)
    client.wait_server_ready(timeout=60, scoring_server_proc=endpoint.process)
    answered = client.invoke(pd.DataFrame(RECORDS)).get_predictions()
    np.testing.assert_allclose(answered.to_numpy(), expected, rtol=1e-5)


def test_moved_alias_is_followed_without_a_request_that_fails(
    endpoint: Served, client: mlflow.MlflowClient, place: Path
) -> None:
    expected = {f"diabetes/{version}": predict(place, version) for version in ("1", "2")}
    assert not np.allclose(*expected.values(), rtol=1e-3)
    found, is_over = [], threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            found.append(endpoint.ask("/invocations", {"inputs": ROWS}))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for version in ("2", "1"):
            move(client, version)
            os.kill(endpoint.process.pid, signal.SIGHUP)
            until(lambda: found and found[-1].headers.get("model-version") == f"diabetes/{version}")  # noqa: B023
    finally:
        is_over.set()
        thread.join()
    assert {answer.status for answer in found} == {200}
    for answer in found:
        np.testing.assert_allclose(answer.json["predictions"], expected[answer.headers["model-version"]], rtol=1e-5)


def test_version_that_brings_code_is_refused_and_the_former_stays(
    endpoint: Served, client: mlflow.MlflowClient
) -> None:
    move(client, "3")
    os.kill(endpoint.process.pid, signal.SIGHUP)
    line = endpoint.wait_for("diabetes version 3 is refused: ")
    assert "is loaded by own_loader, which may run code from the model's folder" in line
    assert line.endswith("; diabetes version 1 stays\n")
    answer = endpoint.ask("/invocations", {"inputs": ROWS})
    assert (answer.status, answer.headers["model-version"]) == (200, "diabetes/1")
    assert "the code of a model ran" not in endpoint.printed
    metrics = endpoint.ask("/metrics").body.decode()
    assert 'serve_reloads_total{result="refused"} 1.0' in metrics


def test_version_that_brings_code_is_refused_at_the_start(place: Path, tmp_path: Path) -> None:
    with served(place, tmp_path, f"--model=models:/{MODEL}/3") as endpoint:
        assert endpoint.end() == 2
        errors = [line for line in endpoint.lines if line.startswith("error: ")]
        assert errors[0].startswith("error: model: 'models:/diabetes/3' is loaded by own_loader, ")
        assert "the code of a model ran" not in endpoint.printed
    assert not list(tmp_path.glob("diabetes-serve-*"))


def test_request_that_scorers_had_is_answered_before_the_end(place: Path, tmp_path: Path) -> None:
    with served(place, tmp_path) as endpoint:
        endpoint.begin()
        scorer = endpoint.scorer
        os.kill(scorer, signal.SIGSTOP)  # so that it takes as long as the test wants
        begun = [Begun(lambda: endpoint.ask("/invocations", {"inputs": ROWS}))]
        # It has been taken; what comes later waits.
        until(lambda: "serve_batch_rows_sum 5.0" in endpoint.ask("/metrics").body.decode())
        begun += [Begun(lambda: endpoint.ask("/invocations", {"inputs": ROWS})) for _ in range(2)]
        until(lambda: "serve_waiting_rows 10.0" in endpoint.ask("/metrics").body.decode())
        os.kill(endpoint.process.pid, signal.SIGTERM)
        endpoint.wait_for("shutting down: 3 requests to finish; new ones are refused")
        refused = endpoint.ask("/invocations", {"inputs": ROWS})
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        os.kill(scorer, signal.SIGCONT)
        assert [one.result().status for one in begun] == [200] * 3
        assert endpoint.end() == 0
        assert not is_alive(scorer)
        assert "Traceback" not in endpoint.printed
    assert not list(tmp_path.glob("diabetes-serve-*"))


def test_ctrl_c_ends_an_endpoint_in_order(place: Path, tmp_path: Path) -> None:
    """It reaches all processes of a terminal."""
    with served(place, tmp_path) as endpoint:
        endpoint.begin()
        children = endpoint.list_children()
        os.killpg(endpoint.process.pid, signal.SIGINT)
        assert endpoint.end() == 0
        assert [line for line in endpoint.lines if "Traceback" in line] == []
        assert endpoint.lines[-1] == "shutting down: 0 requests to finish; new ones are refused\n"
        until(lambda: not any(map(is_alive, children)))
    assert not list(tmp_path.glob("diabetes-serve-*"))


@pytest.mark.parametrize("line", ["listening at", "a scorer's process"])
def test_end_while_it_loads_is_in_order(place: Path, tmp_path: Path, line: str) -> None:
    with served(place, tmp_path) as endpoint:
        endpoint.wait_for("listening at")
        if line == "a scorer's process":
            until(lambda: any("spawn_main" in command for command in endpoint.list_children().values()))
        children = endpoint.list_children()
        os.kill(endpoint.process.pid, signal.SIGTERM)
        assert endpoint.end() == 0, endpoint.printed
        assert "Traceback" not in endpoint.printed
        until(lambda: not any(map(is_alive, children)))
    assert not list(tmp_path.glob("diabetes-serve-*"))


@pytest.mark.parametrize("is_busy", [False, True])
def test_killed_endpoint_leaves_no_process(place: Path, tmp_path: Path, is_busy: bool) -> None:
    with served(place, tmp_path) as endpoint:
        endpoint.begin()
        children, scorer = endpoint.list_children(), endpoint.scorer
        if is_busy:
            os.kill(scorer, signal.SIGSTOP)
            body = json.dumps({"inputs": ROWS}).encode()
            client = RawClient(endpoint.port)
            head = f"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
            client.send(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
            until(lambda: "serve_batch_rows_sum 5.0" in endpoint.ask("/metrics").body.decode())
        endpoint.process.kill()
        if is_busy:
            os.kill(scorer, signal.SIGCONT)
        assert scorer in children
        until(lambda: not any(map(is_alive, children)))


def test_port_that_is_taken_is_one_line(place: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with served(place, tmp_path, f"--port={port}") as endpoint:
            assert endpoint.end() == 2
            assert endpoint.printed == (
                f"error: port: {port} at 127.0.0.1 cannot be listened at (Address already in use); "
                "allowed: a free port, or 0 to find one\n"
            )


@pytest.mark.parametrize("model", [f"models:/{MODEL}@nobody", "models:/nothing/1"])
def test_model_that_does_not_exist_is_one_line(place: Path, tmp_path: Path, model: str) -> None:
    with served(place, tmp_path, f"--model={model}") as endpoint:
        assert endpoint.end() == 2
        (line,) = (line for line in endpoint.lines if line.startswith("error: "))
        assert line.startswith(f"error: model: {model!r} cannot be found (")
        assert len(endpoint.lines) == 3, endpoint.printed  # listening, loading, and this
    assert not list(tmp_path.glob("diabetes-serve-*"))


def test_store_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    with served(uri, tmp_path) as endpoint:
        assert endpoint.end() == 2
        assert endpoint.lines[-1].startswith(f"error: MLFLOW_TRACKING_URI: '{uri}' does not answer (")
        assert len(endpoint.lines) == 3, endpoint.printed


def test_end_while_a_store_is_silent_is_in_order(tmp_path: Path) -> None:
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        endpoint = stack.enter_context(served(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path))
        stack.enter_context(silent.accept()[0])  # it was asked
        os.kill(endpoint.process.pid, signal.SIGTERM)
        assert endpoint.end() == 0, endpoint.printed
        assert endpoint.lines[-1] == "shutting down: 0 requests to finish; new ones are refused\n"
    assert not list(tmp_path.glob("diabetes-serve-*"))


def test_version_whose_files_are_out_of_reach_is_taken_once_they_are_back(
    place: Path, tmp_path: Path, client: mlflow.MlflowClient
) -> None:
    with served(place, tmp_path, "--reload=1") as endpoint:
        endpoint.begin()
        files = Path(client.get_model_version_download_uri(MODEL, "2").removeprefix("file://"))
        hidden = files.with_name(f"{files.name}-hidden")
        files.rename(hidden)
        try:
            move(client, "2")
            endpoint.wait_for("; diabetes version 1 stays")
            assert endpoint.ask("/invocations", {"inputs": ROWS}).headers["model-version"] == "diabetes/1"
        finally:
            hidden.rename(files)
        endpoint.wait_for("diabetes version 2 answers, on 1 scorer")
        assert endpoint.ask("/version").json["version"] == "2"


def test_mlflow_run_serves_and_its_run_is_no_training(place: Path, tmp_path: Path) -> None:
    words = ["-e", "serve", "-P", "port=0", "-P", "workers=1"]
    command = [sys.executable, "-m", "mlflow", "run", str(SCRIPT.parent), "--env-manager", "local", *words]
    with served(place, tmp_path, command=command) as endpoint:
        endpoint.begin()
        assert endpoint.ask("/predict", {"rows": ROWS}).status == 200
        endpoint.send(signal.SIGINT)
        endpoint.end()  # MLflow's own process calls it a failure, and the run FAILED
        assert "shutting down: 0 requests to finish" in endpoint.printed
    client = mlflow.MlflowClient(uri_of(place))
    run = client.search_runs(["0"], "tags.`mlflow.project.entryPoint` = 'serve'")[0]
    assert (run.info.run_name, run.data.tags["verb"]) == ("serve", "serve")
