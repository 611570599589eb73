"""Describe an endpoint as an OpenAPI document: every path, what it takes, what it answers."""

from typing import Any

from tracked.serve.facts import EndpointFacts
from tracked.serve.openapi_paths import JSON_TYPE, Path, list_paths
from tracked.serve.openapi_schemas import WORD, make_schemas, ref
from tracked.serve.statuses import STATUSES

Json = dict[str, Any]
RETRIED = (429, 503, 504)  # with Retry-After
HEADERS = {
    "Model-Version": {"description": "NAME/VERSION of the model that answers.", "schema": WORD},
    "Retry-After": {"description": "Seconds after which to ask again.", "schema": {"type": "integer"}},
}


def make_openapi(facts: EndpointFacts) -> Json:
    """Make an OpenAPI 3.1 document, which can be written as JSON.

    Two extensions of the standard are for the page of the documentation: an operation that asks the model has
    ``x-limits``, a list of ``name``, ``limit``, ``what`` and ``status``; a response of an error has ``x-status``.
    """
    components: Json = {
        "schemas": make_schemas(facts),
        "responses": {status.code: _describe_error(number) for number, status in STATUSES.items()},
        "headers": HEADERS,
    }
    token, description = "", {"type": "http", "scheme": "bearer", "description": "The server's setting SERVE_TOKEN."}
    if facts.needs_token:
        token = " Paths that ask the model need a token."
        components["securitySchemes"] = {"token": description}
    about = f"Version {facts.version} of the registered model {facts.model}, SHA-256 {facts.digest}.{token}"
    return {
        "openapi": "3.1.1",
        "info": {"title": facts.model, "version": facts.version, "description": about},
        "servers": [{"url": facts.address}],
        "tags": [{"name": name} for name in ("model", "state", "pages")],
        "paths": {path.name: {path.method: _describe(path, facts.needs_token)} for path in list_paths(facts)},
        "components": components,
    }


def _describe(path: Path, needs_token: bool) -> Json:
    """Describe a path's operation."""
    is_secured = path.is_protected and needs_token
    errors = sorted({*path.errors, 401} if is_secured else path.errors)
    answer: Json = {"description": "The answer.", "content": path.answer}
    if path.tag == "model":
        answer["headers"] = {"Model-Version": ref("headers", "Model-Version")}
    optional = {
        "description": path.description,
        "requestBody": {"required": True, "content": path.body} if path.body else {},
        "x-limits": list(path.limits),
    }
    return {
        "operationId": path.name.strip("/").replace(".", "_") or "page",
        "tags": [path.tag],
        "summary": path.summary,
        "security": [{"token": []}] if is_secured else [],
        **{name: value for name, value in optional.items() if value},
        "responses": ({"200": answer} if path.answer else {})
        | {str(number): ref("responses", STATUSES[number].code) for number in errors},
    }


def _describe_error(number: int) -> Json:
    status = STATUSES[number]
    example = {"error_code": status.code, "message": status.message}
    content = {JSON_TYPE: {"schema": ref("schemas", "Error"), "example": example}}
    headers = {"Retry-After": ref("headers", "Retry-After")} if number in RETRIED else {}
    return {"description": status.when, "headers": headers, "content": content, "x-status": number}
