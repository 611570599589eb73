"""List an endpoint's paths: what each takes and answers, and its errors."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tracked.serve.facts import EndpointFacts
from tracked.serve.openapi_examples import make_answers, make_csv, make_explanation, make_invocations, make_request
from tracked.serve.openapi_schemas import WORD, describe_limits, ref
from tracked.serve.statuses import LIMITS

Json = dict[str, Any]
ASKED = (400, 403, 408, 413, 415, 422, 429, 500, 503, 504)  # errors of a path that asks the model
JSON_TYPE = "application/json"
PACKED = "The body may be packed: Content-Encoding is then gzip or deflate."


@dataclass(frozen=True)
class Path:
    """A path with its one method.

    ``answer`` is the content of status 200, empty where it never comes; ``errors`` are without the token's 401, which
    ``is_protected`` adds.
    """

    name: str
    tag: str
    summary: str
    answer: Json
    description: str = ""
    method: str = "get"
    body: Json | None = None
    errors: Sequence[int] = (403,)
    is_protected: bool = False
    limits: Sequence[Json] = ()


def list_paths(facts: EndpointFacts) -> list[Path]:
    """List all paths, the model's first."""
    return [*_list_asking(facts), *_list_telling(facts), *_list_pages()]


def _list_asking(facts: EndpointFacts) -> Iterator[Path]:
    limits = [
        {"name": name, "limit": facts.limits[name], "what": what.format(rows=facts.rows), "status": status}
        for name, (what, status) in LIMITS.items()
        if name in facts.limits
    ]
    words = describe_limits(facts, facts.limits.get("max_rows"))
    predict = Path(
        name="/predict",
        tag="model",
        summary=f"Answer one or more {facts.rows}",
        answer=_content("Answers", {"predictions": make_answers(facts)}),
        description=f"Answers come in the order of the {facts.rows}. {words} {PACKED}",
        method="post",
        body=_content("Rows", make_request(facts)),
        errors=ASKED,
        is_protected=True,
        limits=limits,
    )
    forms = {name: {"value": value} for name, value in make_invocations(facts).items()}
    invocation = {JSON_TYPE: {"schema": ref("schemas", "Invocation"), "examples": forms}}
    yield predict
    yield replace(
        predict,
        name="/invocations",
        summary="Answer in MLflow's form",
        answer=_content("Outputs", {"predictions": [0.5 for _ in facts.example]}),
        description=f"Takes and gives what MLflow's own server does, but no params and no further columns. {words} "
        f"{PACKED} The output below is made up.",
        body=invocation | {"text/csv": {"schema": WORD, "example": make_csv(facts)}},
    )
    explain = replace(predict, name="/explain", summary=f"Explain the answer to one {facts.row}", errors=(*ASKED, 404))
    if facts.can_explain:
        yield replace(
            explain,
            answer=_content("Explanation", make_explanation(facts)),
            description=f"{describe_limits(facts, 1)} {PACKED} The effects below are made up.",
            body=_content("OneRow", make_request(facts, 1)),
            limits=[limit for limit in limits if limit["name"] != "max_rows"],
        )
    else:
        never = "This model cannot explain its answers: the status is 404."
        yield replace(explain, answer={}, description=never, body=None, errors=(403, 404, 503), limits=())


def _list_telling(facts: EndpointFacts) -> Iterator[Path]:
    named = _content("Version", {"model": facts.model, "version": facts.version, "digest": facts.digest})
    yield Path("/version", "state", "Name the model that answers", named)
    yield Path("/health", "state", "Tell whether the server lives", _text("plain"))
    yield Path("/ping", "state", "Tell whether the server lives, as MLflow's own server does", _text("plain"))
    yield Path("/ready", "state", "Tell whether the model can answer", _text("plain"), errors=(503,))
    yield Path("/metrics", "state", "Give counts and times to Prometheus", _text("plain"), is_protected=True)


def _list_pages() -> Iterator[Path]:
    yield Path("/", "pages", "Show a page that asks the model", _text("html"))
    yield Path("/page.js", "pages", "Give that page's script", _text("javascript"))
    yield Path("/page.css", "pages", "Give the pages' style", _text("css"))
    yield Path("/docs", "pages", "Show this description", _text("html"))
    yield Path(
        "/openapi.json", "pages", "Give this description to programs", {JSON_TYPE: {"schema": {"type": "object"}}}
    )


def _content(schema: str, example: Mapping[str, Any]) -> Json:
    return {JSON_TYPE: {"schema": ref("schemas", schema), "example": example}}


def _text(kind: str) -> Json:
    return {f"text/{kind}": {"schema": WORD}}
