"""What the pages and the description of an endpoint say of its model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class EndpointFacts:
    """A model behind an endpoint: what it takes, what it answers, and the limits.

    ``request_name`` is the key of the plain form, ``{request_name: [row, …]}``; ``columns`` are a row's, in order;
    ``answer_columns`` are an answer's with their types, such as ``float64``. ``example`` has made-up rows of the plain
    form: values where there is one column, else objects or lists; the type of a column is that of its example.
    ``row`` and ``rows`` are the experiment's words for one and many. ``limits`` are by name: see
    :data:`tracked.serve.statuses.LIMITS`.

    Optional: ``answer_notes`` say in a few words what a column of an answer means; ``example_answers`` are the model's
    answers to ``example``, else they are made up; ``address`` is where commands of the documentation ask.
    """

    experiment: str
    request_name: str
    columns: tuple[str, ...]
    answer_columns: Mapping[str, str]
    example: Sequence[Any]
    row: str
    rows: str
    model: str
    version: str
    digest: str
    can_explain: bool
    needs_token: bool
    limits: Mapping[str, int]
    answer_notes: Mapping[str, str] = field(default_factory=dict)
    example_answers: Sequence[Mapping[str, Any]] = ()
    address: str = "http://127.0.0.1:8000"

    def list_example(self) -> list[dict[str, Any]]:
        """List the example's rows as objects by column; a column without an example has an empty text."""
        return [dict.fromkeys(self.columns, "") | self._by_column(row) for row in self.example]

    def find_examples(self) -> dict[str, Any]:
        """Find one example of each column's values; an empty text where there is none."""
        return next(iter(self.list_example()), dict.fromkeys(self.columns, ""))

    def _by_column(self, row: Any) -> dict[str, Any]:
        if isinstance(row, Mapping):
            return {name: row[name] for name in self.columns if name in row}
        if isinstance(row, list | tuple):
            return dict(zip(self.columns, row, strict=False))
        return {self.columns[0]: row}
