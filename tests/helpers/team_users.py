"""Make the users of a server with basic-auth, and give them rights, as its administrator."""

import base64
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

ADMIN = "admin"


def make_password() -> str:
    """A random password; MLflow asks for 12 characters."""
    return secrets.token_urlsafe(18)


@dataclass
class Users:
    """The users of a server, the administrator first, with their passwords."""

    uri: str
    passwords: dict[str, str] = field(default_factory=lambda: {ADMIN: make_password()}, repr=False)

    def add_user(self, name: str) -> str:
        """Make a user without rights of its own; return the password."""
        self.passwords[name] = make_password()
        self.call("POST", "2.0/mlflow/users/create", {"username": name, "password": self.passwords[name]})
        return self.passwords[name]

    def grant(self, user: str, kind: str, resource: str, permission: str) -> None:
        """Give a user a right, in place of a former one.

        Args:
            kind: experiment or registered_model.
            resource: the experiment's id or the model's name; * for all of them.
            permission: READ, USE, EDIT, MANAGE; NO_PERMISSIONS denies what the default and an ownership allow.
        """
        level = "DENY" if permission == "NO_PERMISSIONS" else permission
        with suppress(urllib.error.HTTPError):  # it has none so far
            self.revoke(user, kind, resource)
        self._call_permissions("grant", user, kind, resource, permission=level)

    def revoke(self, user: str, kind: str, resource: str) -> None:
        """Take a user's own right back: the default is left."""
        self._call_permissions("revoke", user, kind, resource)

    def change_password(self, name: str) -> str:
        """Give a user another password; return it."""
        self.passwords[name] = make_password()
        self.call("PATCH", "2.0/mlflow/users/update-password", {"username": name, "password": self.passwords[name]})
        return self.passwords[name]

    def environment(self, user: str) -> dict[str, str]:
        """MLflow's settings of a user."""
        return {
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_TRACKING_USERNAME": user,
            "MLFLOW_TRACKING_PASSWORD": self.passwords[user],
        }

    def call(self, method: str, path: str, content: Mapping[str, Any], user: str = ADMIN) -> Any:
        """Call the server's interface below /api.

        Raises:
            urllib.error.HTTPError: if it refuses.
        """
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        token = base64.b64encode(f"{user}:{self.passwords[user]}".encode()).decode()
        headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.uri}/api/{path}", json.dumps(content).encode(), headers, method=method)
        with direct.open(request, timeout=60) as answer:
            return json.loads(answer.read() or b"{}")

    def _call_permissions(self, verb: str, user: str, kind: str, resource: str, **more: str) -> None:
        content = {"username": user, "resource_type": kind, "resource_id": resource, **more}
        self.call("POST", f"3.0/mlflow/users/permissions/{verb}", content)
