"""The server with clients that are slow, silent, gone, or speak something else: each has an answer, in time."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from helpers.adding import SECRET
from helpers.endpoints import Endpoint, serve, until
from helpers.raw_http import RawAnswer, RawClient
from tracked.serve import http_server

MAX_BODY = 100_000


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("endpoint")
    with serve(folder, receive_timeout=1, max_body=MAX_BODY, max_connections=20) as endpoint:
        yield endpoint


@pytest.fixture
def client(endpoint: Endpoint) -> Iterator[RawClient]:
    with RawClient(endpoint.port) as client:
        yield client
    until(lambda: not endpoint.server.server_state.connections)
    assert endpoint.service.unanswered == 0


def get(path: str = "/health", *headers: str, method: str = "GET", host: str = "127.0.0.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode("latin-1")


def post(*pairs: Any, path: str = "/predict", headers: tuple[str, ...] = (), length: int | None = None) -> bytes:
    body = json.dumps({"pairs": pairs}).encode()
    size = f"Content-Length: {len(body) if length is None else length}"
    return get(path, "Content-Type: application/json", size, *headers, method="POST") + body


def assert_late(answer: RawAnswer) -> None:
    assert (answer.status, answer.headers["connection"].lower()) == (408, "close")


@pytest.mark.slow
@pytest.mark.parametrize("begun", [b"G", b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "])
def test_head_that_stays_half_is_late(client: RawClient, begun: bytes) -> None:
    client.send(begun)
    answer = client.read_answer()
    assert_late(answer)
    assert answer.message == "the request did not arrive in time"
    assert client.read_end() == b""


def test_head_that_comes_drop_by_drop_is_late(client: RawClient) -> None:
    is_over = threading.Event()

    def drip() -> None:
        client.send(b"GET /health HTTP/1.1\r\nX-Slow: ")
        while not is_over.wait(0.05):
            try:
                client.send(b"x")
            except OSError:
                return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        assert_late(client.read_answer())
    finally:
        is_over.set()
        thread.join()


def test_body_that_stays_half_is_late(client: RawClient) -> None:
    client.send(post([1, 2], length=1000))
    answer = client.read_answer()
    assert_late(answer)
    assert answer.message == "the body did not arrive within 1 seconds; send it faster, or fewer rows at a time"
    assert client.read_end() == b""


def test_chunks_that_do_not_end_are_late(client: RawClient) -> None:
    client.send(get("/predict", "Transfer-Encoding: chunked", method="POST"), b"3\r\nabc\r\n")
    assert_late(client.read_answer())
    assert client.read_end() == b""


def test_body_whose_application_waits_on_is_late_nevertheless(
    endpoint: Endpoint, client: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a head that came slowly: the application's time began late."""
    monkeypatch.setattr(endpoint.server.config.http_protocol_class, "receive_seconds", 0.05)
    monkeypatch.setattr(http_server, "GRACE", 0.05)
    with RawClient(endpoint.port) as late:
        late.send(post([1, 2], length=1000))
        answer = late.read_answer()
        assert_late(answer)
        assert answer.message == "the request did not arrive in time"
        assert late.read_end() == b""


def test_half_a_request_behind_a_whole_one_is_late(client: RawClient) -> None:
    client.send(get() + b"GET /ready HT")
    assert client.read_answer().status == 200
    assert_late(client.read_answer())


def test_silent_client_is_let_go_without_a_word(client: RawClient) -> None:
    assert client.read_end() == b""


def test_connection_may_idle_between_requests(endpoint: Endpoint, client: RawClient) -> None:
    """Longer than a request may take."""
    client.send(get())
    assert client.read_answer().status == 200
    with RawClient(endpoint.port) as other:
        other.read_end()  # after the time in which a request must have arrived
    client.send(get())
    assert client.read_answer().status == 200


def test_answer_may_take_longer_than_a_request(endpoint: Endpoint, client: RawClient) -> None:
    client.send(post(["wait", 1]))
    with RawClient(endpoint.port) as other:
        other.read_end()
    (endpoint.folder / "go").touch()
    assert client.read_answer().status == 200


