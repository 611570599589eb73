"""Hide passwords and tokens in what people read and in what is stored. Names of users are shown.

A secret is known by its place in a text (an address, a header, ``password=``) or by its value: of a setting such as
MLFLOW_TRACKING_PASSWORD, of an address in the environment, or of a file of credentials. A value of few characters is
hidden by its place alone, as it would stand in many other words too.
"""

import base64
import configparser
import html
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote

MASK = "***"
SHORTEST = 8  # characters of a value that is hidden wherever it stands
BYTES = "surrogateescape"  # how Python takes a setting's bytes that are not UTF-8
LONG_NAME = 20  # characters of the name in a web address without a password, from which it is taken for a token
FILES = {"MLFLOW": "~/.mlflow/credentials", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
         "DATABRICKS_CONFIG_FILE": "~/.databrickscfg"}  # fmt: skip
USER, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"

_KEY = "(?:secret|access|account|api|private|encryption|signing|master|shared|subscription)[_-]?key"
_SETTING = re.compile(
    rf"(PASSWORD|PASSWD|PASSPHRASE|_PASS|TOKEN|SECRET|CONNECTION_STRING|{_KEY})$|^MYSQL_PWD$", re.IGNORECASE
)
# Of an address: up to its last @, as clients split it; without its scheme, whose length would cost time.
_IN_ADDRESS = re.compile(r"""(://[^\s/?#:@'"<>]*:)([^\s/?#'"<>]+)@""")
_TOKEN_ALONE = re.compile(rf"""(https?://)[^\s/?#:@'"<>]{{{LONG_NAME},}}@""", re.IGNORECASE)
_IN_QUERY = re.compile(
    r"""([?&](?:token|sig|signature|x-amz-signature|x-amz-security-token|x-amz-credential|\w*password|\w*secret"""
    rf"""|\w*_token|[\w-]*{_KEY}|odbc_connect)=)[^\s&#'"<>\\]+""", re.IGNORECASE,
)  # fmt: skip
# As SQLAlchemy splits an address: its password may have a slash.
_OF_DATABASE = re.compile(r"[\w.+-]+://([^:/]*):([^@]*)@")
# Beside a semicolon, as in a connection string of ODBC: elsewhere, PWD is the working folder.
_IN_CONNECTION = re.compile(
    r"""((?<=;)\s?PWD\s?=\s?)(?:\{(?:[^}\n]|\}\})*\}?(?:[ \t]*(?=;))?|[^;\n'"]+(?=;)|[^;\s'"]+)"""
    r"""|((?<![^\s'"?])PWD=)[^;\s'"]+(?=;)""", re.IGNORECASE,
)  # fmt: skip
_IN_QUOTES = r"""(?:\\.|(?!(?P=quote))[^\\\n])+"""
_BY_NAME = re.compile(
    rf"""(\b\w*(?:password|passwd|passphrase|secret|{_KEY}"""
    r"""|(?:access|auth|session|security|tracking|api|refresh|bearer)_?token|token(?==['"]))"""
    rf"""(?:['"]?\s?[:=]\s?b?(?P<quote>['"])|=|['"]: ?))(?(quote){_IN_QUOTES}|[^\s'",;&)}}\]]+)""", re.IGNORECASE,
)  # fmt: skip
# A value in no quotes is one word after some schemes, and the rest of the line after others.
_IN_HEADER = re.compile(
    r"""((?:\bauthorization(?P<line>:[ \t]*(?!b?['"]))|(?:\bauthorization"""
    r"""|(?<![\w-])(?:x-[\w-]*(?:key|token|secret)|api-key))['"]?\s*[:=]\s*(?:b?(?P<quote>['"]))?)"""
    r"""(?:(?P<word>(?:basic|bearer|token|api-?key|negotiate|ntlm|sharedkey)\s+)"""
    r"""|(?:digest|oauth|hmac|aws4-hmac-sha256)\s+)?)"""
    rf"""(?(quote){_IN_QUOTES}|(?(word)[^\s'",]+|(?(line)(?:="[^"\n]*"|[^\n'"])+|[^\s'",&]+)))""", re.IGNORECASE,
)  # fmt: skip


def hide(text: str) -> str:
    """Replace every secret in a text for people by ``***``; never raises, and a second time changes nothing."""
    text = _IN_CONNECTION.sub(rf"\1\2{MASK}", hide_known(text))
    return _IN_HEADER.sub(rf"\1{MASK}", _BY_NAME.sub(rf"\1{MASK}", text))


def hide_known(text: str) -> str:
    """Replace the secrets of addresses, and those that this process knows; not what a name says to be one."""
    with suppress(Exception):  # no setting may end a verb; what a place shows is hidden still
        if pattern := _compile(*_find()):
            text = pattern.sub(MASK, text)
    return hide_in_addresses(text)


def hide_in_addresses(text: str) -> str:
    """Replace the secrets of addresses alone: safe for a text that a program reads again."""
    if "://" not in text:
        return text
    text = _TOKEN_ALONE.sub(rf"\1{MASK}@", _IN_ADDRESS.sub(rf"\1{MASK}@", text))
    return _IN_CONNECTION.sub(rf"\1\2{MASK}", _IN_QUERY.sub(rf"\1{MASK}", text))


