"""Train with early stopping, tell MLflow every epoch, and register the best checkpoint.

mlflow run . -P patience=30
python src/train.py --patience 3
python src/train.py --help
"""

from collections.abc import Sequence

from imdb_conv1d import console
from imdb_conv1d.config import TrainParameters
from imdb_conv1d.console import Interrupted, Signals, say


def main(argv: Sequence[str], signals: Signals) -> None:
    """Parameters, data, words, network, fit, registry. What is slow to import comes after the parameters' check."""
    parameters = TrainParameters.parse(argv)

    from imdb_conv1d import data, environment, runs, sources, stores

    stores.require_answers()
    source = sources.resolve(parameters.data)
    say(source.note or f"data: {source.name}")
    reviews = data.load(source, parameters.validation_split)
    say(reviews.summary())

    environment.make_repeatable(parameters.seed)

    from imdb_conv1d import model, publishing, report, text
    from imdb_conv1d.registry import Record
    from imdb_conv1d.training import Training

    name, maxlen = parameters.model_name, parameters.maxlen
    with runs.run("train", parameters.headline, parameters.spelled(), signals) as run:
        say(f"run {run.id} {parameters.headline!r}")
        training = Training(parameters, run.folder, run.epoch, signals)
        train, validation = reviews.part("train"), reviews.part("validation")
        vocabulary = run.folder / "vocabulary.txt"
        try:
            run.training_data(reviews)
            run.environment(environment.versions(), environment.machine())
            words = [text.split(part["text"]) for part in (train, validation)]
            text.write_vocabulary(vocabulary, text.vocabulary(words[0], parameters.max_features))
            table = text.lookup(vocabulary)
            ids = [text.encode(part, table, maxlen) for part in words]
            del words  # hundreds of megabytes of strings
            network = model.build(parameters)
            run.tags({"layers": "fused" if network.fused else "plain"})
            say(f"training a network of {network.plain.count_params():,} weights, at most {parameters.epochs:,} epochs")
            training.fit(network, (ids[0], train["label"].to_numpy()), (ids[1], validation["label"].to_numpy()))
        except Interrupted:
            training.reason = "interrupted"
            raise
        finally:
            with signals.held():
                report.queue(run, reviews, training)
        signals.check()
        say(report.headline(training))
        run.settle()

        best, monitor = training.best, parameters.monitor
        record = Record(source.name, reviews.digest, parameters.log_texts)
        model_id = publishing.store(
            name, training.checkpoint.path, vocabulary, maxlen, training.best_epoch, parameters.spelled(), record
        )
        publishing.require_same_loss(model_id, validation, best["val_loss"])
        report.figures(run, training, model_id)
        tags = {"best_epoch": str(training.best_epoch), f"best_{monitor}": repr(best[monitor])}
        tags["data_digest"] = reviews.digest
        signals.hold_to_the_end()  # from here on the work is done: a signal no longer undoes it
        version = publishing.register(name, model_id, run.id, report.description(reviews, training), tags)
        run.tags({"registered_version": version})
        run.describe(report.description(reviews, training, f"Registered as **{name} version {version}**."))
    say(f"registered {name} version {version}, alias {publishing.CANDIDATE}")


if __name__ == "__main__":
    console.run(main)
