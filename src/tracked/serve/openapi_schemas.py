"""Describe bodies of requests and answers as JSON schemas, for one model."""

from collections.abc import Mapping
from typing import Any

from tracked.serve.facts import EndpointFacts

Schema = dict[str, Any]
TYPES = {"int": "integer", "uint": "integer", "float": "number", "double": "number", "bool": "boolean"}
WORD: Schema = {"type": "string"}


def ref(kind: str, name: str) -> Schema:
    """Refer to a component of the document."""
    return {"$ref": f"#/components/{kind}/{name}"}


def make_schemas(facts: EndpointFacts) -> dict[str, Schema]:
    """Make the schemas of all bodies, by name."""
    answer = {name: type_of(dtype) | _note(facts, name) for name, dtype in facts.answer_columns.items()}
    schemas = {
        "Values": _close({name: _describe_value(facts, name) for name in facts.columns}, f"One {facts.row} by column."),
        "Row": _describe_row(facts),
        "Rows": _describe_rows(facts, facts.limits.get("max_rows")),
        "Answer": _open(answer, f"The answer to one {facts.row}."),
        "Answers": _open({"predictions": _list(ref("schemas", "Answer"))}, f"An answer to each of the {facts.rows}."),
        "Invocation": _describe_invocation(facts),
        "Outputs": _open({"predictions": _list({})}, "The model's own output, as its predict in MLflow gives it."),
        "Version": _open(dict.fromkeys(("model", "version", "digest"), WORD), "The model that answers."),
        "Error": _open({"error_code": WORD, "message": WORD}, "An error. No value of the request is in it."),
    }
    if facts.can_explain:
        schemas |= {"OneRow": _describe_rows(facts, 1), "Explanation": _describe_explanation(facts)}
    return schemas


def type_of(dtype: str) -> Schema:
    """Describe what a column's type is in JSON."""
    name = dtype.lower().rstrip("0123456789")
    return {"type": TYPES.get(name, "string")}


def describe_limits(facts: EndpointFacts, max_rows: int | None) -> str:
    """Describe in words how much a request may hold."""
    limits = facts.limits
    words = []
    if max_rows is not None:
        words.append(f"exactly one {facts.row}" if max_rows == 1 else f"at most {max_rows:,} {facts.rows}")
    if "max_body" in limits:
        words.append(f"at most {limits['max_body']:,} bytes")
    if "max_length" in limits:
        words.append(f"at most {limits['max_length']:,} characters in a value")
    sentence = ", ".join(words)
    return f"{sentence[:1].upper()}{sentence[1:]}." if words else ""


def _describe_value(facts: EndpointFacts, column: str) -> Schema:
    example = facts.find_examples()[column]
    if isinstance(example, bool):
        return {"type": "boolean", "examples": [example]}
    if isinstance(example, int | float):
        return {"type": "number", "examples": [example]}
    schema: Schema = {"type": "string"} | ({"examples": [example]} if example else {})
    if "max_length" in facts.limits:
        longest = facts.limits["max_length"]
        schema |= {"maxLength": longest, "description": f"At most {longest:,} characters."}
    return schema


def _describe_row(facts: EndpointFacts) -> Schema:
    values, by_name = [_describe_value(facts, name) for name in facts.columns], ref("schemas", "Values")
    if len(values) == 1:
        return {"description": f"One {facts.row}: the value, or an object by column.", "anyOf": [values[0], by_name]}
    count = len(values)
    in_order = {"type": "array", "prefixItems": values, "items": False, "minItems": count, "maxItems": count}
    words = f"One {facts.row}: an object by column, or a list in the order of the columns."
    return {"description": words, "anyOf": [by_name, in_order]}


def _describe_rows(facts: EndpointFacts, max_rows: int | None) -> Schema:
    rows = _list(ref("schemas", "Row")) | {"minItems": 1} | ({} if max_rows is None else {"maxItems": max_rows})
    return _close({facts.request_name: rows}, describe_limits(facts, max_rows))


def _describe_invocation(facts: EndpointFacts) -> Schema:
    some = {"minItems": 1} | ({"maxItems": facts.limits["max_rows"]} if "max_rows" in facts.limits else {})
    width = {"minItems": len(facts.columns), "maxItems": len(facts.columns)}
    names = _list({"enum": list(facts.columns)}) | {"uniqueItems": True} | width
    split = _close({"columns": names, "data": _list(_list({}) | width) | some}, "Names, and lists in their order.")
    split["properties"] |= {"index": _list({})}
    columns = _close({name: _list(_describe_value(facts, name)) | some for name in facts.columns}, "Lists by column.")
    rows = _list(ref("schemas", "Row")) | some
    forms = {
        "dataframe_split": split,
        "dataframe_records": _list(ref("schemas", "Values")) | some,
        "instances": rows,
        "inputs": {"anyOf": [rows, columns]},
    }
    described = [_close({name: schema}, f"MLflow's form {name}.") for name, schema in forms.items()]
    for form in described:
        form["properties"] |= {"params": {"type": "object", "maxProperties": 0}}
    return {"description": describe_limits(facts, facts.limits.get("max_rows")), "anyOf": described}


def _describe_explanation(facts: EndpointFacts) -> Schema:
    effect = {"type": ["number", "null"], "description": "Above 0: for the prediction. Null: this piece has none."}
    flag = {"type": "boolean"}
    piece = _open({"text": WORD, "effect": effect, "is_read": flag, "is_known": flag}, "A piece of the input.")
    part = _open({"name": WORD, "effect": {"type": "number"}, "note": WORD}, "A part that decided.")
    fields = {"prediction": ref("schemas", "Answer"), "pieces": _list(piece), "parts": _list(part), "note": WORD}
    return _open(fields, f"The answer to one of the {facts.rows} and its reasons; pieces in the order of the input.")


def _note(facts: EndpointFacts, name: str) -> Schema:
    return {"description": facts.answer_notes[name]} if name in facts.answer_notes else {}


def _list(items: Mapping[str, Any]) -> Schema:
    return {"type": "array", "items": items}


def _open(properties: Mapping[str, Any], description: str) -> Schema:
    """Describe an object of an answer, which a later version may extend."""
    return {"type": "object", "description": description, "properties": properties, "required": [*properties]}


def _close(properties: Mapping[str, Any], description: str) -> Schema:
    """Describe an object of a request, which has nothing else."""
    return _open(properties, description) | {"additionalProperties": False}
