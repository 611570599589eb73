"""The address of an endpoint: nobody else listens there, and a mistake is one line."""

import socket

import pytest

from tracked.console.errors import UserError
from tracked.serve import server


def test_address_that_an_endpoint_has_is_refused_to_the_next_one_at_once() -> None:
    """Also to one that starts at the same time, before the first one has loaded its model."""
    with server._listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UserError) as caught:
            server._listen("127.0.0.1", port)
    assert str(caught.value) == (
        f"port: {port} at 127.0.0.1 cannot be listened at (Address already in use); "
        "allowed: a free port, or 0 to find one"
    )


def test_address_of_an_endpoint_that_ended_can_be_taken() -> None:
    """Though connections of it are still being closed."""
    with server._listen("127.0.0.1", 0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address) as client:
            accepted, _ = listener.accept()
            accepted.close()
            assert client.recv(1) == b""
    server._listen("127.0.0.1", address[1]).close()


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_addresses_of_both_kinds_are_listened_at(host: str, family: int) -> None:
    with server._listen(host, 0) as listener:
        assert (listener.family, listener.getsockname()[0]) == (family, host)
        socket.create_connection(listener.getsockname()[:2]).close()


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("256.0.0.1", "host: '256.0.0.1' is not allowed; allowed: an address of this machine"),
        ("192.0.2.1", "port: 0 at 192.0.2.1 cannot be listened at (Cannot assign requested address); "),
    ],
)
def test_address_of_no_machine_or_another_one_is_refused(host: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        server._listen(host, 0)
    assert str(caught.value).startswith(message)
