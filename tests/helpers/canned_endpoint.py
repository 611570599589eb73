"""Serve an endpoint's pages with answers that a test gives, under the headers that the pages must live with."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from helpers.endpoint_facts import make_facts
from tracked.serve.facts import EndpointFacts
from tracked.serve.openapi import make_openapi
from tracked.serve.pages import CONTENT_SECURITY_POLICY, STATIC, render_docs, render_page

HEADERS = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "X-Content-Type-Options": "nosniff"}


@dataclass
class CannedEndpoint:
    """What is served: ``answers`` are status and body by path; ``asked`` collects path, token header and body."""

    uri: str = ""
    facts: EndpointFacts = field(default_factory=make_facts)
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str | None, Any]] = field(default_factory=list)
    may_answer: threading.Event = field(default_factory=threading.Event)

    def make_app(self) -> Starlette:
        async def page(request: Request) -> Response:
            return HTMLResponse(render_page(self.facts), headers=HEADERS)

        async def docs(request: Request) -> Response:
            return HTMLResponse(render_docs(make_openapi(self.facts)), headers=HEADERS)

        async def file(request: Request) -> Response:
            return FileResponse(STATIC / request.url.path.strip("/"), headers=HEADERS)

        async def answer(request: Request) -> Response:
            path = request.url.path
            self.asked.append((path, request.headers.get("authorization"), json.loads(await request.body())))
            await asyncio.to_thread(self.may_answer.wait, 60)
            status, body = self.answers[path]
            named = HEADERS | {"Model-Version": "moods/4"}
            return (HTMLResponse if isinstance(body, str) else JSONResponse)(body, status, headers=named)

        pages = [Route("/", page), Route("/docs", docs), Route("/page.js", file), Route("/page.css", file)]
        return Starlette(routes=[*pages, *(Route(path, answer, methods=["POST"]) for path in ("/predict", "/explain"))])


@contextmanager
def serve_canned() -> Iterator[CannedEndpoint]:
    """Serve a canned endpoint of 127.0.0.1 from a thread."""
    endpoint = CannedEndpoint()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(endpoint.make_app(), log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while thread.is_alive() and not server.started:
            time.sleep(0.01)
        endpoint.uri = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            yield endpoint
        finally:
            endpoint.may_answer.set()
            server.should_exit = True
            thread.join()
