"""Passwords and tokens are hidden in what is printed, and nothing else is."""

import base64
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import ROOT, SRC
from tracked.console import lines, secrets
from tracked.console.errors import RunFailed, UserError
from tracked.console.parameters import Parameters, Text
from tracked.console.secrets import hide, hide_in_addresses

pytestmark = pytest.mark.unit

PASSWORD = "tr0ub4dor&/3='ü"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without files of credentials."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("'http://ann:pw@host:5000' does not answer", "'http://ann:***@host:5000' does not answer"),
        ("postgresql+psycopg2://ann:p@ss:w@db/runs", "postgresql+psycopg2://ann:***@db/runs"),
        ("https://ghp_0123456789abcdefghij@github.com/a/b", "https://***@github.com/a/b"),
        ("PUT https://s3/x?a=1&X-Amz-Signature=ab12&b=2", "PUT https://s3/x?a=1&X-Amz-Signature=***&b=2"),
        ("https://h/x?sig=ab%2F12", "https://h/x?sig=***"),
        ("{'Authorization': 'Basic YW5uOnB3', 'x': 1}", "{'Authorization': 'Basic ***', 'x': 1}"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("MlflowHostCreds(username='ann', password='pw', token='t')",
         "MlflowHostCreds(username='ann', password='***', token='***')"),
        ("connection failed: host=db user=ann password=pw dbname=runs",
         "connection failed: host=db user=ann password=*** dbname=runs"),
        ('{"aws_secret_access_key": "abc"}', '{"aws_secret_access_key": "***"}'),
        ("mssql+pyodbc:///?odbc_connect=DRIVER%3DSQL%3BUID%3Dann%3BPWD%3Dsecret&x=1",
         "mssql+pyodbc:///?odbc_connect=***&x=1"),
        ("mssql+pyodbc:///?odbc_connect=DRIVER={ODBC 18};UID=ann;PWD=my secret;Server=db",
         "mssql+pyodbc:///?odbc_connect=*** 18};UID=ann;PWD=***;Server=db"),
        ("'UID=ann;PWD=secret' failed; retry", "'UID=ann;PWD=***' failed; retry"),
        ("UID=ann; Pwd = {p;}}w} ;x", "UID=ann; Pwd = ***;x"),
        ("UID=ann;PWD=a{b  ;x", "UID=ann;PWD=***;x"),
        ("connect to PWD=secret;UID=ann", "connect to PWD=***;UID=ann"),
        ("AccountName=ann;AccountKey=ab+/c==;EndpointSuffix=net", "AccountName=ann;AccountKey=***;EndpointSuffix=net"),
        ("https://h/x?api_key=b&x-secret-key=c&AccountKey=d", "https://h/x?api_key=***&x-secret-key=***&AccountKey=***"),
        ("git+https://ghp_0123456789abcdefghij@github.com/a", "git+https://***@github.com/a"),
        ("X-Api-Key: abc, Accept: x", "X-Api-Key: ***, Accept: x"),
        ("{'X-Goog-Api-Key': 'a b', 'x': 1}", "{'X-Goog-Api-Key': '***', 'x': 1}"),
        ("{'X-Auth-Token': b'a', 'api-key': 'b'}", "{'X-Auth-Token': b'***', 'api-key': '***'}"),
        ("Authorization: ApiKey KEY", "Authorization: ApiKey ***"),
        ("{'Authorization': 'Negotiate KEY', 'x': 1}", "{'Authorization': 'Negotiate ***', 'x': 1}"),
        ("{'Authorization': None, 'x': 1}", "{'Authorization': ***, 'x': 1}"),
        ('-H "Authorization: Other KEY" http://h', '-H "Authorization: ***" http://h'),
        ('Authorization: Digest username="ann", response="ab"\nx', "Authorization: Digest ***\nx"),
        ("Authorization: AWS4-HMAC-SHA256 Credential=a/b, Signature=c", "Authorization: AWS4-HMAC-SHA256 ***"),
        ("password: 'correct horse battery', x", "password: '***', x"),
        ("login(password=\"it's a\", user='ann')", "login(password=\"***\", user='ann')"),
        (r'{"password": "a\" b", "x": ""}', '{"password": "***", "x": ""}'),
        ("password = 'cut off", "password = '***"),
    ],
)  # fmt: skip
def test_secret_is_known_by_its_place(text: str, shown: str) -> None:
    assert hide(text) == shown
    assert hide(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "epoch 3 of 10: val_loss 0.3141, 12 % done", "http://127.0.0.1:5000/#/models/name@champion",
        "https://ann@host/a, models:/diabetes@candidate", "git@github.com:owner/name.git", "sqlite:///a/mlflow.db",
        "RAY_AUTH_MODE=token", "password: a text; set MLFLOW_TRACKING_PASSWORD or MLFLOW_TRACKING_TOKEN",
        "PWD=/home/ann OLDPWD=/home", "password='', token='', x='a'", "{'password': '', 'x': 'a'}", "x-axis: a",
        "postgresql://training-service-account@db/runs", "https://h/x?partition_key=2024&sort_key=a", "s3_key=a",
        "pad_token=3 and max_tokens=400", "basic authentication, bearer of the news", "s3://bucket/a@b:c",
    ],
)  # fmt: skip
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert hide(text) == hide_in_addresses(text) == text


