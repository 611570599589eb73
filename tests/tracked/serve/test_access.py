"""Who may ask: each rule, and a request that breaks it."""

import hmac
from collections.abc import Mapping

import pytest

from helpers.adding import Adder
from tracked.console.serve_parameters import make_serve_parameters
from tracked.serve.access import PROTECTED, Access
from tracked.serve.refusals import Refusal

pytestmark = pytest.mark.unit

TOKEN = "a token of sixteen".replace(" ", "-")


def make_access(token: str = "", **parameters: str) -> Access:
    words = [f"--{name}={value}" for name, value in parameters.items()]
    return Access.of(make_serve_parameters(Adder).parse(words), token)


def ask(access: Access, path: str = "/predict", **headers: str) -> int:
    """The status of the refusal; 200 without one."""
    found = [200]
    try:
        access.require(path, [(name.encode(), value.encode("latin-1")) for name, value in headers.items()])
    except Refusal as refusal:
        is_told_safely = TOKEN not in refusal.message
        is_told_how = (refusal.headers == {"www-authenticate": "Bearer"}) is (refusal.status == 401)
        found = [refusal.status] if is_told_safely and is_told_how else []
    (status,) = found
    return status


LOCAL = ["localhost", "localhost:5050", "LOCALHOST:5050", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:5050"]
OTHERS = [
    "", "example.com", "example.com:5050", "localhost.example.com", "localhost.", "localhost:", "localhost:x",
    "localhost:1:2", "127.0.0.1.example.com", "127.0.0.2", "0.0.0.0", "[::2]", "[::1", "::1]:5050", "löcalhost",
    "127.0.0.1@example.com", "example.com#localhost", "localhost localhost", "127.0.0.1:²",
]  # fmt: skip


@pytest.mark.parametrize(
    ("parameters", "allowed", "refused"),
    [
        ({}, LOCAL, OTHERS),
        ({"host": "localhost"}, LOCAL, OTHERS),
        ({"host": "127.0.0.2"}, [*LOCAL, "127.0.0.2:5050"], ["127.0.0.3", "example.com"]),
        ({"host": "::1"}, LOCAL, OTHERS),
        ({"host": "0.0.0.0"}, [*LOCAL, *OTHERS], []),
        ({"host": "::"}, [*LOCAL, *OTHERS], []),
        ({"host": "0.0.0.0", "hosts": "API.example.com, [2001:db8::1]"},
         ["api.example.com", "Api.Example.COM:443", "[2001:db8::1]", "[2001:DB8::1]:8443"],
         ["example.com", "localhost", "xapi.example.com", "[2001:db8::2]", ""]),
        ({"hosts": "api.example.com"}, [*LOCAL, "api.example.com"], ["example.com", "xapi.example.com", "127.0.0.2"]),
    ],
)  # fmt: skip
def test_host_must_be_one_of_the_endpoints_names(
    parameters: dict[str, str], allowed: list[str], refused: list[str]
) -> None:
    access = make_access(**parameters)
    for path in ("/predict", "/version", "/", "other"):
        found = {host: ask(access, path, host=host) for host in [*allowed, *refused]}
        assert {host for host, status in found.items() if status != 200} == {*refused}
        assert {*found.values()} <= {200, 403}
    for path in ("/health", "/ping", "/ready"):  # probes know no name
        assert {ask(access, path, host=host) for host in [*allowed, *refused]} == {200}


def test_request_without_a_host_is_refused_where_names_are_given() -> None:
    assert ask(make_access()) == 403
    assert ask(make_access(host="0.0.0.0")) == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://127.0.0.1:5050"}, 200),
        ({"origin": "https://127.0.0.1:5050"}, 200),  # a proxy ends TLS
        ({"origin": "HTTP://127.0.0.1:5050"}, 200),
        ({"origin": "http://127.0.0.1"}, 403),  # another port is another site
        ({"origin": "http://127.0.0.1:5051"}, 403),
        ({"origin": "http://localhost:5050"}, 403),
        ({"origin": "http://example.com"}, 403),
        ({"origin": "http://127.0.0.1:5050.example.com"}, 403),
        ({"origin": "http://example.com/127.0.0.1:5050"}, 403),
        ({"origin": "null"}, 403),  # of a file, or a frame in a sandbox
        ({"origin": "127.0.0.1:5050"}, 403),
    ],
)  # fmt: skip
def test_origin_must_be_the_endpoints_own(headers: Mapping[str, str], status: int) -> None:
    for path in ("/predict", "/version"):
        assert ask(make_access(), path, host="127.0.0.1:5050", **headers) == status
    assert ask(make_access(), "/health", host="127.0.0.1:5050", **headers) == 200


def test_origin_behind_a_proxy_is_the_proxys_name() -> None:
    access = make_access(hosts="api.example.com")
    assert ask(access, host="api.example.com", origin="https://api.example.com") == 200
    assert ask(access, host="API.example.com", origin="https://api.EXAMPLE.com") == 200
    assert ask(access, host="api.example.com", origin="https://example.com") == 403


@pytest.mark.parametrize("origin", ["null", "http://", "http:", "example.com"])
def test_origin_of_a_request_that_names_no_host_is_not_its_own(origin: str) -> None:
    assert ask(make_access(host="0.0.0.0"), host="", origin=origin) == 403
    assert ask(make_access(host="0.0.0.0"), origin=origin) == 403


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (f"BEARER   {TOKEN} ", 200),
        ("", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        (TOKEN, 401),
        (f"Basic {TOKEN}", 401),
        (f"Bearer{TOKEN}", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN.upper()}", 401),
        (f"Bearer {TOKEN} {TOKEN}", 401),
        (f"Bearer {'é' * 16}", 401),
    ],
)
def test_token_is_needed_where_one_is_set(authorization: str, status: int) -> None:
    access = make_access(TOKEN)
    headers = {"host": "localhost"} | ({"authorization": authorization} if authorization else {})
    for path in PROTECTED:
        assert ask(access, path, **headers) == status
    for path in ("/health", "/ping", "/ready", "/version", "/docs", "/openapi.json", "/", "/page.js", "other"):
        assert ask(access, path, **headers) == 200
    assert ask(make_access(), **headers) == 200


def test_what_has_the_token_is_protected() -> None:
    assert set(PROTECTED) == {"/predict", "/invocations", "/explain", "/metrics"}


def test_host_and_origin_are_checked_before_the_token() -> None:
    assert ask(make_access(TOKEN), host="example.com") == 403
    assert ask(make_access(TOKEN), host="localhost", origin="http://example.com") == 403


def test_tokens_are_compared_in_a_time_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda *pair: compared.append(pair))
    assert ask(make_access(TOKEN), host="localhost", authorization="Bearer wrong") == 401
    assert compared == [(b"wrong", TOKEN.encode())]
