"""Read the rows of a request's body: the plain form, MLflow's forms, CSV. Nothing of a body is told in a refusal."""

from collections.abc import Sequence

from tracked.serve.csv_text import read_csv
from tracked.serve.json_text import read_json
from tracked.serve.mlflow_form import take_mlflow_form
from tracked.serve.refusals import Refusal
from tracked.serve.rows import Rows, check_rows, require_few, take_rows

__all__ = ["Refusal", "Rows", "check_rows", "parse_invocations", "parse_plain"]

JSON, CSV = "application/json", "text/csv"
MANY = 1 << 62


def parse_plain(body: bytes, content_type: str, name: str, columns: Sequence[str], max_rows: int = MANY) -> Rows:
    """Parse a JSON object with one key, whose value is the list of rows.

    A row is an object by column; of one column, also a value; of several, also a list in their order.

    Args:
        content_type: the header's value, "" without one.
        name: the key.
        max_rows: more are refused before they are arranged.

    Raises:
        Refusal: 400, 415 or 422, if it is something else.
    """
    _require_type(content_type, (JSON,))
    document, allowed = read_json(body), f"allowed: an object with the key {name} alone"
    if type(document) is not dict:
        raise Refusal(422, f"the body is no JSON object; {allowed}")
    if name not in document:
        raise Refusal(422, f"the body has no key {name}; {allowed}")
    if len(document) > 1:
        raise Refusal(422, f"the body has a key that is not known; {allowed}")
    if type(document[name]) is list and len(document[name]) > max_rows:
        require_few(len(document[name]), max_rows, name)
    return take_rows(name, document[name], columns, takes_lists=len(columns) > 1)


def parse_invocations(body: bytes, content_type: str, columns: Sequence[str], max_rows: int = MANY) -> Rows:
    """Parse what MLflow's scoring server takes: JSON of one of its forms, or CSV with a header.

    Args:
        content_type: the header's value, "" without one.
        max_rows: more are refused before they are arranged.

    Raises:
        Refusal: 400, 415 or 422, if it is something else.
    """
    if _require_type(content_type, (JSON, CSV)) == CSV:
        return read_csv(body, columns, max_rows)
    return take_mlflow_form(read_json(body), columns, max_rows)


def _require_type(content_type: str, allowed: Sequence[str]) -> str:
    """Require a type of content, in UTF-8; gives it without parameters.

    Raises:
        Refusal: 415, if it is another one.
    """
    if content_type in allowed:
        return content_type
    kind, *parameters = [part.strip().lower() for part in content_type.split(";")]
    if kind not in allowed:
        fault = "not known" if content_type else "missing"
        raise Refusal(415, f"Content-Type: {fault}; allowed: {' or '.join(allowed)}")
    if not {*parameters} <= {"charset=utf-8", 'charset="utf-8"'}:
        raise Refusal(415, "Content-Type: has other parameters than charset=utf-8; allowed: this one, or none")
    return kind