@pytest.mark.parametrize(
    "form",
    [
        PASSWORD, quote(PASSWORD), quote(PASSWORD, safe=""), json.dumps(PASSWORD), repr(f'"{PASSWORD}'),
        base64.b64encode(f"ann:{PASSWORD}".encode()).decode(), f"x{PASSWORD}x",
    ],
)  # fmt: skip
def test_value_of_a_setting_is_hidden_in_each_form(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"before {form} after"
    assert hide(text) == text
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    assert "tr0ub4dor" not in hide(text)
    assert base64.b64encode(b"ann:tr0ub4").decode()[:-4] not in hide(text)
    assert hide(text).startswith("before ")
    assert hide(text).endswith(" after")
    assert "ann" in hide("ann may read")


@pytest.mark.parametrize(
    "name",
    ["MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "SERVE_TOKEN", "PGPASSWORD", "MYSQL_PWD",
     "DATABRICKS_TOKEN", "AZURE_STORAGE_CONNECTION_STRING", "MLFLOW_FLASK_SERVER_SECRET_KEY", "OPENAI_API_KEY",
     "SMTP_PASS"],
)  # fmt: skip
def test_each_secret_setting_is_known(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "0123456789ab")
    assert hide("it is 0123456789ab.") == "it is ***."


@pytest.mark.parametrize(
    "name", ["PWD", "MLFLOW_TRACKING_USERNAME", "AWS_ACCESS_KEY_ID", "TOKENIZERS_PARALLELISM", "BYPASS"]
)
def test_other_settings_are_shown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "/home/ann/project")
    assert hide("in /home/ann/project") == "in /home/ann/project"


def test_short_value_and_word_do_not_mangle_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "1")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.setenv("SERVE_TOKEN", "training")
    monkeypatch.setenv("OTHER_TOKEN", "")
    assert hide("epoch 11 of 1 trainings: http://ann:1@host") == "epoch 11 of 1 trainings: http://ann:***@host"
    assert hide("Basic YW5uOjE=") == "Basic ***"
    assert hide("the token training") == "the token ***"


def test_password_in_an_address_of_the_environment_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ann:hunter2%2Fhunter2@host/mlflow")
    monkeypatch.setenv("STORE", "postgresql://bob:with/slash@db/runs")
    assert hide("hunter2/hunter2 and hunter2%2Fhunter2") == "*** and ***"
    assert hide("cannot parse 'postgresql://bob:with/slash@db/runs'") == "cannot parse 'postgresql://bob:***@db/runs'"
    monkeypatch.setenv("STORE", "http://bob:pa/ss@host")
    assert (
        hide("at http://bob:pa/ss@host/x: port is given as 'pa'") == "at http://bob:***@host/x: port is given as '***'"
    )
    monkeypatch.setenv("STORE", "http://host:5000/#/models/name@champion")
    assert hide("http://host:5000/#/models/name@champion") == "http://host:5000/#/models/name@champion"


