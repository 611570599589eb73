"""Ray that is not installed, or whose cluster does not answer: one line, and soon."""

import socket
import time
from collections.abc import Iterator

import pytest

from tracked.console.errors import UserError
from tracked.workers import ray_cluster

pytestmark = pytest.mark.unit


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster.importlib.util, "find_spec", lambda name: name)


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_without_ray_the_executor_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError) as refused:
        ray_cluster.require_ray("auto")
    allowed = "processes, or ray after pip install -r requirements-ray.txt"
    assert str(refused.value) == f"executor: 'ray' is not allowed; allowed: {allowed}"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("address", ["nowhere", "a b:1", "host:0", "host:70000", "http://host:1", ":6379", "host:"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(
        UserError, match=r"^address: '.*' is not allowed; allowed: auto, host:6379 or ray://host:10001$"
    ):
        ray_cluster.require_ray(address)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "[::1]:{}"])
def test_a_closed_port_is_told_at_once(form: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = form.format(server.getsockname()[1])
    began = time.monotonic()
    with pytest.raises(UserError) as refused:
        ray_cluster.require_ray(address)
    assert time.monotonic() - began < 6
    assert str(refused.value).startswith(f"address: '{address}' is not allowed; allowed: a Ray cluster that answers (")
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("installed")
def test_a_port_that_says_nothing_is_given_up(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "PROBE", "import time; time.sleep(60)")
    monkeypatch.setattr(ray_cluster, "PROBE_SECONDS", 1.0)
    with pytest.raises(UserError, match=r"a Ray cluster that answers \(none within 1 s\)$"):
        ray_cluster.require_ray(f"127.0.0.1:{silent}")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("RuntimeError('Version mismatch:\\nthe cluster has another Ray')", "the cluster has another Ray"),
        (
            "RuntimeError('AuthenticationError: no token\\nFailed to connect')",
            "set RAY_AUTH_MODE=token, and put the cluster's token into ~/.ray/auth_token",
        ),
        ("SystemExit(1)", "no reason"),
    ],
)
def test_what_ray_says_of_a_cluster_is_told(
    silent: int, monkeypatch: pytest.MonkeyPatch, error: str, told: str
) -> None:
    monkeypatch.setattr(ray_cluster, "PROBE", f"raise {error}")
    with pytest.raises(UserError) as refused:
        ray_cluster.require_ray(f"127.0.0.1:{silent}")
    assert str(refused.value).endswith(f"allowed: a Ray cluster that admits this machine ({told})")


@pytest.mark.slow
@pytest.mark.needs("Ray")
def test_another_server_than_rays_is_given_up(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "PROBE_SECONDS", 8.0)
    began = time.monotonic()
    with pytest.raises(UserError, match="a Ray cluster that answers"):
        ray_cluster.require_ray(f"127.0.0.1:{silent}")
    assert time.monotonic() - began < 60
