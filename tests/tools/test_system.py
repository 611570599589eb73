"""What `make test` does to the system: nothing, unless it is asked to."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from helpers import ROOT, system

pytestmark = pytest.mark.unit


def commands(*arguments: str, target: str = "test") -> str:
    """What make would run."""
    # The suite may itself run under a make that has variables of its own.
    environ = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "SYSTEM", "EXTRAS")
    }
    done = subprocess.run(
        ["make", "-n", target, *arguments], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_tests_install_nothing_unless_they_are_asked_to() -> None:
    assert "pytest" in commands()
    for name, target in (("chromium.sh", "test"), ("chromium.sh", "test-all"), ("postgresql.sh", "test-all")):
        assert name not in commands(target=target)
        assert name in commands("SYSTEM=install", target=target)
    assert "postgresql.sh" not in commands("SYSTEM=install")
    assert "make test SYSTEM=install" in (ROOT / ".ci/run").read_text()


def test_spark_and_its_java_are_installed_for_their_tests_alone() -> None:
    for name in ("requirements-spark.txt", "java.sh"):
        assert name not in commands("SYSTEM=install", "EXTRAS=ray", "-B", target="test-all")
        assert name in commands("SYSTEM=install", "EXTRAS=wheel spark", "-B", target="test-all")


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """The environment of root on a system without PostgreSQL, whose packages are written down in place of installed."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("ls", "mkdir", "sh", "cat"):
        (programs / name).symlink_to(str(shutil.which(name)))
    for name, body in {"id": "echo 0", "apt-get": f'echo "$*" >>{tmp_path}/installed'}.items():
        (programs / name).write_text(f"#!/bin/sh\n{body}\n")
        (programs / name).chmod(0o755)
    return {"PATH": str(programs), "SYSTEM_ROOT": str(tmp_path), "HOME": str(tmp_path)}


@pytest.mark.parametrize("settings", ["", "create_main_cluster = true  # mine\n"])
def test_postgresqls_settings_are_not_written_over(bare: dict[str, str], tmp_path: Path, settings: str) -> None:
    path = tmp_path / "etc/postgresql-common/createcluster.conf"
    if settings:
        path.parent.mkdir(parents=True)
        path.write_text(settings)
    script = str(ROOT / "tools/postgresql.sh")
    done = subprocess.run(["sh", script], env=bare, capture_output=True, text=True, check=True)
    assert "installing PostgreSQL" in done.stdout
    assert path.read_text() == (settings or "create_main_cluster = false\n")
    assert "install -qq --no-install-recommends postgresql" in (tmp_path / "installed").read_text()


def test_what_is_missing_is_named_and_its_tests_alone_are_left_out(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EXTRAS", raising=False)
    (line,) = system.describe_missing({"PostgreSQL": "postgresql"})
    assert line.startswith(
        "left out: the tests marked needs('PostgreSQL'), as PostgreSQL is missing: install postgresql"
    )
    (line,) = system.describe_missing({"Spark": "requirements-spark.txt"})
    assert line == "left out: the tests marked needs('Spark'), which are not asked for: make test-all EXTRAS=spark"
    item = request.node
    assert system.split([item], {"PostgreSQL": "postgresql"}) == ([item], [])
    item.add_marker(pytest.mark.needs("PostgreSQL"))
    assert system.split([item], {"Chromium": "chromium"}) == ([item], [])
    assert system.split([item], {"PostgreSQL": "postgresql"}) == ([], [item])


def test_a_chromium_that_does_not_run_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "chromium-browser").write_text("#!/bin/sh\necho install a snap\nexit 1\n")
    (tmp_path / "chromium-browser").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin" if not shutil.which("chromium", path="/bin") else str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    assert system.find_chromium.__wrapped__() == ""
    (tmp_path / "google-chrome").symlink_to(os.path.realpath(str(shutil.which("true", path="/bin:/usr/bin"))))
    assert system.find_chromium.__wrapped__() == str(tmp_path / "google-chrome")
