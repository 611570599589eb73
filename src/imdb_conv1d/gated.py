"""Build the trainee of ``network=gated``: the n-grams' linear models, their values in every text, the network."""

from pathlib import Path

import numpy as np

from imdb_conv1d import networks, ngram_fit, ngram_model, ngram_values
from imdb_conv1d.networks import Encoded, NetworkTrainee
from imdb_conv1d.parameters import TrainParameters


def build(
    parameters: TrainParameters,
    train: Encoded,
    validation: Encoded,
    classes: int,
    folder: Path,
    class_weights: np.ndarray | None,
) -> NetworkTrainee:
    """Fit the models, unless the run folder has them, and build the network on what they say.

    A training text's values come from the model that has not seen it, the others' from the model of all.
    """
    size, longest = parameters.max_features, parameters.ngrams
    (texts, labels), (held_out, _) = train, validation
    folds = ngram_fit.assign_folds(texts, parameters.seed, longest)
    model = ngram_model.keep(folder, lambda: ngram_fit.fit(texts, labels, classes, folds, size, longest))
    numbers = ngram_values.number_in_file([texts, held_out], size, longest, model.keys, folder)
    lookups = [
        ngram_values.NgramValues(part, model, numbers, models)
        for part, models in ((texts, folds), (held_out, np.zeros(len(held_out), np.int32)))
    ]
    network = networks.build_gated(parameters, model, classes, len(texts))
    return NetworkTrainee(network, parameters, train, validation, class_weights, lookups)
