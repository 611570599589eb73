"""Make facts of endpoints, also with names and values that try to become HTML."""

from dataclasses import replace
from typing import Any

from tracked.serve.facts import EndpointFacts

SCRIPT = "<script>alert(1)</script>"
HOSTILE = (SCRIPT, '"><img src=x onerror=alert(2)>', "&quot;&lt;b&gt;", "</textarea></title><b>", "' onfocus='alert(3)")
LIMITS = {"max_body": 1_000_000, "max_rows": 100, "max_length": 5_000, "max_waiting": 400, "timeout": 10}


def make_facts(**changes: Any) -> EndpointFacts:
    """Make facts of a model that classifies texts, with these changes."""
    facts = EndpointFacts(
        experiment="moods",
        request_name="texts",
        columns=("text",),
        answer_columns={"predicted": "str", "probability": "float64"},
        example=["What a fine day.", "Rain, rain, rain: it's never done."],
        row="text",
        rows="texts",
        model="moods",
        version="3",
        digest="ab" * 32,
        can_explain=True,
        needs_token=False,
        limits=LIMITS,
        answer_notes={"probability": "of 'glad'"},
        example_answers=[{"predicted": "glad", "probability": 0.93}, {"predicted": "sad", "probability": 0.04}],
    )
    return replace(facts, **changes)


def make_number_facts(**changes: Any) -> EndpointFacts:
    """Make facts of a model that answers numbers with a number; it cannot explain."""
    measurements = {"age": 0.038, "sex": -0.044, "bmi": 0.06, "bp": 0.02, "visits": 3}
    facts = make_facts(
        experiment="growth",
        request_name="patients",
        columns=tuple(measurements),
        answer_columns={"predicted": "float32"},
        example=[measurements, list(measurements.values())],
        row="patient",
        rows="patients",
        model="growth",
        can_explain=False,
        answer_notes={},
        example_answers=(),
    )
    return replace(facts, **changes)


def make_hostile_facts(**changes: Any) -> EndpointFacts:
    """Make facts all of whose words try to become HTML, a script or a shell's command."""
    script, image, entity, end, quote = HOSTILE
    columns = (script, image, "__proto__", "constructor", quote)
    facts = make_facts(
        experiment=script,
        request_name="__proto__",
        columns=columns,
        answer_columns={"predicted": "str", image: "float64", end: "int8"},
        example=[dict(zip(columns, (end, entity, quote, "$(touch x)", "`touch x`"), strict=True))],
        row=script,
        rows=image,
        model=f"{script}{entity}",
        version=f"{quote}{image}",
        digest=image,
        needs_token=True,
        answer_notes={"predicted": script, end: image},
        example_answers=[{"predicted": end, image: 0.5, end: 1}],
        address="http://127.0.0.1:1/'; touch x; '<b>",
    )
    return replace(facts, **changes)