@pytest.mark.parametrize(
    "half",
    [
        b"GET /health",
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        post([1, 2], length=1000),
        get("/predict", "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n",
    ],
)
def test_half_a_request_with_an_end_is_refused(client: RawClient, half: bytes) -> None:
    client.send(half)
    client.finish()
    answer = client.read_answer()
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert answer.message == "the request ended before it was complete"
    assert client.read_end() == b""


def test_client_that_sends_nothing_and_ends_is_let_go(client: RawClient) -> None:
    client.finish()
    assert client.read_end() == b""


def test_whole_request_is_answered_though_its_client_sends_no_more(endpoint: Endpoint, client: RawClient) -> None:
    (endpoint.folder / "go").unlink(missing_ok=True)
    before = endpoint.count_left("in hand")
    client.send(post(["wait", 1]))
    client.finish()
    until(lambda: endpoint.count_left("in hand") > before)
    (endpoint.folder / "go").touch()
    answer = client.read_answer()
    assert json.loads(answer.body) == {"predictions": [{"sum": 1.0, "sign": "plus"}]}
    assert client.read_end() == b""


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100 + b"\r\n\r\n",  # TLS
        f"{SECRET}\r\n\r\n".encode(),
        b"GET /health HTTP/1.1\r\n\r\n",  # no Host
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: example.com\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\0b\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * (http_server.HEADERS + 1),
    ],
)  # fmt: skip
def test_what_is_no_http_is_refused(
    endpoint: Endpoint, client: RawClient, garbage: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    client.send(garbage)
    answer = client.read_answer()
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert answer.message == "the request is not valid HTTP/1.1"
    assert client.read_end() == b""
    assert capfd.readouterr() == ("", "")


def test_garbage_behind_a_request_does_not_harm_it(endpoint: Endpoint, client: RawClient) -> None:
    (endpoint.folder / "go").touch()
    client.send(post(["wait", 1]) + b"\0\r\n\r\n")
    assert [client.read_answer().status, client.read_answer().status] == [200, 400]
    assert client.read_end() == b""


def test_requests_in_one_packet_are_answered_in_order(endpoint: Endpoint, client: RawClient) -> None:
    (endpoint.folder / "go").touch()
    client.send(b"".join([post([1, 1]), post(["wait", 2]), get("/nowhere"), post([2, 2]), get()]))
    found = [client.read_answer() for _ in range(5)]
    assert [answer.status for answer in found] == [200, 200, 404, 200, 200]
    assert [json.loads(found[place].body)["predictions"][0]["sum"] for place in (0, 1, 3)] == [2, 2, 4]


def test_connection_is_kept_after_answers_and_refusals(client: RawClient) -> None:
    empty = get("/predict", "Content-Length: 0", method="POST")
    given = [(post([1, 2]), 200), (post(["x", 1]), 422), (get("/nowhere"), 404), (get("/predict"), 405),
             (post(["raise", 1]), 500), (empty, 415), (post([1, 2]), 200)]  # fmt: skip
    for request, status in given:
        client.send(request)
        assert client.read_answer().status == status


def test_client_that_asks_for_the_end_gets_it(client: RawClient) -> None:
    client.send(get("/health", "Connection: close"))
    assert client.read_answer().headers["connection"] == "close"
    assert client.read_end() == b""


def test_request_of_http_1_0_is_answered(client: RawClient) -> None:
    client.send(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert client.read_answer().body == b"alive"
    assert client.read_end() == b""


def test_body_that_is_too_large_is_refused_before_it_has_come(endpoint: Endpoint, client: RawClient) -> None:
    client.send(post(length=10 * MAX_BODY))
    answer = client.read_answer()
    assert (answer.status, answer.message) == (
        413,
        f"the body is larger than {MAX_BODY:,} bytes; send fewer rows at a time",
    )
    client.send(b"x" * (10 * MAX_BODY - len(b'{"pairs": []}')))  # it is read, so that the next request can be
    client.send(get())
    assert client.read_answer().status == 200


@pytest.mark.parametrize("head", ["Content-Length: 10000000000", "Transfer-Encoding: chunked"])
def test_client_that_sends_on_after_its_refusal_is_let_go(endpoint: Endpoint, head: str) -> None:
    """In the time that a request has, whatever it goes on sending."""
    piece = b"x" * 10_000
    with RawClient(endpoint.port) as client:
        client.send(get("/predict", head, method="POST"))

        def send_on() -> None:
            with suppress(OSError):
                while True:
                    client.send(b"%x\r\n%b\r\n" % (len(piece), piece))

        thread = threading.Thread(target=send_on)
        thread.start()
        assert client.read_answer().status == 413
        thread.join(60)
        assert not thread.is_alive()
    until(lambda: not endpoint.server.server_state.connections)


def test_client_that_waits_for_a_word_to_send_gets_it_or_the_refusal(client: RawClient) -> None:
    body = b'{"pairs": [[1, 2]]}'
    words = ["Expect: 100-continue", "Content-Type: application/json"]
    client.send(get("/predict", *words, f"Content-Length: {len(body)}", method="POST"))
    assert client.read_answer().status == 100
    client.send(body)
    assert client.read_answer().status == 200
    client.send(get("/predict", *words, f"Content-Length: {10 * MAX_BODY}", method="POST"))
    assert client.read_answer().status == 413


def test_chunks_are_put_together(client: RawClient) -> None:
    head = get("/predict", "Transfer-Encoding: chunked", "Content-Type: application/json", method="POST")
    client.send(head, *(b"1\r\n%c\r\n" % byte for byte in b'{"pairs": [[1, 2]]}'), b"0\r\n\r\n")
    assert json.loads(client.read_answer().body)["predictions"] == [{"sum": 3.0, "sign": "plus"}]


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("HEAD", "/health", 200, None),
        ("HEAD", "/metrics", 200, None),
        ("HEAD", "/predict", 405, "POST"),
        ("GET", "/predict", 405, "POST"),
        ("OPTIONS", "/predict", 405, "POST"),
        ("DELETE", "/health", 405, "GET, HEAD"),
        ("POST", "/", 405, "GET, HEAD"),
        ("GET", "/health/", 404, None),
        ("POST", "/predict/", 404, None),
        ("GET", "//health", 404, None),
        ("GET", "/health?at=once", 200, None),
        ("GET", "/%68ealth", 200, None),
        ("GET", "/HEALTH", 404, None),
        ("GET", "/../etc/passwd", 404, None),
        ("GET", "/static/page.js", 404, None),
        ("GET", "/%00", 404, None),
        ("GET", "/metrics%0a", 404, None),
        ("POST", "/predict%0A", 404, None),
        ("GET", "/%ff", 404, None),
        ("OPTIONS", "*", 404, None),
    ],
)
def test_paths_and_methods(client: RawClient, method: str, path: str, status: int, allow: str | None) -> None:
    client.send(get(path, *(["Content-Length: 0"] if method == "POST" else []), method=method))
    answer = client.read_answer(is_headless=method == "HEAD")
    assert (answer.status, answer.headers.get("allow")) == (status, allow)
    assert int(answer.headers["content-length"]) > 0
    if status != 200 and method != "HEAD":
        assert answer.message in (
            "there is no such path; /docs lists all of them",
            f"the method is not allowed here; allowed: {allow}",
        )


