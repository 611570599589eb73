"""Run a team's servers for a test: one of MLflow with users, alone or with PostgreSQL and S3 as its stores.

They run in an environment of their own, .venv-team, which ``make test-all`` and ``make team`` make.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers.auth_server import PYTHON, AuthServer, clean_environment
from helpers.servers import free_port
from helpers.team_stack import TeamStack

__all__ = ["PYTHON", "AuthServer", "TeamStack", "basic_auth_server", "clean_environment", "team_stack"]


@contextmanager
def basic_auth_server(folder: Path, default_permission: str = "READ", *options: str) -> Iterator[AuthServer]:
    """Run a server with users, its stores in SQLite and a folder."""
    folder.mkdir(exist_ok=True)
    server = AuthServer(_free_uri(), folder=folder, default_permission=default_permission, options=options)
    try:
        server.start_server()
        yield server
    finally:
        server.stop_server()


@contextmanager
def team_stack(folder: Path, default_permission: str = "READ", *options: str) -> Iterator[TeamStack]:
    """Run the whole stack, with two workers of the server."""
    folder.mkdir(exist_ok=True)
    stack = TeamStack(
        _free_uri(), folder=folder, default_permission=default_permission, workers=2, options=options,
        gate_port=free_port(),
    )  # fmt: skip
    try:
        stack.start_all()
        yield stack
    finally:
        stack.stop_all()


def _free_uri() -> str:
    return f"http://127.0.0.1:{free_port()}"
