"""Name the user that a server sees, and explain why it turned a request away."""

import base64
import json
import time
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import unquote, urlsplit

from mlflow.exceptions import MlflowException

UNKNOWN = {"UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"}  # the server does not know who asks (HTTP's 401)
NO_RIGHT = {"PERMISSION_DENIED"}  # it knows, and refuses (HTTP's 403)
TOKEN, USERNAME, PASSWORD = "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"


def read_status(error: BaseException | None) -> int:
    """Return 401 or 403 if a server turned the request away for that; the HTTP status of a refused file; else 0.

    MLflow raises its own errors for the store's calls, and those of requests for artifacts.
    """
    if isinstance(error, MlflowException):
        return 401 if error.error_code in UNKNOWN else 403 if error.error_code in NO_RIGHT else 0
    answer = getattr(error, "response", None)  # of an HTTPError of the package that MLflow sends files with
    return int(getattr(answer, "status_code", 0))


def is_denied(error: BaseException | None) -> bool:
    """Whether a server refused a call for want of valid credentials or of a right: both may be given back."""
    return read_status(error) in (401, 403)


def name_user(address: str) -> str:
    """Name for a sentence who asks a server, as MLflow's settings say; the password and the token are not shown."""
    user, token = _read(address)
    if user:
        return f"user {user!r}"
    return f"the owner of {TOKEN}" if token else f"somebody without {USERNAME}"


def explain_unreadable(parameter: str, what: str, kind: str, address: str) -> str:
    """Explain in a line why something cannot be read: a server with users says 403 of what does not exist, too.

    Args:
        kind: what else may be named, as "a run".
    """
    who = name_user(address)
    return (
        f"{parameter}: {who} may not read {what} (403), or it does not exist; allowed: {kind} with READ for this user"
    )


def explain_unknown(address: str) -> str:
    """Explain in a line, which begins with the setting to change, why a server does not know who asks."""
    user, token = _read(address)
    if user and user == unquote(urlsplit(address).username or ""):
        return (
            f"MLFLOW_TRACKING_URI: {address!r} knows no user {user!r} with this password (401); allowed: an address "
            f"with a user of the server and the password, or {USERNAME} and {PASSWORD} without them"
        )
    if user:
        return (
            f"{USERNAME}, {PASSWORD}: {address!r} knows no user {user!r} with this password (401); allowed: a user of "
            "this server, with the password"
        )
    if token:
        return (
            f"{TOKEN}: {address!r} does not accept this token (401), {_tell_expiry(token)}; allowed: a valid token, or "
            f"{USERNAME} and {PASSWORD}"
        )
    return f"{USERNAME}: {address!r} asks who you are (401); set {USERNAME} and {PASSWORD}, or {TOKEN}"


def _read(address: str) -> tuple[str, str]:
    """The user and the token that MLflow sends to a server, as it chooses them; a user comes before a token."""
    with suppress(Exception):  # not of MLflow's documented interface; the sentence is then about neither
        from mlflow.utils.credentials import get_default_host_creds

        found = get_default_host_creds(address)
        if found.username and found.password:
            return str(found.username), ""
        if found.token:
            return "", str(found.token)
    return unquote(urlsplit(address).username or ""), ""  # requests sends what the address has


def _tell_expiry(token: str) -> str:
    """Tell when a token expired, if it says so itself (a JSON Web Token)."""
    with suppress(ValueError, IndexError, TypeError, AttributeError, OverflowError, OSError):
        body = token.split(".")[1]
        expiry = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"]
        if expiry < time.time():
            return f"which expired at {datetime.fromtimestamp(expiry, UTC):%Y-%m-%d %H:%M} UTC"
    return "which is wrong or has expired"
