"""Score a registered model on reviews that it was not trained on, and log scores, pictures and every prediction.

mlflow run . -e evaluate
python src/evaluate.py --model models:/imdb-conv1d@candidate
python src/evaluate.py --help
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from imdb_conv1d import console
from imdb_conv1d.config import EvaluateParameters
from imdb_conv1d.console import Signals, UserError, say
from imdb_conv1d.parameters import refusal


def main(argv: Sequence[str], signals: Signals) -> None:
    """Registry, data, scores, tracking. What is slow to import comes after the parameters' check."""
    parameters = EvaluateParameters.parse(argv)

    from imdb_conv1d import data, environment, registry, report_scores, runs, scoring, sources, stores

    stores.require_answers()
    with tempfile.TemporaryDirectory(prefix="imdb-conv1d-") as name:
        stored = registry.find(parameters.model)
        say(f"model: {stored.title}" + (f" ({parameters.model})" if stored.uri != parameters.model else ""))
        model = registry.fetch(stored, Path(name))
        record, own_test_part = model.record, parameters.data == "auto"
        if own_test_part and not record:
            raise refusal(
                "data", "auto", f"the name or path of data, since {stored.title} has no record of its training"
            )
        source = sources.resolve(record.data_source if own_test_part and record else parameters.data)
        rows = data.index(source)
        digest = data.digest(rows)
        if own_test_part and record and digest != record.data_digest:
            raise UserError(
                f"data: {source.name} is not what {stored.title} was trained on (digest {digest[:12]}, "
                f"not {record.data_digest[:12]}); allowed: the same data for auto, or a path"
            )
        take = scoring.to_score(rows, whole=not own_test_part and Path(source.name).is_absolute())
        say(f"data: {source.name}, {take.sum():,} of {len(rows):,} reviews, digest {digest[:12]}")

        environment.import_tensorflow()
        score = registry.scorer(model.path)
        trained_on = registry.trained_on(stored, Path(name))
        with runs.run("evaluate", f"evaluate {stored.short}", parameters.spelled(), signals) as run:
            run.data(source.name, digest, "evaluation", {"rows": len(rows)})
            run.tags({"model_uri": stored.uri, "model_name": stored.name, "model_version": stored.version})
            if stored.model_id:
                run.model(stored.model_id)
            if stored.run_id:
                run.tags({"training_run_id": stored.run_id})
            started = time.perf_counter()
            pieces = scoring.chosen(source, rows, take)
            predictions = run.folder / "predictions.parquet"
            scored = scoring.score(pieces, score, trained_on, predictions, lambda n: say(f"scored {n:,} reviews"))
            seconds = time.perf_counter() - started
            with_texts = parameters.log_texts and (record is None or record.log_texts)
            say(report_scores.queue(run, stored, scored, seconds, with_texts, own_test_part))


if __name__ == "__main__":
    console.run(main)
