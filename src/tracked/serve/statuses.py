"""The statuses of errors, and the limits beyond which a request gets one."""

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Status:
    """An error: its code in the body, the sentence that says when it comes, and a message as an example."""

    code: str
    when: str
    message: str


STATUSES = {
    400: Status(
        "BAD_REQUEST",
        "The body is empty, or is not JSON or CSV of a form that this path takes.",
        "the body is no JSON; allowed: JSON",
    ),
    401: Status(
        "UNAUTHORIZED",
        "The token is missing or wrong.",
        "the token is missing or wrong; send Authorization: Bearer TOKEN",
    ),
    403: Status(
        "FORBIDDEN",
        "The header Host or Origin names a site that this server does not answer for.",
        "this server does not answer for the host in the header Host",
    ),
    404: Status(
        "NOT_FOUND",
        "There is no such path, or this model cannot do what the path is for.",
        "there is no such path; /docs lists all",
    ),
    405: Status(
        "METHOD_NOT_ALLOWED", "The path takes another method; the header Allow names it.", "this path takes POST alone"
    ),
    408: Status("REQUEST_TIMEOUT", "The body came too slowly.", "the body took too long to come; send it again"),
    413: Status(
        "CONTENT_TOO_LARGE",
        "The body is too large, as it is sent or once it is unpacked.",
        "the body is too large; send fewer rows at a time",
    ),
    415: Status(
        "UNSUPPORTED_MEDIA_TYPE",
        "Content-Type is missing or none that this path takes, or Content-Encoding is neither gzip nor deflate.",
        "Content-Type is missing; send application/json",
    ),
    422: Status(
        "UNPROCESSABLE_CONTENT",
        "The rows cannot be answered: a wrong column or type, a null, no row, too many rows, or too long a value.",
        "there is no row; send one or more",
    ),
    429: Status(
        "TOO_MANY_REQUESTS",
        "Too much waits for the model already; Retry-After says when to send it again.",
        "too much waits already; send it again in 1 second",
    ),
    500: Status(
        "INTERNAL_SERVER_ERROR",
        "The model's output is invalid, or the server has a defect.",
        "the model's output is invalid",
    ),
    503: Status(
        "SERVICE_UNAVAILABLE",
        "The model is being loaded, no scorer is, the endpoint ends, or too many connections are open; Retry-After "
        "says when to send it again.",
        "the model is being loaded; try again in a few seconds",
    ),
    504: Status(
        "GATEWAY_TIMEOUT", "The model did not answer in time.", "the model did not answer in time; send it again"
    ),
}

# By name: what is counted, with {rows} for the experiment's word, and the status of a request beyond the limit.
LIMITS = {
    "max_body": ("bytes of a body, as it is sent and once it is unpacked", 413),
    "max_rows": ("{rows} of a request", 422),
    "max_length": ("characters of a value", 422),
    "max_waiting": ("{rows} that wait for the model", 429),
    "receive_timeout": ("seconds in which a request arrives", 408),
    "timeout": ("seconds until the answer", 504),
    "max_connections": ("connections", 503),
}


def encode_error(status: int, message: str) -> bytes:
    """Encode an error as MLflow's clients read it."""
    known = STATUSES.get(status, STATUSES[400])
    return json.dumps({"error_code": known.code, "message": message}, ensure_ascii=False).encode()
