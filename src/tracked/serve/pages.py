"""Render the page that asks a model, and its documentation."""

from html import escape
from pathlib import Path
from string import Template

from tracked.serve.docs_page import format_json, render_docs
from tracked.serve.facts import EndpointFacts

__all__ = ["CONTENT_SECURITY_POLICY", "STATIC", "render_docs", "render_page"]

STATIC = Path(__file__).parent / "static"  # page.js and page.css are served as they are
# Both pages work under it: no script and no style stands within them, and forms are sent by the script alone.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SHORT = 40  # characters of an example that fits into one line
TOKEN = (
    '<div class="field"><label for="token">Token</label>'
    '<input id="token" type="password" autocomplete="off" spellcheck="false"></div>'
)
EXAMPLE = '<button id="example" type="button" class="quiet">Example</button>'


def render_page(facts: EndpointFacts) -> str:
    """Return a whole HTML document with a field for each column; its script asks ``/predict`` and ``/explain``."""
    examples = facts.find_examples()
    typed = {name: value if isinstance(value, str) else format_json(value) for name, value in examples.items()}
    kinds = [_kind_of(value) for value in examples.values()]
    # What the script needs to know; an example as it would be typed.
    told = {
        "name": facts.request_name,
        "columns": list(facts.columns),
        "kinds": kinds,
        "example": list(typed.values()),
        "notes": dict(facts.answer_notes),
        "explains": facts.can_explain,
        "seconds": facts.limits.get("timeout", 60),
    }
    fields = [_render_field(number, name, typed[name], facts) for number, name in enumerate(facts.columns)]
    is_grid = len(fields) > 1 and not any("<textarea" in one for one in fields)
    longest = facts.limits.get("max_length")
    return Template((STATIC / "page.html").read_text(encoding="utf-8")).substitute(
        model=escape(facts.model),
        version=escape(facts.version),
        row=escape(facts.row),
        facts=escape(format_json(told)),
        fields=f'<div class="{"grid" if is_grid else "fields"}">{"".join(fields)}</div>',
        token=TOKEN if facts.needs_token else "",
        example=EXAMPLE if any(typed.values()) else "",
        hint=f"At most {longest:,} characters." if longest and "text" in kinds else "",
    )


def _kind_of(example: object) -> str:
    """Tell what a typed value is sent as: a boolean, a number, or the text itself."""
    if isinstance(example, bool):
        return "boolean"
    return "number" if isinstance(example, int | float) else "text"


def _render_field(number: int, name: str, example: str, facts: EndpointFacts) -> str:
    is_only_text = len(facts.columns) == 1 and _kind_of(facts.find_examples()[name]) == "text"
    common = f'id="column-{number}" dir="auto" spellcheck="false" aria-describedby="hint"'
    is_long = is_only_text or len(example) > SHORT or "\n" in example
    box = f'<textarea {common} rows="{6 if is_only_text else 3}"></textarea>' if is_long else f"<input {common}>"
    return f'<div class="field"><label for="column-{number}" dir="auto">{escape(name)}</label>{box}</div>'
