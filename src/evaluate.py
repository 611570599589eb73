"""Score a registered model on reviews that it was not trained on, and log scores, pictures and every prediction.

mlflow run . -e evaluate
python src/evaluate.py --model models:/imdb-conv1d@candidate
python src/evaluate.py --help
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from imdb_conv1d.parameters import EvaluateParameters
from tracked.console import entry
from tracked.console.lines import say
from tracked.console.signals import Signals


def main(argv: Sequence[str], signals: Signals) -> None:
    """Registry, data, scores, tracking. What is slow to import comes after the parameters' check."""
    parameters = EvaluateParameters.parse(argv)

    from tracked.models import evaluation, loader
    from tracked.runs import connection, run_start

    connection.require_answers()
    run_start.require_own_run("evaluate")
    with tempfile.TemporaryDirectory(prefix="imdb-conv1d-") as folder:
        stored = loader.find(parameters.model)
        say(f"model: {stored.title}" + (f" ({parameters.model})" if stored.uri != parameters.model else ""))
        model = loader.fetch(stored, Path(folder))
        subject = evaluation.subject(stored, model.record, parameters.data)
        evaluation.run(stored, model, subject, parameters.spelled(), parameters.log_texts, signals)


if __name__ == "__main__":
    entry.run(main)
