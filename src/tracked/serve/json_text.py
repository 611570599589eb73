"""Read the JSON of a body, stricter than Python does: what two readers may understand differently is refused."""

import json
import sys
from typing import Any

from tracked.serve.refusals import Refusal


def read_text(body: bytes, encoding: str = "utf-8") -> str:
    """Read a body as text.

    Raises:
        Refusal: 400, if it is empty or not UTF-8.
    """
    if not body:
        raise Refusal(400, "the body is empty; allowed: at least one row")
    try:
        return str(body, encoding)
    except UnicodeDecodeError as error:
        raise Refusal(400, f"the body is not UTF-8 text: byte {error.start + 1:,} is wrong; allowed: UTF-8") from None


def read_json(body: bytes) -> Any:
    """Read a body as one JSON value. A number that is too large for a float is infinite, since telling costs time.

    Raises:
        Refusal: 400, if it is no JSON, is nested too deeply, or has a key twice or half a character; 422, if a whole
            number is too large.
    """
    text = read_text(body)
    try:
        document = _DECODER.decode(text)
        if "\\ud" in text or "\\uD" in text:  # only an escape can make half a character
            json.dumps(document, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        reason, place = error.msg.rstrip(": ").removesuffix(" at"), f"line {error.lineno:,}, column {error.colno:,}"
        raise Refusal(400, f"the body is no JSON: {reason} at {place}; allowed: JSON") from None
    except RecursionError:
        raise Refusal(400, "the body is nested too deeply; allowed: rows of single values") from None
    except UnicodeEncodeError:
        raise Refusal(400, "the body escapes half a character, a lone surrogate; allowed: whole characters") from None
    except ValueError:  # Python reads no more digits, as the time grows with their square
        most = sys.get_int_max_str_digits()
        raise Refusal(422, f"a number has too many digits; allowed: up to {most:,} digits") from None
    return document


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise Refusal(400, "a JSON object has a key twice; allowed: each key once")
    return made


def _refuse_constant(name: str) -> None:
    raise Refusal(400, f"{name.lstrip('-')} is no JSON; allowed: finite numbers")


_DECODER = json.JSONDecoder(object_pairs_hook=_make_object, parse_constant=_refuse_constant)
