"""Trainings of a user without admin rights on a server with users leave no password, and neither does a refused one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.secretive import USER, Secretive, make_secret
from helpers.team import AuthServer, basic_auth_server

pytestmark = [pytest.mark.slow, pytest.mark.needs("Team")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthServer]:
    with basic_auth_server(tmp_path_factory.mktemp("server")) as started:
        started.add_user(USER)
        yield started


@pytest.mark.parametrize("way", ["environment", "address", "file"])
def test_training_and_refused_ones_leave_no_password(way: str, server: AuthServer, tmp_path: Path) -> None:
    user = Secretive(tmp_path / "ann", server.uri, server.passwords[USER], make_secret("none"), (server.folder,))
    server.grant(USER, "experiment", "0", "READ")
    with user.watched():
        assert user.run(way, "train", "--epochs=2")[0] == 2  # 403
        assert user.run(way, "train", "--epochs=2", password=user.wrong)[0] == 2  # 401
        server.grant(USER, "experiment", "0", "EDIT")
        status, said = user.run(way, "train", "--epochs=2", f"--model_name=of-{way}")
        assert status == 0, said
    assert user.find() == []
    assert user.search.packed > 5
    (user.folder / "planted").write_text(server.passwords[USER])
    assert len(user.find()) == 1
