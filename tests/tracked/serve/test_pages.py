"""The pages of an endpoint: no name and no value becomes HTML, a script, or a shell's command."""

import json
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from helpers.endpoint_facts import HOSTILE, make_facts, make_hostile_facts, make_number_facts
from tracked.serve.docs_page import make_command
from tracked.serve.facts import EndpointFacts
from tracked.serve.openapi import make_openapi
from tracked.serve.pages import CONTENT_SECURITY_POLICY, STATIC, render_docs, render_page

pytestmark = pytest.mark.unit

VOID = ("meta", "link", "input", "wbr")


class Structure(HTMLParser):
    """What a browser makes of a page: elements with their attributes, and each element's own text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self._open[-1], data))

    def shape(self) -> list[tuple[str, list[str]]]:
        return [(tag, sorted(attributes)) for tag, attributes in self.elements]

    def told(self) -> dict[str, Any]:
        """What the script is told."""
        (form,) = (attributes for tag, attributes in self.elements if tag == "form")
        return json.loads(form["data-facts"] or "")

    def texts_of(self, tag: str) -> list[str]:
        return [text for where, text in self.texts if where == tag]


def make_harmless_facts() -> EndpointFacts:
    """Make facts of the shape of the hostile ones."""
    columns, answer = ("a", "b", "c", "d", "e"), {"predicted": "f", "g": 0.5, "h": 1}
    return replace(
        make_hostile_facts(),
        experiment="x", request_name="rows", columns=columns, row="row", rows="rows", model="m", version="1",
        answer_columns={"predicted": "str", "g": "float64", "h": "int8"}, digest="d",
        example=[dict.fromkeys(columns, "v")], answer_notes={"predicted": "n", "h": "n"}, example_answers=[answer],
    )  # fmt: skip


def render_documentation(facts: EndpointFacts) -> str:
    return render_docs(make_openapi(facts))


@pytest.mark.parametrize("render", [render_page, render_documentation])
def test_page_of_hostile_facts_has_the_elements_of_a_harmless_one(render: Any) -> None:
    hostile, harmless = Structure(render(make_hostile_facts())), Structure(render(make_harmless_facts()))
    assert hostile.shape() == harmless.shape()
    assert not [one for tag, names in hostile.shape() for one in names if one.startswith("on")]


def test_page_of_hostile_facts_shows_and_tells_them_literally() -> None:
    facts = make_hostile_facts()
    page = Structure(render_page(facts))
    assert page.texts_of("label") == [*facts.columns, "Token"]
    assert page.texts_of("title") == [facts.model]
    assert page.texts_of("bdi") == [facts.model, facts.version]
    told = page.told()
    assert (told["name"], told["columns"]) == (facts.request_name, list(facts.columns))
    assert told["example"] == list(facts.example[0].values())
    assert told["notes"] == facts.answer_notes


def test_documentation_of_hostile_facts_shows_them_literally() -> None:
    facts = make_hostile_facts()
    page = Structure(render_documentation(facts))
    assert page.texts_of("bdi") == [facts.model]
    commands = [text for text in page.texts_of("pre") if text.startswith("curl ")]
    assert any(json.dumps(HOSTILE[3])[1:-1] in text for text in commands)
    assert any(f"{facts.rows} of a request" == text for text in page.texts_of("td"))


@pytest.mark.parametrize("render", [render_page, render_documentation])
@pytest.mark.parametrize(
    "facts", [make_facts(), make_number_facts(needs_token=True), make_facts(limits={}, example=[])]
)
def test_page_needs_nothing_that_the_policy_refuses(render: Any, facts: EndpointFacts) -> None:
    page = Structure(render(facts))
    for tag, attributes in page.elements:
        assert tag != "style"
        assert "style" not in attributes
        assert "action" not in attributes
        loaded = attributes.get("src") or (attributes.get("href") if tag == "link" else None)
        assert loaded in (None, "page.js", "page.css")  # relative: a proxy may serve them below a path
        if tag == "script":
            assert attributes["src"] == "page.js"
            assert page.texts_of("script") == []
    assert not {tag for tag, _ in page.elements if tag == "script"} or render is render_page
    assert "unsafe" not in CONTENT_SECURITY_POLICY


def test_script_sets_no_html() -> None:
    script = (STATIC / "page.js").read_text()
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "localStorage",
    ):
        assert word not in script


def test_one_column_of_texts_is_a_textarea_and_numbers_are_inputs() -> None:
    texts, numbers = Structure(render_page(make_facts())), Structure(render_page(make_number_facts()))
    assert [tag for tag, _ in texts.elements if tag in ("textarea", "input")] == ["textarea"]
    assert [tag for tag, _ in numbers.elements if tag in ("textarea", "input")] == ["input"] * 5
    assert (texts.told()["kinds"], numbers.told()["kinds"]) == (["text"], ["number"] * 5)
    assert numbers.told()["example"] == ["0.038", "-0.044", "0.06", "0.02", "3"]
    assert "At most 5,000 characters." in " ".join(texts.texts_of("p"))


def test_columns_of_long_and_short_texts_and_truths_have_fitting_fields() -> None:
    example = {"title": "Short", "body": "A text that is too long for a field of one line.", "is_new": True}
    page = Structure(render_page(make_facts(columns=tuple(example), example=[example])))
    assert [tag for tag, _ in page.elements if tag in ("textarea", "input")] == ["input", "textarea", "input"]
    assert page.told()["kinds"] == ["text", "text", "boolean"]
    assert page.told()["example"][2] == "true"


def test_token_field_is_there_where_a_token_is_needed() -> None:
    fields = [one for tag, one in Structure(render_page(make_facts(needs_token=True))).elements if tag == "input"]
    assert [(one["id"], one["type"]) for one in fields] == [("token", "password")]
    assert 'id="token"' not in render_page(make_facts())
    docs = render_documentation(make_facts(needs_token=True))
    assert docs.count("Authorization: Bearer $SERVE_TOKEN") == 8  # each command of a protected path
    assert "SERVE_TOKEN" not in render_documentation(make_facts())


def test_example_button_is_there_where_there_is_an_example() -> None:
    assert 'id="example"' in render_page(make_facts())
    assert 'id="example"' not in render_page(make_facts(example=[]))


def test_documentation_tells_each_path_once_with_statuses_and_limits() -> None:
    page = Structure(render_documentation(make_facts()))
    ids = [one["id"] for _, one in page.elements if "id" in one]
    assert len(ids) == len(set(ids))
    linked = [one["href"] for tag, one in page.elements if tag == "a" and str(one["href"]).startswith("#")]
    assert {f"#{one}" for one in ids} == {*linked, "#errors"}
    assert len(linked) == 13
    cells = page.texts_of("td")
    for text in ("1,000,000", "texts of a request", "The model did not answer in time."):
        assert text in cells
    summaries = page.texts_of("summary")
    assert "Statuses: 200, 400, 403, 408, 413, 415, 422, 429, 500, 503, 504" in summaries


@pytest.mark.parametrize(
    "body", ['{"a": "it\'s"}', "@/etc/passwd", "$(touch x) `touch x` $HOME", "a\nb\\", "'; touch x; '", "ü 漢 \u202e"]
)
def test_command_gives_curl_the_address_the_headers_and_the_body(body: str, tmp_path: Path) -> None:
    command = make_command("http://host:1/'; touch x; '/", "/predict", body, "text/csv", with_token=True)
    script = f"curl() {{ printf '%s\\0' \"$@\"; }}\nSERVE_TOKEN='a b'\n{command}"
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split("\0")[:-1] == [
        *("http://host:1/'; touch x; '/predict", "-H", "Authorization: Bearer a b"),
        *("-H", "Content-Type: text/csv", "--data-raw", body),
    ]
    assert list(tmp_path.iterdir()) == []
