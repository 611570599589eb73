"""When a plateau rule would have cut the learning rate of a recorded training for the first time.

Until its first cut, a plateau rule changes nothing in a training, and waits as early stopping does: its first cut comes
at the epoch at which early stopping with the same patience and min_delta would stop. A cut changes the epochs after it,
so a recorded history tells no second one. For the same reason it tells no first cut after its own schedule has changed
the rate; early stopping's replay stays exact there, because a stop changes no epoch before it.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tracked.analysis.rule_replay import History

ENDS, CHANGES = "end", "schedule"  # why a first cut is not known: the history ends first, or its rate changes before


def find_first_cuts(histories: Sequence[History], table: pd.DataFrame) -> pd.DataFrame:
    """Find the first cut of a plateau rule with each patience and min_delta of a replay.

    Args:
        table: what ``rule_replay.replay`` returns for these histories.

    Returns:
        a row for each row of ``table``: run_id, run_name, monitor, mode, decay_patience, min_delta; first_cut, the
        epoch after which the rate would have been cut; epochs_after, the recorded epochs that such a training would not
        have had. Both are missing where ``unknown`` says why: "end" where the history ends before, "schedule" where the
        run's own schedule had changed the rate before.
    """
    known_until = {history.run_id: history.same_rate_until for history in histories}
    lengths = {history.run_id: len(history.values) for history in histories}
    until = table["run_id"].map({run: lengths[run] if known is None else known for run, known in known_until.items()})
    length = table["run_id"].map(lengths)
    cut = table["stopped_epoch"].where(table["stopped_epoch"] <= until)
    why = np.where(cut.notna(), "", np.where(until < length, CHANGES, ENDS))
    rules = table[["run_id", "run_name", "monitor", "mode", "patience", "min_delta"]]
    rules = rules.rename(columns={"patience": "decay_patience"})
    return rules.assign(first_cut=cut, epochs_after=length.astype("Int64") - cut, unknown=why)
