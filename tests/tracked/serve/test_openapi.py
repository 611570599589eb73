"""The description of an endpoint: a valid document, whose examples fit its own schemas."""

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from helpers.endpoint_facts import LIMITS, make_facts, make_hostile_facts, make_number_facts
from tracked.serve.facts import EndpointFacts
from tracked.serve.openapi import make_openapi
from tracked.serve.statuses import STATUSES

pytestmark = pytest.mark.unit

FACTS = {
    "texts": make_facts(),
    "numbers": make_number_facts(needs_token=True),
    "hostile": make_hostile_facts(),
    "no limits, no example": make_facts(limits={}, example=[], example_answers=()),
}
PATHS = {
    *("/predict", "/invocations", "/explain", "/health", "/ping", "/ready", "/version", "/metrics"),
    *("/docs", "/openapi.json", "/", "/page.js", "/page.css"),
}
ASKING = ("/predict", "/invocations", "/explain")
each_model = pytest.mark.parametrize("facts", FACTS.values(), ids=FACTS)


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Yield all objects of a document."""
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(child)


def resolve(document: dict[str, Any], reference: str) -> Any:
    found: Any = document
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def find_faults(document: dict[str, Any], name: str, value: Any) -> list[str]:
    """Check a value against a schema of the document."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return [error.message for error in Draft202012Validator(schema).iter_errors(value)]


@each_model
def test_document_can_be_written_and_describes_every_path_once(facts: EndpointFacts) -> None:
    document = make_openapi(facts)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert set(document["paths"]) == PATHS
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"\w+", one) for one in ids)
    methods = {path: method for path, method, _ in operations(document)}
    assert {path for path, method in methods.items() if method == "post"} == set(ASKING)


@each_model
def test_every_reference_of_the_document_leads_somewhere(facts: EndpointFacts) -> None:
    document = make_openapi(facts)
    references = {node["$ref"] for node in nodes(document) if isinstance(node.get("$ref"), str)}
    assert len(references) > 10
    for reference in references:
        assert isinstance(resolve(document, reference), dict), reference


@each_model
def test_every_schema_is_valid_and_every_response_has_one(facts: EndpointFacts) -> None:
    document = make_openapi(facts)
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for path, _, operation in operations(document):
        assert operation["responses"], path
        for status, given in operation["responses"].items():
            response = resolve(document, given["$ref"]) if "$ref" in given else given
            assert response["description"], (path, status)
            assert response["content"], (path, status)
            assert all("schema" in media for media in response["content"].values()), (path, status)
            names_version = status == "200" and path in ASKING
            assert ("Model-Version" in response.get("headers", {})) == names_version, (path, status)


@each_model
def test_every_example_fits_its_schema(facts: EndpointFacts) -> None:
    document, checked = make_openapi(facts), 0
    for node in nodes(document):
        if set(node) >= {"schema"} and "$ref" in node["schema"]:
            name = node["schema"]["$ref"].removeprefix("#/components/schemas/")
            values = [one["value"] for one in node.get("examples", {}).values()]
            for value in [*values, *([node["example"]] if "example" in node else [])]:
                if facts.example or name not in ("Rows", "OneRow", "Invocation", "Explanation"):
                    assert find_faults(document, name, value) == [], name
                    checked += 1
    assert checked > 15


def test_request_schema_takes_both_forms_of_a_row_and_nothing_else() -> None:
    document = make_openapi(make_facts())
    for good in (["a"], [{"text": "a"}], ["a"] * 100):
        assert find_faults(document, "Rows", {"texts": good}) == []
    for bad in ([], ["a"] * 101, [None], [1], [{"body": "a"}], [{"text": "a", "more": "b"}], [["a"]], ["a" * 5_001]):
        assert find_faults(document, "Rows", {"texts": bad}), bad
    assert find_faults(document, "Rows", {"texts": ["a"], "more": 1})
    assert find_faults(document, "OneRow", {"texts": ["a", "b"]})


