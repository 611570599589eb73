"""A thing that might go: what it is, where, how large, and why it may go."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["run folder", "stored model", "checkpoint", "rows", "evaluation", "leftover"]
# What is removed first refers to what is removed later: a tidy that is killed in between leaves nothing half.
ORDER: Sequence[Kind] = ("evaluation", "stored model", "checkpoint", "rows", "run folder", "leftover")


@dataclass(frozen=True)
class Thing:
    """Something that might go.

    Args:
        of: the id of the run, or of the leftover's run or model.
        model_id: of a stored model.
        uri: of the artifacts, or the run folder's path.
        paths: of the files below it; empty for all of it.
        why: why it may go.
        experiment: the MLflow experiment's name.
    """

    kind: Kind
    of: str
    title: str
    uri: str
    paths: tuple[str, ...]
    size: int
    why: str
    experiment: str
    model_id: str = ""

    @property
    def line(self) -> str:
        """A line for people."""
        who = self.model_id or self.of
        return f"{self.kind:<12}  {format_size(self.size):>9}  {who}  {self.title}: {self.why}"


def generalize(reason: str) -> str:
    """Leave the ids and names out of a reason, so that equal ones are counted together."""
    reason = re.sub(r"^registered model \S+", "a registered model", reason)
    reason = re.sub(r"^version \S+ \S+", "a version", reason)
    reason = re.sub(r"\b(run|model|experiment|evaluation) (m-)?[0-9a-f]{32}\b", r"a \1", reason)
    reason = re.sub(r"files of others, such as .*", "files of others", reason)
    return re.sub(r"version \S+ of \S+", "version", reason)


def format_size(size: float) -> str:
    """Format a number of bytes."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