def test_clients_that_go_away_leave_nothing_behind(endpoint: Endpoint) -> None:
    counter = endpoint.service.meter.requests.labels("/predict", "499")._value
    before = counter.get()
    with RawClient(endpoint.port) as client:
        client.send(post([1, 2], length=1000))
        until(lambda: endpoint.service.unanswered)
    until(lambda: counter.get() > before)
    (endpoint.folder / "go").unlink(missing_ok=True)
    begun = endpoint.count_left("in hand")
    with RawClient(endpoint.port) as client:
        client.send(post(["wait", 1]))
        until(lambda: endpoint.count_left("in hand") > begun)
    (endpoint.folder / "go").touch()
    until(lambda: not endpoint.service.unanswered)
    assert endpoint.add(1).status == 200


def test_request_of_a_client_that_left_is_not_scored(endpoint: Endpoint) -> None:
    (endpoint.folder / "go").unlink(missing_ok=True)
    begun = endpoint.count_left("in hand")
    in_hand = endpoint.begin_adding("wait")
    until(lambda: endpoint.count_left("in hand") > begun)
    with RawClient(endpoint.port) as client:
        client.send(post([1, 2]))
        until(lambda: endpoint.service._waiting.rows == 1)
        client.abort()
    until(lambda: endpoint.service._waiting.rows == 0)
    assert endpoint.count_left("in hand") == begun + 1
    (endpoint.folder / "go").touch()
    assert in_hand.result().status == 200


