"""What is known of a prediction: what it depends on, its run, its parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tracked.analysis.observations import add_observations
from tracked.console.lines import format_count
from tracked.predict.tasks import Part, Training

NAMED = 3  # reasons of a line


@dataclass
class State:
    """What is known of a prediction.

    Args:
        facts: what it depends on (:mod:`tracked.predict.facts`); empty for a new one.
        environments: the versions and the machine of each attempt that began with others than the one before.
        run_id: of its MLflow run; empty if it has none yet.
        parts: the noted ones, by number.
        training: what was observed of the training part; None: not yet.
        is_complete: whether nothing is missing but, perhaps, the run's end.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    environments: list[dict[str, str]] = field(default_factory=list)
    run_id: str = ""
    parts: dict[int, Part] = field(default_factory=dict)
    training: Training | None = None
    is_complete: bool = False

    @property
    def rows(self) -> int:
        """The rows of the input in the noted parts."""
        return sum(part.rows for part in self.parts.values())

    @property
    def answered(self) -> int:
        """The rows with an answer."""
        return sum(part.answered for part in self.parts.values())

    @property
    def rejected(self) -> int:
        """The rows without an answer."""
        return sum(part.rejected for part in self.parts.values())

    @property
    def reasons(self) -> dict[str, int]:
        """The rejected rows by the reason, the most frequent first."""
        total: dict[str, int] = {}
        for part in self.ordered:
            total = add_observations(total, part.reasons)
        return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))

    def describe_reasons(self) -> str:
        """Describe the most frequent reasons in a line."""
        ranked = list(self.reasons.items())
        named = "; ".join(f"{reason}: {count:,}" for reason, count in ranked[:NAMED])
        return f"{named}; and {format_count(len(ranked) - NAMED, 'more reason')}" if len(ranked) > NAMED else named

    @property
    def ordered(self) -> Sequence[Part]:
        """The parts by number."""
        return [part for _, part in sorted(self.parts.items())]

    @property
    def observed(self) -> dict[str, Any]:
        """What was observed of all rows."""
        total: dict[str, Any] = {}
        for part in self.ordered:
            total = add_observations(total, part.observed)
        return total
