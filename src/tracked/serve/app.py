"""The endpoint as an ASGI application: any server of these can run it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from tracked import __version__
from tracked.console.serve_parameters import make_serve_parameters, read_token
from tracked.experiment import Experiment
from tracked.serve.access import Access
from tracked.serve.bodies import read_body
from tracked.serve.facts import EndpointFacts
from tracked.serve.frames import Form
from tracked.serve.gate import Gate
from tracked.serve.meter import CONTENT_TYPE
from tracked.serve.openapi import make_openapi
from tracked.serve.pages import STATIC, render_docs, render_page
from tracked.serve.payloads import Rows, check_rows, parse_invocations, parse_plain
from tracked.serve.refusals import AGAIN, Refusal
from tracked.serve.service import Service

Parse: TypeAlias = Callable[[bytes, str, Sequence[str], int], Rows]
BEGIN, END = b'{"predictions": [', b"]}"
FILES = {"/page.js": "text/javascript", "/page.css": "text/css"}


class Endpoint:
    """The paths of an endpoint, over its service, which is there once the application's lifespan has begun."""

    def __init__(self, make_service: Callable[[], Service], waits: bool) -> None:
        self._make_service, self._waits = make_service, waits
        self.service: Service

    @asynccontextmanager
    async def live(self, app: Any) -> AsyncIterator[None]:
        """Begin the service, and close it at the end."""
        self.service = self._make_service()
        try:
            if self._waits:
                await self.service.began
            yield
        finally:
            await self.service.close()

    def list_routes(self) -> list[Route]:
        """List the paths with what answers them."""
        gets: dict[str, Callable[[Request], Any]] = {
            "/health": self.tell_health, "/ping": self.tell_health, "/ready": self.tell_ready,
            "/version": self.tell_version, "/metrics": self.tell_metrics, "/openapi.json": self.tell_openapi,
            "/docs": self.show_docs, "/": self.show_page, **dict.fromkeys(FILES, self.send_file),
        }  # fmt: skip
        posts = {
            "/predict": Asking(self, self._parse_plain, "answers"),
            "/explain": Asking(self, self._parse_plain, "explanation"),
            "/invocations": Asking(self, parse_invocations, "output"),
        }
        return [
            *(Route(path, answer, methods=["GET"]) for path, answer in gets.items()),
            *(Route(path, answer, methods=["POST"]) for path, answer in posts.items()),
        ]

    def _parse_plain(self, body: bytes, content_type: str, columns: Sequence[str], max_rows: int) -> Rows:
        return parse_plain(body, content_type, self.service.owner.request_name, columns, max_rows)

    def _describe(self, request: Request) -> EndpointFacts:
        return self.service.describe(str(request.base_url).rstrip("/"))

    async def tell_health(self, request: Request) -> Response:
        """Answer as long as the process lives."""
        return PlainTextResponse("alive")

    async def tell_ready(self, request: Request) -> Response:
        """Answer if requests are answered."""
        self.service.require_open()
        if not self.service.is_ready:
            raise Refusal(503, "no scorer is loaded at the moment; try again in a few seconds", AGAIN)
        return PlainTextResponse("ready")

    async def tell_version(self, request: Request) -> Response:
        """Tell which model answers."""
        version = self.service.require_pool().version
        stored = version.stored
        return JSONResponse({
            "model": stored.name or stored.uri, "version": stored.version, "uri": stored.uri, "digest": version.digest,
            "data_digest": stored.data_digest, "run_id": stored.run_id, "experiment": self.service.owner.name,
            "software": __version__,
        })  # fmt: skip

    async def tell_metrics(self, request: Request) -> Response:
        """Tell what was counted."""
        return Response(self.service.meter.render(), media_type=CONTENT_TYPE)

    async def tell_openapi(self, request: Request) -> Response:
        """Describe the endpoint for programs."""
        return JSONResponse(make_openapi(self._describe(request)))

    async def show_docs(self, request: Request) -> Response:
        """Describe the endpoint for people."""
        return HTMLResponse(render_docs(make_openapi(self._describe(request))))

    async def show_page(self, request: Request) -> Response:
        """Show the page to try the model."""
        return HTMLResponse(render_page(self._describe(request)))

    async def send_file(self, request: Request) -> Response:
        """Send a file of the page."""
        path = request.scope["path"]
        return PlainTextResponse((STATIC / path[1:]).read_text(), media_type=FILES[path])


class Asking:
    """Answers the rows of a request.

    Args:
        form: of the answers.
    """

    def __init__(self, endpoint: Endpoint, parse: Parse, form: Form) -> None:
        self._endpoint, self._parse, self._form = endpoint, parse, form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, check, let answer."""
        service = self._endpoint.service
        limits = service.parameters
        if self._form == "explanation" and not service.require_pool().ready.can_explain:
            raise Refusal(404, "answers of this model cannot be explained")
        body = await read_body(scope, receive, limits.max_body, limits.receive_timeout)
        columns = service.require_open()
        rows = self._parse(body, _find_content_type(scope), columns, limits.max_rows)
        check_rows(rows, limits.max_rows, limits.max_length, service.owner.request_name)
        if self._form == "explanation" and len(rows.rows) != 1:
            raise Refusal(422, f"{service.owner.request_name}: exactly one can be explained at a time")
        answers, version = await service.answer(
            rows.columns, rows.rows, self._form, scope.get("state", {}).get("leaving")
        )
        content = answers[0] if self._form == "explanation" else b"".join((BEGIN, b", ".join(answers), END))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
            (b"model-version", version.encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def _find_content_type(scope: Scope) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"content-type"), "")


def create_app(experiment: Experiment, *, is_local: bool = False, **parameters: Any) -> Gate:
    """Create the application for another ASGI server, which then limits connections and the time of a head.

    It has started once its model is loaded.

    Args:
        is_local: whether the server listens at a loopback address; else the environment must have ``SERVE_TOKEN``.
        parameters: of ``ServeParameters``, but the server's host and port.

    Raises:
        UserError: if one is not allowed, or the token is missing.
    """
    words = {"host": "127.0.0.1" if is_local else "0.0.0.0", **parameters}
    checked = make_serve_parameters(experiment).parse([f"--{name}={value}" for name, value in words.items()])
    token = read_token(checked)
    return make_app(lambda: Service(experiment, checked, bool(token)), Access.of(checked, token), waits=True)


def make_app(make_service: Callable[[], Service], access: Access, waits: bool = False) -> Gate:
    """Make the application; its lifespan begins and ends the service.

    Args:
        make_service: called in the server's event loop.
        waits: whether the lifespan begins once the model is loaded; else requests are refused until then.
    """
    endpoint = Endpoint(make_service, waits)
    routes = endpoint.list_routes()
    app = Router(routes, redirect_slashes=False, lifespan=endpoint.live)
    return Gate(app, frozenset(route.path for route in routes), access, lambda: endpoint.service)
