"""The IMDB sentiment classifier as an experiment: what the commands take. What is slow to import comes when asked."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imdb_conv1d import schema
from imdb_conv1d.parameters import EvaluateParameters, PromoteParameters, TrainParameters
from tracked.console.lines import say
from tracked.experiment import Experiment, Metric, Package, Terms, TrainedOn

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from imdb_conv1d.dataset import Reviews
    from imdb_conv1d.networks import NetworkTrainee
    from imdb_conv1d.reviews_part import ReviewsPart

# A probability of the true label below 0.001 counts as that in a promotion.
MAX_NATS = math.log(1000)
TERMS = Terms("review", "log loss", "nats", max_loss=MAX_NATS, margin=0.02, correct="accuracy")


class ImdbConv1D(Experiment):
    """The article's network on movie reviews."""

    name = "imdb-conv1d"
    Parameters = TrainParameters
    EvaluateParameters = EvaluateParameters
    PromoteParameters = PromoteParameters
    metrics = (Metric(schema.LOSS, "min"), Metric(schema.ACCURACY, "max"))
    terms = TERMS
    headline = (schema.LOSS, schema.ACCURACY)
    file_patterns = (schema.VOCABULARY.replace(".", r"\.").format(sha256="[0-9a-f]{64}"),)
    owns_untagged_runs = True  # before experiments had names, there was this one
    inputs_switch = "log_texts"
    legacy_seen_metric = schema.LEGACY_SEEN
    advice = "a smaller learning_rate than {learning_rate} may help"

    def load(self, parameters: TrainParameters, source: str) -> "Reviews":
        """Read the reviews."""
        from imdb_conv1d import dataset, sources

        found = sources.resolve(source or parameters.data)
        say(found.note or f"data: {found.name}")
        return dataset.load(found, parameters.validation_split)

    def build(
        self, parameters: TrainParameters, dataset: "Reviews", folder: Path, resumed_tags: Mapping[str, str]
    ) -> "NetworkTrainee":
        """Make the vocabulary, the ids and the network."""
        from imdb_conv1d import networks, tokenizer

        _, ids = tokenizer.encode_parts(dataset.words, folder, parameters.max_features, parameters.maxlen)
        dataset.forget_words()
        labels = [part["label"].to_numpy() for part in dataset.learned]
        learned, validated = zip(ids, labels, strict=True)
        network = networks.build(parameters, resumed_tags.get(schema.LAYERS, ""))
        return networks.NetworkTrainee(network, parameters, learned, validated)

    def package(self, parameters: TrainParameters, dataset: "Reviews", folder: Path, checkpoint: Path) -> Package:
        """Put the words in front of the best network."""
        from imdb_conv1d import tokenizer
        from imdb_conv1d.package import package

        return package(checkpoint, tokenizer.find_vocabulary(folder), parameters.maxlen, dataset)

    def load_part(self, source: str, whole: bool) -> "ReviewsPart":
        """Find the reviews of a test part."""
        from imdb_conv1d import reviews_part

        return reviews_part.load_part(source, whole)

    def predict(
        self, model: Any, part: "ReviewsPart", trained_on: TrainedOn
    ) -> "Iterator[tuple[pd.DataFrame, pd.DataFrame]]":
        """Give each review its probability of being positive."""
        from imdb_conv1d import predict

        return predict.predict(model, part, trained_on)

    def score(self, predictions: "pd.DataFrame") -> dict[str, float]:
        """Score labels and probabilities."""
        from imdb_conv1d.metrics import compute_scores

        return compute_scores(predictions["label"], predictions["probability"], predictions["key"])

    def draw(self, predictions: "pd.DataFrame", mark: str) -> "dict[str, Figure]":
        """Draw confusion, curves and calibration."""
        from imdb_conv1d import evaluation_plots

        return evaluation_plots.draw_all(predictions["label"], predictions["probability"], mark)

    def summarize(self, scores: Mapping[str, float]) -> str:
        """Say loss, accuracy with its interval, and the area under the ROC curve."""
        loss, accuracy, low, high, area = (
            f"{scores[name]:.4f}"
            for name in (schema.LOSS, schema.ACCURACY, schema.ACCURACY_LOW, schema.ACCURACY_HIGH, schema.ROC_AUC)
        )
        interval = f"95 % interval {low} to {high}"
        return f"test_loss {loss}, test_accuracy {accuracy} ({interval}), ROC AUC {area}"

    def show_worst(self, inputs: "pd.DataFrame", with_inputs: bool) -> "pd.DataFrame":
        """Show the most confident mistakes, with their text or with its hash."""
        return inputs[["label", "probability", "text" if with_inputs else "hash"]]

    def explain_mismatch(self, inputs: Sequence[Any]) -> str:
        """Say why a model takes no text, by its signature; empty if it does."""
        if len(inputs) == 1 and getattr(inputs[0].type, "kind", "") in ("O", "U") and tuple(inputs[0].shape) == (-1,):
            return ""
        takes = ", ".join(map(str, inputs)) or "nothing that its signature names"
        return f"takes no text but {takes}; allowed: a model with one text as its input"

    def upgrade_predictions(self, predictions: "pd.DataFrame", version: str) -> "pd.DataFrame":
        """Read what evaluations before format 3 have stored."""
        from imdb_conv1d import predict

        return predict.upgrade_predictions(predictions, version)


EXPERIMENT = ImdbConv1D()
