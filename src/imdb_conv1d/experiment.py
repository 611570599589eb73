"""The IMDB sentiment classifier as an experiment, the object that the verbs take. Methods import what is slow."""

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

# In a promotion, a probability of the true label below 0.001 counts as 0.001.
MAX_NATS = math.log(1000)
TERMS = Terms("review", "log loss", "nats", max_loss=MAX_NATS, margin=0.02, correct="accuracy")


class ImdbConv1D(Experiment):
    """The article's network, trained on movie reviews."""

    name = "imdb-conv1d"
    Parameters = TrainParameters
    EvaluateParameters = EvaluateParameters
    PromoteParameters = PromoteParameters
    metrics = (Metric(schema.LOSS, "min"), Metric(schema.ACCURACY, "max"))
    terms = TERMS
    headline = (schema.LOSS, schema.ACCURACY)
    file_patterns = (schema.VOCABULARY.replace(".", r"\.").format(sha256="[0-9a-f]{64}"),)
    owns_untagged_runs = True  # versions before experiments had names trained this one only
    inputs_switch = "log_texts"
    legacy_seen_metric = schema.LEGACY_SEEN
    advice = "a smaller learning_rate than {learning_rate} may help"

    def load(self, parameters: TrainParameters, source: str) -> "Reviews":
        """Read the reviews and print their source."""
        from imdb_conv1d import dataset, sources

        reviews = sources.resolve(source or parameters.data)
        say(reviews.note or f"data: {reviews.name}")
        return dataset.load(reviews, parameters.validation_split)

    def build(
        self, parameters: TrainParameters, dataset: "Reviews", folder: Path, resumed_tags: Mapping[str, str]
    ) -> "NetworkTrainee":
        """Build the vocabulary, the ids and the network."""
        from imdb_conv1d import networks, tokenizer

        _, ids = tokenizer.encode_parts(dataset.words, folder, parameters.max_features, parameters.maxlen)
        dataset.forget_words()
        labels = [part["label"].to_numpy() for part in dataset.seen]
        train, validation = zip(ids, labels, strict=True)
        network = networks.build(parameters, resumed_tags.get(schema.LAYERS, ""))
        return networks.NetworkTrainee(network, parameters, train, validation)

    def package(self, parameters: TrainParameters, dataset: "Reviews", folder: Path, checkpoint: Path) -> Package:
        """Package the best network with the vocabulary: text in, probability out."""
        from imdb_conv1d import tokenizer
        from imdb_conv1d.package import package

        return package(checkpoint, tokenizer.find_vocabulary(folder), parameters.maxlen, dataset)

    def load_part(self, source: str, whole: bool) -> "ReviewsPart":
        """Find the reviews to predict: a test part."""
        from imdb_conv1d import reviews_part

        return reviews_part.load_part(source, whole)

    def predict(
        self, model: Any, part: "ReviewsPart", trained_on: TrainedOn
    ) -> "Iterator[tuple[pd.DataFrame, pd.DataFrame]]":
        """Predict each review's probability of being positive."""
        from imdb_conv1d import predict

        return predict.predict(model, part, trained_on)

    def score(self, predictions: "pd.DataFrame") -> dict[str, float]:
        """Compute the scores of a binary classifier."""
        from imdb_conv1d.metrics import compute_scores

        return compute_scores(predictions["label"], predictions["probability"], predictions["key"])

    def draw(self, predictions: "pd.DataFrame", mark: str) -> "dict[str, Figure]":
        """Draw the confusion matrix, both curves and the calibration."""
        from imdb_conv1d import evaluation_plots

        return evaluation_plots.draw_all(predictions["label"], predictions["probability"], mark)

    def summarize(self, scores: Mapping[str, float]) -> str:
        """Summarize loss, accuracy with its interval, and the area under the ROC curve."""
        loss, accuracy, low, high, area = (
            f"{scores[name]:.4f}"
            for name in (schema.LOSS, schema.ACCURACY, schema.ACCURACY_LOW, schema.ACCURACY_HIGH, schema.ROC_AUC)
        )
        interval = f"95 % interval {low} to {high}"
        return f"test_loss {loss}, test_accuracy {accuracy} ({interval}), ROC AUC {area}"

    def show_worst(self, inputs: "pd.DataFrame", with_inputs: bool) -> "pd.DataFrame":
        """Choose label, probability and text (or its hash) of the most confident mistakes."""
        return inputs[["label", "probability", "text" if with_inputs else "hash"]]

    def explain_mismatch(self, inputs: Sequence[Any]) -> str:
        """Explain by the signature why a model does not take text; empty if it does."""
        if len(inputs) == 1 and getattr(inputs[0].type, "kind", "") in ("O", "U") and tuple(inputs[0].shape) == (-1,):
            return ""
        actual = ", ".join(map(str, inputs)) or "no input in its signature"
        return f"takes no text but {actual}; allowed: a model with one text as its input"

    def upgrade_predictions(self, predictions: "pd.DataFrame", version: str) -> "pd.DataFrame":
        """Convert predictions that evaluations before format 3 have logged."""
        from imdb_conv1d import predict

        return predict.upgrade_predictions(predictions, version)


EXPERIMENT = ImdbConv1D()
