"""Train with early stopping, tell MLflow every epoch, and register the best checkpoint.

mlflow run . -P patience=30
python src/train.py --patience 3
python src/train.py --help
"""

from collections.abc import Sequence

from imdb_conv1d import console
from imdb_conv1d.config import TrainParameters
from imdb_conv1d.console import Signals, say


def main(argv: Sequence[str], signals: Signals) -> None:
    """Parameters, data, words, network, fit, registry. What is slow to import comes after the parameters' check."""
    parameters = TrainParameters.parse(argv)

    from imdb_conv1d import data, environment, sources, tracking

    tracking.require_store()
    source = sources.resolve(parameters.data)
    say(source.note or f"data: {source.name}")
    reviews = data.load(source, parameters.validation_split)
    say(reviews.summary())

    environment.make_repeatable(parameters.seed)

    from imdb_conv1d import model, publishing, report, text
    from imdb_conv1d.training import Training

    with tracking.run("train", parameters.headline, parameters.spelled()) as run:
        say(f"run {run.id} {parameters.headline!r}")
        run.training_data(reviews)
        run.environment(environment.versions(), environment.machine())

        train, validation = reviews.part("train"), reviews.part("validation")
        vocabulary = run.folder / "vocabulary.txt"
        text.write_vocabulary(vocabulary, text.vocabulary(train["text"], parameters.max_features))
        words = text.lookup(vocabulary)
        ids = [text.encode(part["text"], words, parameters.maxlen) for part in (train, validation)]

        network = model.build(parameters)
        training = Training(parameters, run.folder, run.epoch, signals)
        say(f"training a network of {network.count_params():,} weights, at most {parameters.epochs:,} epochs")
        try:
            training.fit(network, (ids[0], train["label"].to_numpy()), (ids[1], validation["label"].to_numpy()))
        finally:
            report.queue(run, reviews, training)
        say(report.headline(training))
        run.settle()

        epoch, best = training.best_epoch, training.best()
        model_id = publishing.store(
            parameters.model_name, training.checkpoint.path, vocabulary, parameters.maxlen, epoch, parameters.spelled()
        )
        publishing.require_same_loss(model_id, validation, best["val_loss"])
        tags = {
            "best_epoch": str(epoch),
            f"best_{parameters.monitor}": repr(float(best[parameters.monitor])),
            "data_digest": reviews.digest,
        }
        about = report.description(reviews, training)
        version = publishing.register(parameters.model_name, model_id, run.id, about, tags, signals.held)
        run.tags({"registered_version": version})
        title = f"{parameters.model_name} version {version}"
        run.describe(report.description(reviews, training, f"Registered as **{title}**."))
    say(f"registered {title}, alias {publishing.CANDIDATE}")


if __name__ == "__main__":
    console.run(main)
