"""Render the documentation of an endpoint: one page without a script, made of its OpenAPI document."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

Json = Mapping[str, Any]
HEAD = (
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<title>{title}: documentation</title><link rel="stylesheet" href="page.css"></head><body class="docs"><main>'
)


def render_docs(openapi: Json) -> str:
    """Return a whole HTML document of what ``make_openapi`` has made."""
    info, address = openapi["info"], openapi["servers"][0]["url"]
    operations = [(path, method, one) for path, item in openapi["paths"].items() for method, one in item.items()]
    parts = [
        HEAD.format(title=escape(info["title"])),
        f"<h1><bdi>{escape(info['title'])}</bdi></h1>",
        f'<p class="about">{escape(info["description"])}</p>',
        '<p><a href="./">Try it in the browser</a> · <a href="openapi.json">OpenAPI document</a></p>',
        f'<p class="hint">Commands ask <code>{escape(address)}</code>; a click on one selects it.</p>',
        _render_token(openapi),
        f"<nav><h2>Paths</h2><ul>{''.join(_render_link(*one) for one in operations)}</ul></nav>",
        *(_render_operation(openapi, address, *one) for one in operations if not _is_page(*one)),
        _render_pages([one for one in operations if _is_page(*one)]),
        _render_errors(openapi),
        "</main></body></html>\n",
    ]
    return "".join(parts)


def make_command(address: str, path: str, body: str = "", kind: str = "", with_token: bool = False) -> str:
    """Make a command for a POSIX shell that asks a path; ``kind`` is the body's Content-Type."""
    lines = [f"curl {shlex.quote(address.rstrip('/') + path)}"]
    if with_token:
        lines.append('-H "Authorization: Bearer $SERVE_TOKEN"')
    if body:
        # --data-raw: a body that begins with @ is no file's name.
        lines += [f"-H {shlex.quote(f'Content-Type: {kind}')}", f"--data-raw {shlex.quote(body)}"]
    return " \\\n  ".join(lines)


def format_json(value: Any) -> str:
    """Format as JSON, readable in any language; half a surrogate pair, which no page can hold, is escaped."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def _render_token(openapi: Json) -> str:
    scheme = openapi["components"].get("securitySchemes", {}).get("token")
    if not scheme:
        return ""
    words = "Paths marked <b>token</b> need the header <code>Authorization: Bearer TOKEN</code>: "
    return f'<p class="hint">{words}{escape(scheme["description"])}</p>'


def _render_link(path: str, method: str, operation: Json) -> str:
    anchor, summary = escape(operation["operationId"]), escape(operation["summary"])
    return f'<li><a href="#{anchor}">{_render_path(path, method)}</a> <span>{summary}</span></li>'


def _render_path(path: str, method: str) -> str:
    return f'<code><b class="method">{escape(method.upper())}</b> {escape(path)}</code>'


def _render_operation(openapi: Json, address: str, path: str, method: str, operation: Json) -> str:
    needs_token, answers = bool(operation["security"]), operation["responses"]
    badge = ' <span class="badge">token</span>' if needs_token else ""
    words = (f"{operation['summary']}.", operation.get("description", ""))
    parts = [f"<h2>{_render_path(path, method)}{badge}</h2>", f"<p>{escape(' '.join(words))}</p>"]
    contents = operation.get("requestBody", {}).get("content", {})
    commands = [(name, make_command(address, path, body, kind, needs_token)) for kind, name, body in _bodies(contents)]
    if method == "get":
        commands = [("Request", make_command(address, path, with_token=needs_token))]
    parts += [f'<h3>{escape(name)}</h3><pre class="command">{escape(command)}</pre>' for name, command in commands]
    for media in answers.get("200", {}).get("content", {}).values():
        if "example" in media:
            parts.append(f"<h3>Answer</h3><pre>{escape(_lay_out(media['example']))}</pre>")
    if limits := operation.get("x-limits"):
        rows = [(f"{one['limit']:,}", one["what"], one["status"]) for one in limits]
        parts.append(f"<h3>Limits</h3>{_render_table(('at most', 'what', 'else status'), rows)}")
    statuses = [(number, _resolve(openapi, answer)["description"]) for number, answer in answers.items()]
    table = _render_table(("status", "when"), statuses)
    parts.append(f"<details><summary>Statuses: {', '.join(answers)}</summary>{table}</details>")
    return f'<section id="{escape(operation["operationId"])}">{"".join(parts)}</section>'


def _bodies(contents: Json) -> Iterator[tuple[str, str, str]]:
    """Yield each example of a request's body: its Content-Type, a heading, and the body."""
    for kind, media in contents.items():
        examples = {name: one["value"] for name, one in media.get("examples", {}).items()}
        if "example" in media:
            examples["Request" if len(contents) == 1 else kind] = media["example"]
        for name, value in examples.items():
            yield kind, name, value if isinstance(value, str) else format_json(value)


def _lay_out(example: Json) -> str:
    """Format an object with a line for each key, and for each item of a list."""
    lines = []
    for name, value in example.items():
        items = ",\n    ".join(map(format_json, value)) if isinstance(value, list) else ""
        lines.append(f"  {format_json(name)}: " + (f"[\n    {items}\n  ]" if items else format_json(value)))
    return "{\n" + ",\n".join(lines) + "\n}"


def _is_page(path: str, method: str, operation: Json) -> bool:
    return "pages" in operation["tags"]


def _render_pages(operations: Sequence[tuple[str, str, Json]]) -> str:
    rows = [(path, f"{one['summary']}.", ", ".join(one["responses"])) for path, _, one in operations]
    anchors = "".join(f'<span id="{escape(one["operationId"])}"></span>' for _, _, one in operations)
    return (
        f"<section><h2>{anchors}Pages and their files</h2>{_render_table(('path', 'what', 'statuses'), rows)}</section>"
    )


def _render_errors(openapi: Json) -> str:
    example = ""
    rows = []
    for answer in openapi["components"]["responses"].values():
        (media,) = answer["content"].values()
        example = example or _lay_out(media["example"])
        rows.append((answer["x-status"], media["example"]["error_code"], answer["description"]))
    table = _render_table(("status", "error_code", "when"), rows)
    words = "Every error has a body like this one, with one sentence that says what is wrong."
    return f'<section id="errors"><h2>Errors</h2><p>{words}</p><pre>{escape(example)}</pre>{table}</section>'


def _render_table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    cells = ("".join(f"<td>{escape(str(cell)).replace('_', '_<wbr>')}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def _resolve(openapi: Json, answer: Json) -> Json:
    """Return what a reference to a component stands for; anything else as it is."""
    if "$ref" not in answer:
        return answer
    *_, kind, name = answer["$ref"].split("/")
    found: Json = openapi["components"][kind][name]
    return found
