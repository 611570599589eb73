"""Make examples of requests and answers for one model: the rows are the experiment's, the rest is made up."""

import csv
import io
from typing import Any

from tracked.serve.facts import EndpointFacts
from tracked.serve.openapi_schemas import type_of

MADE_UP = {"integer": 1, "number": 0.5, "boolean": True, "string": "…"}
MAX_PIECES = 4  # of an explained input


def make_request(facts: EndpointFacts, max_rows: int | None = None) -> dict[str, Any]:
    """Make a request of the plain form."""
    return {facts.request_name: list(facts.example)[:max_rows]}


def make_answers(facts: EndpointFacts) -> list[dict[str, Any]]:
    """Make an answer to each row of the example."""
    made_up = {name: MADE_UP[type_of(dtype)["type"]] for name, dtype in facts.answer_columns.items()}
    return [dict(answer) for answer in facts.example_answers] or [made_up for _ in facts.example]


def make_invocations(facts: EndpointFacts) -> dict[str, Any]:
    """Make a request of each of MLflow's JSON forms, by the form's name."""
    rows, columns = facts.list_example(), list(facts.columns)
    by_column = {name: [row[name] for row in rows] for name in columns}
    one_column = by_column[columns[0]] if len(columns) == 1 else by_column
    return {
        "dataframe_split": {"dataframe_split": {"columns": columns, "data": [list(row.values()) for row in rows]}},
        "dataframe_records": {"dataframe_records": rows},
        "instances": {"instances": list(facts.example)},
        "inputs": {"inputs": one_column},
    }


def make_csv(facts: EndpointFacts) -> str:
    """Make a request in CSV: a header, and a line for each row."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(facts.columns)
    writer.writerows(row.values() for row in facts.list_example())
    return buffer.getvalue()


def make_explanation(facts: EndpointFacts) -> dict[str, Any]:
    """Make an explanation of the example's first row; effects alternate."""
    words = " ".join(str(value) for value in facts.find_examples().values()).split()[:MAX_PIECES]
    effects = [round((-1) ** number * 0.8 / (number + 1), 2) for number in range(len(words))]
    pieces = [
        {"text": f"{word} ", "effect": effect, "is_read": True, "is_known": True}
        for word, effect in zip(words, effects, strict=True)
    ]
    parts = [{"name": word, "effect": effect, "note": ""} for word, effect in zip(words, effects, strict=True)]
    prediction = next(iter(make_answers(facts)), {})
    return {"prediction": prediction, "pieces": pieces, "parts": parts[:2], "note": "What an effect is."}