def test_files_of_credentials_are_known_and_damaged_ones_ignored(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home / ".mlflow" / "credentials"
    path.parent.mkdir()
    path.write_text("[mlflow]\nmlflow_tracking_username = ann\nmlflow_tracking_password = hunter2-hunter2\n")
    assert hide("ann, hunter2-hunter2") == "ann, ***"
    assert hide(base64.b64encode(b"ann:hunter2-hunter2").decode()) == "***"
    path.write_text("[mlflow]\nmlflow_tracking_username = ann\nmlflow_tracking_password = another-password\n")
    assert hide("hunter2-hunter2, another-password") == "hunter2-hunter2, ***"
    path.write_bytes(b"no section \xff")
    assert hide("another-password") == "another-password"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "aws"))
    (home / "aws").write_text("[a]\naws_access_key_id = AKIA0123\naws_secret_access_key = s3cret/s3cret+x\n")
    assert hide("AKIA0123 s3cret/s3cret+x") == "AKIA0123 ***"


@pytest.mark.slow
@given(st.text(), st.text())
def test_no_text_and_no_password_raises(text: str, password: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_PASSWORD", password.replace("\0", "").encode(errors="ignore").decode())
        once = hide(text)
        assert isinstance(once, str)
        assert len(password) < 8 or "\0" in password or len(once) <= len(text) + 3 * (1 + len(text))


NOT_UTF_8 = "p\udce4sswort123"  # as Python takes the bytes p\xe4sswort123


@pytest.mark.parametrize(
    "form",
    [NOT_UTF_8, repr(NOT_UTF_8), json.dumps(NOT_UTF_8), "p%E4sswort123", "p\ufffdsswort123", "p\xe4sswort123",
     repr(b"p\xe4sswort123"), base64.b64encode(b"ann:p\xe4sswort123").decode(), f"http://ann:{NOT_UTF_8}@host"],
)  # fmt: skip
def test_value_that_is_not_utf_8_is_hidden(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", NOT_UTF_8)
    shown = hide(f"before {form} after")
    assert "sswort" not in shown
    assert form not in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")


def test_form_that_cannot_be_made_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    found = frozenset({"p\ud800sswort123"}), frozenset({("ann", "\ud800"), ("bob", "hunter2")})
    monkeypatch.setattr(secrets, "_find", lambda: found)
    assert hide("p\ud800sswort123, Ym9iOmh1bnRlcjI=") == "***, ***"


def test_failing_search_for_secrets_leaves_those_known_by_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise UnicodeEncodeError("utf-8", "hunter2-hunter2", 0, 1, "no")

    monkeypatch.setattr(secrets, "_find", fail)
    assert hide("at http://ann:pw@host, password='pw'") == "at http://ann:***@host, password='***'"


def test_verb_takes_a_setting_that_is_not_utf_8() -> None:
    command = [sys.executable, str(ROOT / "examples/diabetes/diabetes.py"), "train", "--patience", "-1"]
    usual, done = (
        subprocess.run(command, env={**os.environ, **more}, capture_output=True, timeout=120)
        for more in ({}, {"WIFI_PASSWORD": NOT_UTF_8})
    )
    assert done.returncode == usual.returncode == 2
    assert done.stderr == usual.stderr
    assert done.stdout == usual.stdout == b""
    assert usual.stderr.startswith(b"error: patience: '-1' is not allowed; allowed: ")
    assert usual.stderr.count(b"\n") == 1


def test_settings_may_change_meanwhile() -> None:
    ended = threading.Event()

    def change() -> None:
        while not ended.is_set():
            os.environ.update({f"OF_A_TEST_{number}": "x" for number in range(50)})
            for number in range(50):
                os.environ.pop(f"OF_A_TEST_{number}")

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            assert hide("a line") == "a line"
    finally:
        ended.set()
        thread.join()


@pytest.mark.slow
def test_long_text_takes_no_long_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    code = "import sys\nfrom tracked.console.secrets import hide\nfor text in sys.argv[1:]:\n"
    code += "    hide(text * (400_000 // len(text)))"
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    texts = ["a", "://a:", "x_", "password", "://", "a.", "x-", "a-a ", ";PWD=", "PWD=", " PWD=", ";PWD={", "://?"]
    texts += ["password='", "token='", "password: '\"", "authorization:", '="', 'authorization: ="', "authorization=\n"]
    command = [sys.executable, "-c", code, *texts]
    assert subprocess.run(command, env=environment, timeout=60).returncode == 0


def test_errors_and_lines_have_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    for error in (UserError("at http://a:secret@h"), RunFailed("at http://a:secret@h"), UserError(UserError("x"))):
        assert "secret" not in str(error)
        assert "secret" not in repr(error)
    assert "sec" not in lines.one_line(ValueError("x" * 280 + " http://a:secret-that-is-cut@h"))  # hidden, then cut
    lines.say("at http://a:secret@h")
    lines.warn("at http://a:secret@h")
    lines.draw("at http://a:secret@h")
    lines.erase()
    out, err = capsys.readouterr()
    assert "secret" not in out + err
    assert "a:***@h" in out
    assert "a:***@h" in err


def test_what_a_library_prints_is_retold_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    @lines.retold()
    def fail() -> None:
        print("View run at: http://ann:secret@host")
        raise RunFailed("away")

    with pytest.raises(RunFailed):
        fail()
    with lines.retold():
        pass
    assert capsys.readouterr().out == "View run at: http://ann:***@host\n"


PROGRAM = """
import logging, sys, threading, traceback, warnings
logging.basicConfig()  # before: it keeps the stream
from tracked.console import entry
def verb(argv, signals):
    secret = sys.stdin.read()
    print("printed", secret)
    sys.stdout.writelines([f"written {secret}\\n"])
    logging.warning("logged %s", secret)
    warnings.warn(f"warned {secret}")
    def fail():
        raise ValueError(f"in a thread {secret}")
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    try:
        fail()
    except ValueError as error:
        traceback.print_exc()
        raise KeyError(f"a bug {secret}") from error
entry.run(verb)
"""


def test_whatever_python_prints_has_no_secret() -> None:
    environment = {**os.environ, "PYTHONPATH": str(SRC), "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    for told, shown in ((PASSWORD, "***"), ("http://a:pw-short@h", "http://a:***@h")):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, input=told, capture_output=True, text=True, timeout=60
        )
        for part in ("tr0ub4dor", "pw-short"):
            assert part not in done.stdout + done.stderr
        assert done.stdout == f"printed {shown}\nwritten {shown}\n"
        for what in ("logged", "warned", "in a thread", "a bug"):
            assert f"{what} {shown}" in done.stderr
        assert done.returncode == 1


class Given(Parameters):
    data: Annotated[Text, "of the rows"] = "default-word"


@pytest.mark.parametrize("value", ["https://ann:pw@host/rows.csv", "hunter2-hunter2", "x?token=abc://h?token=abc"])
def test_parameter_with_a_secret_is_refused_without_it(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2-hunter2")
    with pytest.raises(UserError, match="holds a password or a token") as error:
        Given.parse([f"--data={value}"])
    assert "pw@" not in str(error.value)
    assert "hunter2" not in str(error.value)
    assert "=abc" not in str(error.value).partition("://")[2]


def test_parameter_that_only_its_default_holds_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "default-word")
    assert Given.parse(["--data=default-word"]).data == "default-word"
    for value in ("https://ann@host/rows.csv", "https://host/rows.csv?partition_key=2024"):
        assert Given.parse([f"--data={value}"]).data == value


def test_search_finds_what_the_settings_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    assert PASSWORD in secrets.find_values()
