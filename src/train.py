"""Train with early stopping, tell MLflow every epoch, and register the best checkpoint; or go on with such a training.

mlflow run . -P patience=30
python src/train.py --patience 3
python src/train.py --resume latest
python src/train.py --help
"""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from imdb_conv1d import console
from imdb_conv1d.config import TrainCommand, TrainParameters
from imdb_conv1d.console import Interrupted, Signals, say

if TYPE_CHECKING:
    from imdb_conv1d.places import Claim
    from imdb_conv1d.resumption import Earlier


def main(argv: Sequence[str], signals: Signals) -> None:
    """What is slow to import comes after the parameters' check."""
    command = TrainCommand.parse(argv)

    from imdb_conv1d import resumption, stores
    from imdb_conv1d.places import Claim

    stores.require_answers()
    with Claim() as claim:
        earlier = resumption.find(command, claim)
        if earlier and earlier.is_complete:
            resumption.finish(earlier, claim)
        else:
            train(earlier.parameters if earlier else command.parameters, claim, earlier, signals)


def train(parameters: TrainParameters, claim: "Claim", earlier: "Earlier | None", signals: Signals) -> None:
    """Data, words, network, fit, registry."""
    from imdb_conv1d import data, environment, resumption, runs, sources

    source = sources.resolve(earlier.source if earlier else parameters.data)
    say(source.note or f"data: {source.name}")
    reviews = data.load(source, parameters.validation_split)
    say(reviews.summary())

    environment.make_repeatable(parameters.seed)

    from imdb_conv1d import model, publishing, report, text
    from imdb_conv1d.registry import Record
    from imdb_conv1d.training import Training

    name, maxlen = parameters.model_name, parameters.maxlen
    beginning = resumption.beginning(parameters, source.name, claim, earlier)
    with runs.run("train", parameters.headline, parameters.spelled(), signals, training=beginning) as run:
        say(f"run {run.id} {parameters.headline!r}")
        facts = {"data": reviews.digest} | environment.machine() | environment.versions()
        training = Training(parameters, run.folder, run.epoch, signals, facts, earlier.logged if earlier else None)
        train, validation = reviews.part("train"), reviews.part("validation")
        try:
            run.training_data(reviews)
            run.environment(environment.versions(), environment.machine())
            words = [text.split(part["text"]) for part in (train, validation)]
            vocabulary = text.keep_vocabulary(
                run.folder, functools.partial(text.vocabulary, words[0], parameters.max_features)
            )
            table = text.lookup(vocabulary)
            ids = [text.encode(part, table, maxlen) for part in words]
            del words  # hundreds of megabytes of strings
            parts = [(x, part["label"].to_numpy()) for x, part in zip(ids, (train, validation), strict=True)]
            network = model.build(parameters)
            run.tags({"layers": "fused" if network.fused else "plain"})
            after = training.restore(network)
            if earlier and (after or earlier.has_begun):
                say(f"going on after epoch {after}")
                run.tags(earlier.tags(after))
            say(f"training a network of {network.plain.count_params():,} weights, at most {parameters.epochs:,} epochs")
            training.fit(network, *parts)
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
        model_id = publishing.registered(name, run.id)
        if not model_id:
            model_id = publishing.store(
                name, run.folder / report.BEST, vocabulary, maxlen, training.best_epoch, parameters.spelled(), record
            )
            publishing.require_same_loss(model_id, validation, training.best_loss(parts[1]))
        report.figures(run, training, model_id)
        tags = {"best_epoch": str(training.best_epoch), f"best_{monitor}": repr(best[monitor])}
        tags["data_digest"] = reviews.digest
        signals.hold_to_the_end()  # from here on the work is done: a signal no longer undoes it
        version = publishing.register(name, model_id, run.id, report.description(reviews, training), tags)
        run.describe(report.description(reviews, training, f"Registered as **{name} version {version}**."))
        run.settle()
        run.tags({"registered_version": version})  # last: with it, the training is complete
    say(f"registered {name} version {version}, alias {publishing.CANDIDATE}")


if __name__ == "__main__":
    console.run(main)
