"""Build the trainee of ``network=gated``: the n-grams' linear models, their values in every text, the network."""

import hashlib
from functools import partial
from pathlib import Path

import numpy as np

from imdb_conv1d import derived, networks, ngram_fit, ngram_model, ngram_values
from imdb_conv1d.networks import Encoded, NetworkTrainee
from imdb_conv1d.ngram_model import NgramModel
from imdb_conv1d.parameters import TrainParameters
from imdb_conv1d.reuse import NgramReuse
from imdb_conv1d.schema import NAME
from tracked.training.derived_cache import DerivedCache


def build(
    parameters: TrainParameters,
    train: Encoded,
    validation: Encoded,
    classes: int,
    folder: Path,
    class_weights: np.ndarray | None,
    reuse: NgramReuse | None = None,
    cache: DerivedCache | None = None,
) -> NetworkTrainee:
    """Fit the models, unless the run folder or an earlier training has them, and build the network on what they say.

    A training text's values come from the model that has not seen it, the others' from the model of all.

    Args:
        reuse: the n-grams of earlier trainings of the process on these ids and labels.
        cache: those of other processes.
    """
    reuse, cache = reuse or NgramReuse(), cache or DerivedCache(NAME, is_allowed=False)
    size, longest = parameters.max_features, parameters.ngrams
    (texts, labels), (held_out, _) = train, validation
    folds = ngram_fit.assign_folds(texts, parameters.seed, longest)

    def fit() -> NgramModel:
        asked = texts, labels, classes, folds, size, longest
        key = derived.describe_ngrams(*asked)
        return NgramModel(**cache.take(key, "fitting the n-grams", lambda: vars(ngram_fit.fit(*asked))))

    def number() -> np.ndarray:
        asked = [texts, held_out], size, longest, model.keys
        make = partial(ngram_values.number_in_file, *asked, folder)
        key = derived.describe_numbers(*asked)
        return cache.take(key, "numbering n-grams", lambda: {"numbers": make()})["numbers"]

    model = ngram_model.keep(folder, fit, reuse.models, (longest, parameters.seed))
    # Models of other folds may have the same n-grams.
    numbers = reuse.numbers.take((longest, hashlib.sha256(model.keys.data).digest()), number)
    lookups = [
        ngram_values.NgramValues(part, model, numbers, models)
        for part, models in ((texts, folds), (held_out, np.zeros(len(held_out), np.int32)))
    ]
    network = networks.build_gated(parameters, model, classes, len(texts))
    return NetworkTrainee(network, parameters, train, validation, class_weights, lookups)
