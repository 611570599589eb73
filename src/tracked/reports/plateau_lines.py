"""Say when plateau rules would first have cut the learning rate of recorded trainings, and what cannot be known."""

from collections.abc import Sequence

import pandas as pd

from tracked.analysis.plateau_replay import CHANGES
from tracked.analysis.rule_replay import History
from tracked.console.lines import format_count
from tracked.runs.schema import FIRST_CUTS

OTHER_HISTORY = "the epochs after its first cut would have been others, which a replay cannot tell"
STOPS_ARE_EXACT = "the stops are exact all the same, since a stop changes no epoch before it"


def describe_one(history: History, cuts: pd.DataFrame) -> list[str]:
    """Describe the first cuts in one training, with its own min_delta or else the smallest.

    Args:
        cuts: what ``plateau_replay.find_first_cuts`` returns for this history.
    """
    changed, lines = history.same_rate_until, []
    if changed is not None:
        since = (
            f"cut the learning rate after epoch {changed}" if changed else "changed the learning rate from step 1 on"
        )
        lines.append(f"the run's own schedule {since}: {STOPS_ARE_EXACT}")
    deltas = cuts["min_delta"]
    rows = cuts[deltas == (history.min_delta if history.min_delta in set(deltas) else deltas.min())]
    known = rows[rows["first_cut"].notna()].sort_values("decay_patience")
    if known.empty:
        unknown = "no first cut by a plateau rule is known, since the learning rate had changed before"
        none = "no plateau rule of the grid would cut the learning rate within these epochs"
        return [*lines, none if changed is None else unknown]
    ends = known.iloc[[0]] if len(known) == 1 else known.iloc[[0, -1]]
    cases = [
        f"after {history.name_epoch(int(cut))} with decay_patience {patience}"
        for cut, patience in zip(ends["first_cut"], ends["decay_patience"], strict=True)
    ]
    lines.append(f"a plateau rule would first cut the learning rate {' and '.join(cases)}; {OTHER_HISTORY}")
    if (rows["unknown"] == CHANGES).any():
        longer = f"with a longer decay_patience, the first cut would come after epoch {changed}, if at all"
        lines.append(f"{longer}; when is not known")
    return lines


def describe_several(histories: Sequence[History]) -> list[str]:
    """Describe where the first cuts of several trainings are listed."""
    lines = [f"{FIRST_CUTS} lists when a plateau rule would first cut the learning rate; {OTHER_HISTORY}"]
    if changed := sum(history.same_rate_until is not None for history in histories):
        trainings = format_count(changed, "training")
        lines.append(f"{trainings} changed the learning rate by a schedule: {STOPS_ARE_EXACT}")
    return lines
