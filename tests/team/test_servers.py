"""The servers of the tests: their users and rights, and what a stack loses when a part of it is away."""

import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from helpers.team import AuthServer, basic_auth_server

pytestmark = [pytest.mark.slow, pytest.mark.needs("Team")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthServer]:
    with basic_auth_server(tmp_path_factory.mktemp("server"), "NO_PERMISSIONS") as started:
        for user in ("ann", "bob"):
            started.add_user(user)
        yield started


@contextmanager
def refused(status: int) -> Iterator[None]:
    with pytest.raises(urllib.error.HTTPError) as error:
        yield
    assert error.value.code == status


def test_rights_are_given_replaced_and_taken_back(server: AuthServer) -> None:
    made = server.call("POST", "2.0/mlflow/experiments/create", {"name": "of ann"}, "ann")["experiment_id"]
    read = ("GET", f"2.0/mlflow/experiments/get?experiment_id={made}", {}, "bob")
    write = ("POST", "2.0/mlflow/runs/create", {"experiment_id": made}, "bob")
    with refused(403):
        server.call(*read)
    server.grant("bob", "experiment", made, "READ")
    server.call(*read)
    with refused(403):
        server.call(*write)
    server.grant("bob", "experiment", made, "EDIT")
    server.call(*write)
    server.grant("bob", "experiment", made, "NO_PERMISSIONS")
    with refused(403):
        server.call(*read)
    server.revoke("bob", "experiment", made)
    with refused(403):
        server.call(*read)


def test_a_changed_password_is_asked_for_at_once(server: AuthServer) -> None:
    name = "carl"
    former = server.add_user(name)
    search = ("POST", "2.0/mlflow/experiments/search", {"max_results": 1}, name)
    server.call(*search)
    assert server.change_password(name) != former
    server.call(*search)
    server.passwords[name] = former
    with refused(401):
        server.call(*search)


def test_no_password_is_in_the_servers_folder(server: AuthServer) -> None:
    for path in server.folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for password in server.passwords.values():
            assert password.encode() not in content, path
    assert b"default_permission = NO_PERMISSIONS" in (server.folder / "basic_auth.ini").read_bytes()
