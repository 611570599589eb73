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
from imdb_conv1d.config import EvaluateParameters, refusal
from imdb_conv1d.console import Signals, UserError, say


def main(argv: Sequence[str], signals: Signals) -> None:
    """Registry, data, scores, tracking. What is slow to import comes after the parameters' check."""
    parameters = EvaluateParameters.parse(argv)

    from imdb_conv1d import data, environment, registry, report_scores, scoring, sources, tracking

    tracking.require_store()
    with tempfile.TemporaryDirectory(prefix="imdb-conv1d-") as name:
        stored = registry.find(parameters.model)
        say(f"model: {stored.title}" + (f" ({parameters.model})" if stored.uri != parameters.model else ""))
        path = registry.fetch(stored, Path(name))
        training = registry.training_of(stored, Path(name))

        own_test_part = parameters.data == "auto"
        if own_test_part and not (training and training.data_source):
            raise refusal(
                "data", "auto", f"the name or path of data, since {stored.title} has no record of its training"
            )
        source = sources.resolve(training.data_source if own_test_part and training else parameters.data)
        rows = data.index(source)
        digest = data.digest(rows)
        if own_test_part and training and digest != training.data_digest:
            raise UserError(
                f"data: {source.name} is not what {stored.title} was trained on (digest {digest[:12]}, "
                f"not {training.data_digest[:12]}); allowed: the same data for auto, or a path"
            )
        take = scoring.to_score(rows, whole=not own_test_part and Path(source.name).is_absolute())
        say(f"data: {source.name}, {take.sum():,} of {len(rows):,} reviews, digest {digest[:12]}")

        environment.import_tensorflow()

        with tracking.run("evaluate", f"evaluate {stored.short}", parameters.spelled()) as run:
            run.data(source.name, digest, "evaluation", {"rows": len(rows)})
            run.tags({"model_uri": stored.uri, "model_name": stored.name, "model_version": stored.version})
            if stored.model_id:
                run.model(stored.model_id)
            if training:
                run.tags({"training_run_id": training.run_id})
            started = time.perf_counter()
            scored = scoring.score(
                scoring.chosen(source, rows, take),
                registry.scorer(str(path)),
                training.hashes if training else frozenset(),
                run.folder / "predictions.parquet",
                lambda done: say(f"scored {done:,} reviews"),
            )
            seconds = time.perf_counter() - started
            with_texts = parameters.log_texts and (training.log_texts if training else True)
            say(report_scores.queue(run, stored, scored, seconds, with_texts, own_test_part))


if __name__ == "__main__":
    console.run(main)