def test_client_that_reads_no_answer_is_let_go(endpoint: Endpoint) -> None:
    with RawClient(endpoint.port) as client, suppress(OSError):
        while True:
            client.send(get("/page.js") * 100)
    until(lambda: not endpoint.server.server_state.connections)
    until(lambda: endpoint.service.unanswered == 0)


def test_connections_beyond_their_number_are_refused_and_harm_no_other(tmp_path: Path) -> None:
    with serve(tmp_path, is_ready=False, max_connections=2) as endpoint:
        connections = endpoint.server.server_state.connections
        with RawClient(endpoint.port) as first, RawClient(endpoint.port) as second:
            until(lambda: len(connections) == 2)
            with RawClient(endpoint.port) as third:
                until(lambda: len(connections) == 3)
                third.send(get())
                answer = third.read_answer()
                headers = answer.headers["retry-after"], answer.headers["connection"]
                assert (answer.status, *headers) == (503, "1", "close")
                assert answer.message == "too many connections are open; try again"
                assert third.read_end() == b""
            with RawClient(endpoint.port) as silent:
                for client in (first, second):
                    client.send(get())
                    assert client.read_answer().status == 200
                assert silent.read_end() == b""  # one that says nothing keeps no place
        until(lambda: not connections)  # there is room again
        assert endpoint.ask("/health").status == 200


def test_nothing_that_a_client_sends_is_printed(
    endpoint: Endpoint, client: RawClient, capfd: pytest.CaptureFixture[str]
) -> None:
    ask: list[Callable[[], bytes]] = [
        lambda: get(f"/{SECRET.replace(' ', '-')}"),
        lambda: post(["x", SECRET]),
        lambda: get("/health", f"X-Word: {SECRET}", "Upgrade: websocket", "Connection: upgrade"),
    ]
    for request in ask:
        client.send(request())
        assert SECRET not in client.read_answer().body.decode()
    assert capfd.readouterr() == ("", "")


def test_connection_whose_body_came_after_its_refusal_is_closed_once_it_idles(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "KEEP_ALIVE", 0.05)
    with RawClient(endpoint.port) as client:
        client.send(get("/nope", "Content-Length: 5", method="POST"))
        assert client.read_answer().status == 404
        client.send(b"12345")
        assert client.read_end() == b""
    until(lambda: not endpoint.server.server_state.connections)


def test_several_requests_are_answered_though_their_client_sends_no_more(client: RawClient) -> None:
    client.send(get() + get("/ready") + get("/nope"))
    client.finish()
    assert [client.read_answer().status for _ in range(3)] == [200, 200, 404]
    assert client.read_end() == b""


def test_timer_of_a_connection_that_was_reset_is_gone(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    protocol, made = endpoint.server.config.http_protocol_class, []
    begin = protocol.connection_made

    def note(self: Any, transport: Any) -> None:
        made.append(self)
        begin(self, transport)

    monkeypatch.setattr(protocol, "connection_made", note)
    client = RawClient(endpoint.port)
    client.send(get())
    assert client.read_answer().status == 200
    client.abort()
    until(lambda: not endpoint.server.server_state.connections)
    assert [one.timeout_keep_alive_task for one in made] == [None]


@pytest.mark.slow
def test_requests_that_never_become_whole_have_an_answer_when_the_endpoint_ends(tmp_path: Path) -> None:
    with serve(tmp_path, drain=0) as endpoint, RawClient(endpoint.port) as head, RawClient(endpoint.port) as body:
        head.send(b"GET /health HT")
        body.send(post([1, 2], length=1000))
        until(lambda: endpoint.service.unanswered == 1 and len(endpoint.server.server_state.connections) == 2)
        endpoint.drain()
        for client, message in ((head, "the endpoint ends; ask another one"), (body, "the endpoint ended before it")):
            answer = client.read_answer()
            assert answer.status == 503
            assert answer.message.startswith(message)