def _find() -> tuple[frozenset[str], frozenset[tuple[str, str]]]:
    """Find the secrets, and the pairs of name and password that clients send."""
    values, pairs = set[str](), set[tuple[str, str]]()
    stored = dict(_read_files())
    for name in list(os.environ):
        value = os.environ.get(name, "")  # another thread may have removed it
        if _SETTING.search(name):
            values.add(value)
        if "://" in value and "@" in value:
            pairs.update(_split_address(value))
    values.update(value for name, value in stored.items() if _SETTING.search(name))
    user, password = (os.environ.get(name) or stored.get(name.lower(), "") for name in (USER, PASSWORD))
    if password:
        pairs.add((user, password))
    return frozenset(values | {password for _, password in pairs}), frozenset(pairs)


def find_values() -> set[str]:
    """Find the secrets that this process knows."""
    return set(_find()[0])


def _split_address(address: str) -> Iterator[tuple[str, str]]:
    if match := _IN_ADDRESS.search(address):
        user, password = match[1][3:-1], match[2]
    elif (match := _OF_DATABASE.match(address)) and not _split_off(match[2]).isdecimal():  # it is no port
        user, password = match[1], match[2]
    else:
        return
    yield user, password
    yield unquote(user), unquote(password)


def _split_off(password: str) -> str:
    """Split off what comes before a character that ends an address's host."""
    return re.split("[/?#]", password)[0]


def _read_files() -> Iterator[tuple[str, str]]:
    for setting, default in FILES.items():
        with suppress(OSError, RuntimeError):  # RuntimeError: the home is unknown
            path = Path(os.environ.get(setting) or default).expanduser()
            state = path.stat()
            yield from _read_file(str(path), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _read_file(path: str, changed: int, size: int) -> tuple[tuple[str, str], ...]:
    """Read all values of a file of credentials; empty if it cannot be read."""
    file = configparser.RawConfigParser()
    try:
        file.read(path)
    except (configparser.Error, OSError, UnicodeDecodeError):
        return ()
    return tuple((name, value) for section in file.values() for name, value in section.items())


@lru_cache(maxsize=8)
def _compile(values: frozenset[str], pairs: frozenset[tuple[str, str]]) -> re.Pattern[str] | None:
    """Make the pattern of all forms of the secrets; None without any."""
    forms = set[str]()
    for value in values:
        if len(value) >= SHORTEST:
            forms.update(map(_escape, _encode(value)))
    for pair in pairs:
        with suppress(UnicodeError):
            plain = ":".join(pair).encode(errors=BYTES)
            for encoded in (base64.b64encode(plain), base64.urlsafe_b64encode(plain)):
                forms.add(re.escape(encoded.decode().rstrip("=")) + "=*")
        forms.add(rf"(?<=:){re.escape(pair[1])}(?=@)")  # in an address that is none by the rules, whatever its length
        if (begin := _split_off(pair[1])) != pair[1]:  # Python takes it for a port, and tells it
            forms.add(rf"(?<=as '){re.escape(begin)}(?=')")
    return re.compile("|".join(sorted(forms, key=len, reverse=True))) if forms else None


def _encode(value: str) -> Iterator[str]:
    """Give the forms in which texts may hold a value, without those that cannot be made of it."""
    for make in _FORMS:
        with suppress(UnicodeError):
            yield make(value)


_FORMS: tuple[Callable[[str], str], ...] = (
    str,
    lambda value: quote(value, errors=BYTES),
    lambda value: quote(value, safe="", errors=BYTES),
    lambda value: quote_plus(value, errors=BYTES),
    html.escape,
    lambda value: json.dumps(value)[1:-1],
    lambda value: repr(value)[1:-1],
    lambda value: repr(f'"{value}')[2:-1],  # among both kinds of quotes, Python escapes one of them
    # Of a value that is not UTF-8, as others show it.
    lambda value: value.encode(errors=BYTES).decode(errors="replace"),
    lambda value: value.encode(errors=BYTES).decode("latin-1"),
    lambda value: repr(value.encode(errors=BYTES))[2:-1],
)


def _escape(form: str) -> str:
    # Of letters alone, it may be a part of other words: then it is not the secret.
    return rf"(?<![^\W_]){re.escape(form)}(?![^\W_])" if form.isalpha() else re.escape(form)


def hide_in_streams() -> None:
    """Hide secrets in all that this process prints from now on: tracebacks, warnings, what libraries log or print.

    Not in what C++ code prints, nor what another process does.
    """
    for stream in (sys.stdout, sys.stderr):
        # Of the stream itself, since a library may keep it: another one in its place would be passed by.
        if stream is not None and not isinstance(getattr(stream, "write", None), _HidingWrite):
            with suppress(AttributeError):  # a stream that takes no attributes
                stream.write = _HidingWrite(stream.write)  # type: ignore[method-assign]


@dataclass(frozen=True)
class _HidingWrite:
    former: Callable[[str], int]

    def __call__(self, text: str) -> int:
        self.former(hide(text))
        return len(text)
