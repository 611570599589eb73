"""Make a version the champion if its log loss is shown not worse than the present champion's on the same test rows.

mlflow run . -e promote -P model=models:/imdb-conv1d@candidate
python src/promote.py --margin 0.01          # exits with 0: promoted, 3: the champion was kept
python src/promote.py --help
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from imdb_conv1d.parameters import PromoteParameters
from tracked.console import entry
from tracked.console.lines import say
from tracked.console.signals import Signals


def main(argv: Sequence[str], signals: Signals) -> int:
    """Registry, the contest, the gate, the move. What is slow to import comes after the parameters' check."""
    parameters = PromoteParameters.parse(argv)

    from tracked.models import champions, loader, promotion
    from tracked.runs import connection, context, run_start

    connection.require_answers()
    run_start.require_own_run("promote")
    kept = 0 if "MLFLOW_RUN_ID" in os.environ else 3  # mlflow run would call a run with that status FAILED
    version = loader.find(parameters.model)
    with tempfile.TemporaryDirectory(prefix="imdb-conv1d-") as folder, champions.alone(version.name):
        champions.require_not_withdrawn(version, parameters.model)
        contest = promotion.contest(version, parameters.data, Path(folder))
        with context.run("promote", f"promote {version.short}", parameters.spelled(), signals) as run:
            say(f"run {run.id} 'promote {version.short}'")
            verdict = promotion.settle(run, contest, parameters, signals)
            while verdict.outcome == "overtaken":  # from another host: compare with the champion that there is now
                contest = promotion.contest(version, parameters.data, Path(folder))
                verdict = promotion.settle(run, contest, parameters, signals)
            promotion.tell(run, contest, verdict)
    say(verdict.sentence)
    return kept if verdict.outcome == "kept" else 0


if __name__ == "__main__":
    entry.run(main)
