"""Parameters of an endpoint: what is refused before anything slow is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from helpers import SRC
from helpers.adding import Adder
from tracked.console.errors import UserError
from tracked.console.serve_parameters import ServeParameters, make_serve_parameters, read_token
from tracked.console.signals import Signals
from tracked.experiment import Experiment
from tracked.verbs import serve

pytestmark = pytest.mark.unit

TOKEN = "0123456789abcdef"


def parse(*words: str) -> ServeParameters:
    parsed: ServeParameters = make_serve_parameters(Adder).parse([f"--{word}" for word in words])
    return parsed


def test_defaults_are_the_experiments() -> None:
    parameters = parse()
    assert parameters.model == "models:/adder@champion"
    assert (parameters.host, parameters.port, parameters.hosts) == ("127.0.0.1", 5050, "auto")
    assert "The pairs of a request" in str(make_serve_parameters(Adder).model_fields["max_rows"].description)


class OwnParameters(ServeParameters):
    """Serve with a limit of the experiment's own."""

    temperature: float = 1.0


def test_own_parameters_of_an_experiment_are_added() -> None:
    class Warm(Adder):
        ServeParameters = OwnParameters

    assert make_serve_parameters(Warm).parse(["--temperature=2"]).temperature == 2
    with pytest.raises(UserError, match="temperature: unknown parameter"):
        parse("temperature=2")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["max_rows=1000", "max_waiting=999"], "max_waiting: '999' is not allowed; allowed: max_rows, 1000, or more"),
        (["max_rows=2001"], "max_waiting: '2000' is not allowed; allowed: max_rows, 2001, or more"),
        (["model=adder"], "model: 'adder' is not allowed; allowed: models:/NAME@ALIAS, "),
        (["port=65536"], "port: '65536' is not allowed; allowed: a whole number from 0 to 65535"),
        (["workers=0"], "workers: '0' is not allowed; allowed: a whole number from 1 to 256"),
        (["reload=-1"], "reload: '-1' is not allowed; allowed: a whole number from 0 to "),
        (["timeout=0"], "timeout: '0' is not allowed; allowed: a whole number from 1 to 3600"),
        (["receive_timeout=0"], "receive_timeout: '0' is not allowed; allowed: a whole number from 1 to 3600"),
        (["drain=3601"], "drain: '3601' is not allowed; allowed: a whole number from 0 to 3600"),
        (["max_body=0"], "max_body: '0' is not allowed"),
        (["max_connections=0"], "max_connections: '0' is not allowed"),
        (["host="], "host: '' is not allowed"),
        (["hosts="], "hosts: '' is not allowed; allowed: auto, or names of hosts separated by commas, without ports"),
        (["hosts=a,,b"], "hosts: 'a,,b' is not allowed"),
        (["hosts=a b"], "hosts: 'a b' is not allowed"),
        (["hosts=http://a"], "hosts: 'http://a' is not allowed"),
        (["colour=red"], "colour: unknown parameter (given 'red')"),
    ],
)
def test_mistake_is_told_in_one_line(words: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(*words)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_as_many_rows_as_may_wait_are_allowed() -> None:
    assert parse("max_rows=1000", "max_waiting=1000").max_waiting == 1000
    assert parse("hosts=a.example.com, [::1],b").hosts == "a.example.com, [::1],b"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_address_of_this_machine_needs_no_token(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERVE_TOKEN", raising=False)
    assert (parse(f"host={host}").is_local, read_token(parse(f"host={host}"))) == (True, "")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", "localhost.example.com", "LOCALHOST."])
def test_address_that_others_reach_needs_a_token(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVE_TOKEN", "")
    with pytest.raises(UserError, match=f"^host: '{host}' is not allowed without SERVE_TOKEN in the environment, "):
        read_token(parse(f"host={host}"))
    monkeypatch.setenv("SERVE_TOKEN", TOKEN)
    assert read_token(parse(f"host={host}")) == TOKEN


def test_names_of_a_proxy_need_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVE_TOKEN", "")
    with pytest.raises(UserError, match=r"^hosts: 'a\.example\.com' is not allowed without SERVE_TOKEN in the environ"):
        read_token(parse("hosts=a.example.com"))
    monkeypatch.setenv("SERVE_TOKEN", TOKEN)
    assert read_token(parse("hosts=a.example.com")) == TOKEN


@pytest.mark.parametrize("token", [TOKEN[:-1], "a b c d e f g h i", f"{TOKEN}\n", f"{TOKEN} ", f"{TOKEN}é", "é" * 16])
def test_token_that_is_short_or_no_header_can_hold_is_refused_and_not_shown(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVE_TOKEN", token)
    for host in ("127.0.0.1", "0.0.0.0"):
        with pytest.raises(UserError) as caught:
            read_token(parse(f"host={host}"))
        expected = "SERVE_TOKEN: its value is not allowed; allowed: 16 or more characters of ASCII without blanks"
        assert str(caught.value) == expected


@pytest.mark.parametrize("token", [TOKEN, "!~" * 8, "Ab+/=" * 20])
def test_token_of_16_or_more_characters_is_taken(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVE_TOKEN", token)
    assert read_token(parse()) == token


@pytest.mark.parametrize("words", [["--max_waiting=1"], ["--host=0.0.0.0"], ["--port=x"]])
def test_mistake_is_told_before_anything_slow_is_imported(words: list[str]) -> None:
    code = (
        "import sys\nfrom helpers.adding import Adder\nfrom tracked.verbs import serve\nbefore = {*sys.modules}\n"
        f"try:\n    serve.main(Adder(None), {words!r}, None)\nexcept ValueError as error:\n    print(error)\n"
        "slow = {'mlflow', 'tensorflow', 'keras', 'uvicorn', 'starlette', 'prometheus_client'}\n"
        "print(sorted(slow & {*sys.modules} - before))"
    )
    tests = SRC.parent / "tests"
    command = [sys.executable, "-c", code]
    env = {"PYTHONPATH": f"{SRC}:{tests}", "PATH": ""}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    line, imported = done.stdout.splitlines()
    assert line.startswith(words[0][2:].partition("=")[0])
    assert imported == "[]"


def test_experiment_that_cannot_serve_is_refused() -> None:
    class Silent(Adder):
        open_scorer = Experiment.open_scorer

    with pytest.raises(UserError, match="'adder' lacks open_scorer"):
        serve.main(Silent(Path()), [], Signals())
