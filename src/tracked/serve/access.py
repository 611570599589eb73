"""Who may ask: the Host and the Origin that a request names, and its token."""

import hmac
from dataclasses import dataclass
from typing import Any

from tracked.console.executors import AUTO
from tracked.serve.refusals import Refusal

LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
PROTECTED = frozenset({"/predict", "/invocations", "/explain", "/metrics"})  # the paths that need the token
PROBES = frozenset({"/health", "/ping", "/ready"})  # asked by whatever name a machine has


@dataclass(frozen=True)
class Access:
    """The rules of one endpoint.

    Args:
        hosts: that a request may name, in lower case without ports; None for any.
        token: that requests to ``PROTECTED`` need; empty for none.
    """

    hosts: frozenset[str] | None
    token: str = ""

    @classmethod
    def of(cls, parameters: Any, token: str) -> "Access":
        """Make the rules of a ``ServeParameters``."""
        given = set() if parameters.hosts == AUTO else {name.strip().lower() for name in parameters.hosts.split(",")}
        if not parameters.is_local:
            return cls(frozenset(given) or None, token)
        own = parameters.host.lower()
        return cls(LOCAL | {f"[{own}]" if ":" in own else own} | given, token)

    def require(self, path: str, headers: list[tuple[bytes, bytes]]) -> None:
        """Refuse a request that may not be answered.

        A page of another site cannot make a browser ask: its name would be in Origin, or, if that name was made to
        mean this machine, in Host.

        Raises:
            Refusal: with what is wrong.
        """
        if path in PROBES:
            return
        host = origin = authorization = b""
        for name, value in headers:
            if name == b"host":
                host = value
            elif name == b"origin":
                origin = value
            elif name == b"authorization":
                authorization = value
        if self.hosts is not None and _strip_port(host.decode("latin-1").lower()) not in self.hosts:
            raise Refusal(403, "the name in Host is not allowed; the parameter hosts of the endpoint adds names")
        if origin and (not host or origin.partition(b"://")[2].lower() != host.lower()):
            raise Refusal(403, "pages of other sites may not ask: Origin differs from Host")
        if self.token and path in PROTECTED:
            scheme, _, given = authorization.partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self.token.encode()):
                raise Refusal(
                    401,
                    "the token is missing or wrong; send the header Authorization: Bearer TOKEN",
                    {"www-authenticate": "Bearer"},
                )


def _strip_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() and not name.endswith(":") else host
