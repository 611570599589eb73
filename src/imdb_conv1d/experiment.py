"""The IMDB sentiment classifier as an experiment, the object that the verbs take. Methods import what is slow."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from imdb_conv1d import schema
from imdb_conv1d.labels import Classes
from imdb_conv1d.parameters import (
    MAX_GATED,
    EvaluateParameters,
    ExplainParameters,
    PredictParameters,
    PromoteParameters,
    TrainParameters,
)
from tracked.console.errors import UserError
from tracked.console.lines import say
from tracked.console.parameters import refusal
from tracked.experiment import SEEN_PARTS, Experiment, Inputs, Metric, Package, Request, Terms, TrainedOn

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from imdb_conv1d.dataset import LabelledTexts
    from imdb_conv1d.networks import NetworkTrainee
    from imdb_conv1d.text_scorer import TextScorer
    from imdb_conv1d.texts_part import TextsPart

# In a promotion, a probability of the true label below 0.001 counts as 0.001.
MAX_NATS = math.log(1000)
TERMS = Terms("review", "log loss", "nats", max_loss=MAX_NATS, margin=0.02, correct="accuracy")


class ImdbConv1D(Experiment):
    """The article's network, trained on movie reviews."""

    name = schema.NAME
    Parameters = TrainParameters
    EvaluateParameters = EvaluateParameters
    PromoteParameters = PromoteParameters
    PredictParameters = PredictParameters
    ExplainParameters = ExplainParameters
    own_verbs: ClassVar[Mapping[str, str]] = {"explain": "imdb_conv1d.verbs.explain"}
    metrics = (Metric(schema.LOSS, "min"), Metric(schema.ACCURACY, "max"))
    terms = TERMS
    request_name: ClassVar[str] = "texts"
    headline = (schema.LOSS, schema.ACCURACY)
    file_patterns = tuple(
        name.replace(".", r"\.").format(sha256="[0-9a-f]{64}") for name in (schema.VOCABULARY, schema.NGRAMS)
    )
    data_parameters = (
        "data", "text_column", "label_column", "encoding", "positive_label", "validation_split", "test_split",
    )  # fmt: skip
    baselines: ClassVar[Mapping[str, str]] = schema.BASELINES
    owns_untagged_runs = True  # versions before experiments had names trained this one only
    inputs_switch = "log_texts"
    legacy_seen_metric = schema.LEGACY_SEEN
    space = (
        "learning_rate=3e-4..1e-2/log schedule=constant,cosine max_features=5000..30000/5000 "
        "filters=64..256/64 hidden_dims=64..256/64 dropout=0..0.6"
    )
    advice = "a smaller learning_rate than {learning_rate} may help"
    operation_threads: ClassVar[int] = 1  # the fused layers have parts
    end_modules: ClassVar[Sequence[str]] = ("imdb_conv1d.package",)

    def load(self, parameters: TrainParameters, source: str) -> "LabelledTexts":
        """Index the texts and print their source.

        Raises:
            UserError: as ``dataset.load``.
        """
        from imdb_conv1d import dataset, sources
        from imdb_conv1d.columns import Layout

        texts = sources.resolve(source or parameters.data, Layout.of(parameters))
        say(texts.note or f"data: {texts.name}")
        return dataset.load(texts, parameters.validation_split, parameters.test_split, parameters.positive_label)

    def check_data(self, parameters: TrainParameters, dataset: "LabelledTexts") -> None:
        """Refuse ``network=gated`` where it is to tell too many labels apart."""
        if parameters.network == "gated" and len(dataset.classes) > MAX_GATED:
            allowed = f"conv with more than {MAX_GATED} labels; {dataset.source} has {len(dataset.classes):,}"
            raise UserError(refusal("network", parameters.network, allowed))

    def build(
        self, parameters: TrainParameters, dataset: "LabelledTexts", folder: Path, resumed_tags: Mapping[str, str]
    ) -> "NetworkTrainee":
        """Build the vocabulary, the ids and the network; the dataset holds the ids for the next training."""
        import numpy as np

        from imdb_conv1d import networks, prepare
        from imdb_conv1d.batches import balance_classes
        from tracked.training.derived_cache import DerivedCache

        classes, cache = len(dataset.classes), DerivedCache.of(self, parameters)
        prepared = prepare.encode(dataset, parameters, folder, cache)
        encoding = prepared.encoding
        dataset.keys = encoding.keys
        kind = np.float32 if classes == 2 else np.int32
        labels = [dataset.labels(part).astype(kind) for part in SEEN_PARTS]
        train, validation = zip(encoding.parts, labels, strict=True)
        weights = balance_classes(labels[0], classes) if parameters.class_weight == "balanced" else None
        if parameters.network == "gated":
            from imdb_conv1d import gated

            return gated.build(parameters, train, validation, classes, folder, weights, prepared.ngrams, cache)
        layers = resumed_tags.get(schema.LAYERS, "")
        network = networks.build(parameters, layers, classes, len(labels[0]))
        return networks.NetworkTrainee(network, parameters, train, validation, weights)

    def package(self, parameters: TrainParameters, dataset: "LabelledTexts", folder: Path, checkpoint: Path) -> Package:
        """Package the best network with the vocabulary: text in, probabilities out."""
        from imdb_conv1d.package import package

        return package(checkpoint, folder, dataset, parameters)

    def load_part(self, request: Request) -> "TextsPart":
        """Find the reviews to predict: a test part."""
        from imdb_conv1d import texts_part

        return texts_part.load_part(request)

    def predict(
        self, model: Any, part: "TextsPart", trained_on: TrainedOn
    ) -> "Iterator[tuple[pd.DataFrame, pd.DataFrame]]":
        """Predict each text's probability of label 1, or its label of more than two."""
        from imdb_conv1d import predict

        return predict.predict(model, part, trained_on)

    def find_inputs(self, request: Request) -> Inputs:
        """Name the columns of the texts and their encoding; auto: as in the model's training."""
        from imdb_conv1d import columns

        encoding = columns.choose("encoding", request.parameters, request.metadata)
        names = columns.name_texts(request.parameters, request.metadata)
        return Inputs(names, columns.find_encoding(encoding), "text_column")

    def open_scorer(self, model: Any, request: Request) -> "TextScorer":
        """Make what classifies texts."""
        from imdb_conv1d.text_scorer import TextScorer

        return TextScorer(model, self.find_inputs(request).columns, request.metadata, request.online)

    def observe_training(self, scorer: Any, trained_on: TrainedOn) -> "dict[str, Any]":
        """Observe the validation part: of its own training part, a model knows every word and is too certain."""
        from imdb_conv1d import text_observations

        return text_observations.observe_training(scorer, trained_on)

    def predict_baselines(self, part: "TextsPart", trained_on: TrainedOn) -> "dict[str, pd.DataFrame]":
        """Predict with the most frequent class and a linear model, fitted on the model's own training part."""
        from imdb_conv1d import baselines

        return baselines.predict_baselines(part, trained_on)

    def describe_recipe(self, trained_on: TrainedOn) -> str:
        """Describe the baselines' version, tokens, labels and parts."""
        from imdb_conv1d import baselines

        return baselines.describe_recipe(trained_on)

    def score(self, predictions: "pd.DataFrame") -> dict[str, float]:
        """Compute the scores of a classifier of two classes or more."""
        from imdb_conv1d import metrics
        from imdb_conv1d.outcomes import Outcomes

        return metrics.score(Outcomes.of(predictions))

    def draw(self, predictions: "pd.DataFrame", mark: str) -> "dict[str, Figure]":
        """Draw the confusion matrix, the calibration, and both curves of two classes or each class of more."""
        from imdb_conv1d import evaluation_plots
        from imdb_conv1d.outcomes import Outcomes

        return evaluation_plots.draw_all(Outcomes.of(predictions), mark)

    def tabulate(self, predictions: "pd.DataFrame", inputs: "pd.DataFrame") -> "dict[str, pd.DataFrame]":
        """Make the tables of each class and of the pairs of classes that are confused most."""
        from imdb_conv1d import class_scores
        from imdb_conv1d.outcomes import Outcomes

        return class_scores.tabulate(Outcomes.of(predictions), inputs)

    def summarize(self, scores: Mapping[str, float]) -> str:
        """Summarize loss, accuracy with its interval, and the area under the ROC curve; of many classes macro F1."""
        accuracy = _format_score(scores, schema.ACCURACY, schema.ACCURACY_LOW, schema.ACCURACY_HIGH)
        begin = f"test_loss {scores[schema.LOSS]:.4f}, test_accuracy {accuracy}"
        if schema.ROC_AUC in scores:
            return f"{begin}, ROC AUC {scores[schema.ROC_AUC]:.4f}"
        macro_f1 = _format_score(scores, schema.MACRO_F1, schema.MACRO_F1_LOW, schema.MACRO_F1_HIGH)
        return f"{begin}, test_macro_f1 {macro_f1}"

    def show_worst(self, inputs: "pd.DataFrame", with_inputs: bool) -> "pd.DataFrame":
        """Choose label, prediction, probability and text (or its hash) of the most confident mistakes."""
        wanted = ["label", schema.PREDICTED, "probability", "text" if with_inputs else "hash"]
        return inputs[[name for name in wanted if name in inputs]]

    def explain_mismatch(self, inputs: Sequence[Any]) -> str:
        """Explain by the signature why a model does not take text; empty if it does."""
        if len(inputs) == 1 and getattr(inputs[0].type, "kind", "") in ("O", "U") and tuple(inputs[0].shape) == (-1,):
            return ""
        actual = ", ".join(map(str, inputs)) or "no input in its signature"
        return f"takes no text but {actual}; allowed: a model with one text as its input"

    def explain_incomparable(self, metadata: Mapping[str, Any], others: Mapping[str, Any]) -> str:
        """Explain how the labels of two models differ; empty if they are the same in the same order."""
        difference = Classes.of_model(metadata).explain_difference(Classes.of_model(others))
        advice = "allowed: a version with the same labels; train others under another model_name"
        return f"their labels differ ({difference}); {advice}" if difference else ""

    def upgrade_predictions(self, predictions: "pd.DataFrame", version: str) -> "pd.DataFrame":
        """Convert predictions that evaluations before format 3 have logged."""
        from imdb_conv1d import predict

        return predict.upgrade_predictions(predictions, version)


def _format_score(scores: Mapping[str, float], name: str, low: str, high: str) -> str:
    """Format a score with its interval, where it has one."""
    if low not in scores:
        return f"{scores[name]:.4f}"
    return f"{scores[name]:.4f} (95 % interval {scores[low]:.4f} to {scores[high]:.4f})"


EXPERIMENT = ImdbConv1D()
