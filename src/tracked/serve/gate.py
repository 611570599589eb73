"""What every request passes: who may ask, what is counted, and one sentence for whatever goes wrong."""

import asyncio
import time
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tracked.console.lines import locate, warn
from tracked.serve.access import Access
from tracked.serve.bodies import ClientGone
from tracked.serve.pages import CONTENT_SECURITY_POLICY
from tracked.serve.refusals import Refusal
from tracked.serve.service import Service
from tracked.serve.statuses import encode_error

NO_PATH = "there is no such path; /docs lists all of them"
Headers = list[tuple[bytes, bytes]]
SAFE: Headers = [  # for the pages, and harmless elsewhere
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]  # fmt: skip


class Gate:
    """The outermost application.

    Args:
        paths: that there are. Routes match others, too, such as one that ends in a line break: these get no further.
        find_service: gives the service, once there is one.
    """

    def __init__(
        self,
        app: ASGIApp,
        paths: frozenset[str],
        access: Access,
        find_service: Callable[[], Service],
    ) -> None:
        self._app, self._paths, self._access, self._find_service = app, paths, access, find_service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it with what is wrong."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        service, began = self._find_service(), time.perf_counter()
        scope = {**scope, "path": _strip_prefix(scope), "root_path": "", "app": self._app}
        path = scope["path"] if scope["path"] in self._paths else "other"
        status = 0

        async def send_safely(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], *SAFE]}
            await send(message)

        service.unanswered += 1
        try:
            self._access.require(path, scope["headers"])
            if path == "other":
                raise Refusal(404, NO_PATH)
            await self._app(scope, receive, send_safely)
        except Refusal as refusal:
            await _refuse(send_safely, refusal)
        except HTTPException as error:
            await _refuse(send_safely, _explain_path(error))
        except ClientGone:
            status = 499  # as proxies call it
        except asyncio.CancelledError:  # the server ends, and waits no longer for the rest of a request
            if not status:
                await _refuse(send_safely, Refusal(503, "the endpoint ended before it could answer; ask another one"))
        except Exception as error:  # its message may hold input, and is told nobody
            warn(f"{path}: {locate(error)}")
            if not status:
                await _refuse(
                    send_safely, Refusal(500, "it cannot be answered: a fault of the endpoint, which its log names")
                )
        finally:
            service.unanswered -= 1
            service.meter.requests.labels(path, str(status)).inc()
            service.meter.seconds.labels(path).observe(time.perf_counter() - began)


def _strip_prefix(scope: Scope) -> str:
    """The path without the prefix under which a server has the application."""
    root, path = scope.get("root_path", "").rstrip("/"), str(scope["path"])
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _explain_path(error: HTTPException) -> Refusal:
    if error.status_code == 405:
        allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        return Refusal(405, f"the method is not allowed here; allowed: {allowed}", {"allow": allowed})
    return Refusal(error.status_code, NO_PATH)


async def _refuse(send: Send, refusal: Refusal) -> None:
    content = encode_error(refusal.status, refusal.message)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in refusal.headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
