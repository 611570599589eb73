"""Why a request is refused."""

from collections.abc import Mapping

AGAIN = {"retry-after": "1"}  # headers that say when to ask again


class Refusal(Exception):
    """A request that is refused. The message is one sentence for people; it has nothing of the request in it.

    Args:
        status: of the answer, 400 or above.
        headers: that the answer has beside its usual ones.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, dict(headers or {})
