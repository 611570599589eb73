"""Train with early stopping, tell MLflow every epoch, and register the best checkpoint; or go on with such a training.

mlflow run . -P patience=30
python src/train.py --patience 3
python src/train.py --resume latest
python src/train.py --help
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from imdb_conv1d.parameters import TrainCommand, TrainParameters
from tracked.console import entry
from tracked.console.errors import Interrupted
from tracked.console.lines import say
from tracked.console.signals import Signals

if TYPE_CHECKING:
    from tracked.resume.resumption import Earlier
    from tracked.training.run_folder import Claim


def main(argv: Sequence[str], signals: Signals) -> None:
    """What is slow to import comes after the parameters' check."""
    command = TrainCommand.parse(argv)

    from tracked.resume import resumption
    from tracked.runs import connection
    from tracked.training.run_folder import Claim

    connection.require_answers()
    with Claim() as claim:
        earlier = resumption.find(command, claim)
        if earlier and earlier.is_complete:
            resumption.finish(earlier, claim)
        else:
            train(earlier.parameters if earlier else command.parameters, claim, earlier, signals)


def train(parameters: TrainParameters, claim: "Claim", earlier: "Earlier | None", signals: Signals) -> None:
    """Data, words, network, fit, registry."""
    from imdb_conv1d import dataset, sources
    from tracked.resume import resumption
    from tracked.runs import context
    from tracked.training import reproducibility

    source = sources.resolve(earlier.source if earlier else parameters.data)
    say(source.note or f"data: {source.name}")
    reviews = dataset.load(source, parameters.validation_split)
    say(reviews.summary())
    if earlier:
        resumption.require_same_data(earlier, source.name, reviews.digest)

    reproducibility.make_repeatable(parameters.seed)

    from imdb_conv1d import leaks, networks, tokenizer
    from tracked.analysis.early_stopping import OTHER_HISTORY
    from tracked.models import finalize, publisher
    from tracked.reports import training_report
    from tracked.runs import writer
    from tracked.training.journal import HistoryError
    from tracked.training.trainer import Training

    beginning = resumption.beginning(parameters, source.name, claim, earlier)
    recorded = earlier.former if earlier else parameters
    with context.run("train", parameters.headline, recorded.spelled(), signals, training=beginning) as run:
        say(f"run {run.id} {parameters.headline!r}")
        versions, machine = reproducibility.versions(), reproducibility.machine()
        facts = {"data": reviews.digest, "code": reproducibility.code()} | machine | versions
        logged, former = (earlier.logged, earlier.run.data.tags) if earlier else ({}, {})
        noted = not logged

        def deliver(step: int, milliseconds: int, values: dict[str, float]) -> None:
            nonlocal noted
            if not noted:  # what the run has was trained under what it says, until something is added
                run.environment(versions, machine)
                noted = True
            run.epoch(step, milliseconds, values)

        before = writer.environment(former, machine | versions)
        training = Training(parameters, run.folder, deliver, signals, facts, logged, before)
        try:
            run.training_data(reviews)
            if noted:
                run.environment(versions, machine)
            parts = [reviews.part(name) for name in ("train", "validation")]
            words = [tokenizer.split(part["text"]) for part in parts]
            run.training_rows(leaks.recorded(reviews.table, parts, words, parameters.maxlen))
            vocabulary, ids = tokenizer.prepare(words, run.folder, parameters.max_features, parameters.maxlen)
            del words  # many times the size of the ids
            learned, validated = zip(ids, [part["label"].to_numpy() for part in parts], strict=True)
            network = networks.build(parameters, former.get("layers", ""))
            if network.note:
                say(network.note)
            run.tags({"layers": "fused" if network.fused else "plain"})
            after = training.restore(network)
            if earlier and (earlier.has_begun or earlier.raised):
                say(f"going on after epoch {after}")
                earlier.note(after)
            say(f"training a network of {network.plain.count_params():,} weights, at most {parameters.epochs:,} epochs")
            training.fit(network, learned, validated)
        except HistoryError:
            training.network, run.stop_reason = None, OTHER_HISTORY  # what it came to is not the run's
            raise
        except Interrupted:
            training.reason = "interrupted"
            raise
        finally:
            with signals.held():
                if training.network or not (earlier and earlier.has_begun):  # else the former report stands
                    training_report.queue(run, reviews, training)
        signals.check()
        say(training_report.headline(training))
        run.settle()
        version = finalize.complete(run, reviews, training, vocabulary, signals)
    say(f"registered {version}, alias {publisher.CANDIDATE}")


if __name__ == "__main__":
    entry.run(main)