def test_request_schema_of_several_columns_takes_objects_and_lists() -> None:
    document, row = make_openapi(make_number_facts()), {"age": 1, "sex": 2, "bmi": 3, "bp": 4, "visits": 5}
    for good in (row, [1, 2, 3, 4, 5]):
        assert find_faults(document, "Rows", {"patients": [good]}) == []
    for bad in ([1, 2, 3, 4], [1, 2, 3, 4, 5, 6], ["a", 2, 3, 4, 5], row | {"age": None}, 1):
        assert find_faults(document, "Rows", {"patients": [bad]}), bad


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["text"], "data": [["a"]]}, "params": {}},
        {"dataframe_records": [{"text": "a"}]},
        {"instances": ["a"]},
        {"inputs": {"text": ["a"]}},
    ],
    ids=lambda body: next(iter(body)),
)
def test_invocation_schema_takes_mlflows_forms(body: dict[str, Any]) -> None:
    document = make_openapi(make_facts())
    assert find_faults(document, "Invocation", body) == []
    assert find_faults(document, "Invocation", body | {"params": {"a": 1}})
    assert find_faults(document, "Invocation", body | {"more": []})


@each_model
def test_csv_example_holds_the_rows_of_the_example(facts: EndpointFacts) -> None:
    content = make_openapi(facts)["paths"]["/invocations"]["post"]["requestBody"]["content"]
    read = csv.DictReader(io.StringIO(content["text/csv"]["example"]))
    assert list(read) == [{name: str(value) for name, value in row.items()} for row in facts.list_example()]


def test_limits_are_told_in_words_and_numbers() -> None:
    document = make_openapi(make_facts())
    predict = document["paths"]["/predict"]["post"]
    assert "At most 100 texts, at most 1,000,000 bytes, at most 5,000 characters in a value." in predict["description"]
    assert {one["name"]: one["limit"] for one in predict["x-limits"]} == LIMITS
    explain = document["paths"]["/explain"]["post"]
    assert {one["name"]: one["limit"] for one in explain["x-limits"]} == {
        name: limit for name, limit in LIMITS.items() if name != "max_rows"
    }


def test_errors_of_all_statuses_have_their_sentence_and_code() -> None:
    document = make_openapi(make_facts(needs_token=True))
    told = {one["x-status"]: one for one in document["components"]["responses"].values()}
    assert set(told) == {400, 401, 403, 404, 405, 408, 413, 415, 422, 429, 500, 503, 504}
    for status, response in told.items():
        assert response["description"] == STATUSES[status].when
        (media,) = response["content"].values()
        assert media["example"]["error_code"] == STATUSES[status].code
        assert ("Retry-After" in response["headers"]) == (status in (429, 503, 504))
    asked = {"200", "400", "401", "403", "408", "413", "415", "422", "429", "500", "503", "504"}
    assert set(document["paths"]["/predict"]["post"]["responses"]) == asked
    assert set(document["paths"]["/explain"]["post"]["responses"]) == asked | {"404"}
    assert set(document["paths"]["/ready"]["get"]["responses"]) == {"200", "503"}


def test_bearer_scheme_is_of_the_protected_paths_where_there_is_a_token() -> None:
    with_token, without = make_openapi(make_facts(needs_token=True)), make_openapi(make_facts())
    (scheme,) = with_token["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    protected = {path for path, _, operation in operations(with_token) if operation["security"]}
    assert protected == {*ASKING, "/metrics"}
    assert {path for path, _, operation in operations(with_token) if "401" in operation["responses"]} == protected
    assert "securitySchemes" not in without["components"]
    assert not [path for path, _, operation in operations(without) if operation["security"]]


def test_explain_of_a_model_that_cannot_is_described_as_404() -> None:
    explain = make_openapi(make_number_facts())["paths"]["/explain"]["post"]
    assert set(explain["responses"]) == {"403", "404", "503"}
    assert "requestBody" not in explain
    assert "cannot explain" in explain["description"]


def test_answers_have_the_types_of_their_columns_and_made_up_values() -> None:
    columns = {"a": "int8", "b": "float32", "c": "bool", "d": "str", "e": "category"}
    document = make_openapi(make_facts(answer_columns=columns, example_answers=(), answer_notes={"b": "of 'glad'"}))
    properties = document["components"]["schemas"]["Answer"]["properties"]
    types = {name: one["type"] for name, one in properties.items()}
    assert types == {"a": "integer", "b": "number", "c": "boolean", "d": "string", "e": "string"}
    assert properties["b"]["description"] == "of 'glad'"
    answers = document["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]["example"]
    assert answers["predictions"] == [{"a": 1, "b": 0.5, "c": True, "d": "…", "e": "…"}] * 2
