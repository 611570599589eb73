"""A small gated network with weights drawn at random, on a linear model of made-up ids."""

import keras
import numpy as np

from imdb_conv1d import gated_network, ngram_fit
from imdb_conv1d.ids import EncodedPart
from imdb_conv1d.ngram_model import NgramModel
from imdb_conv1d.parameters import TrainParameters


def make_parameters(members: int) -> TrainParameters:
    """Make parameters of a network that is built in a moment: 8 ids, texts of 12 at most."""
    return TrainParameters(
        network="gated", members=members, ngrams=3, max_features=8, maxlen=12, embedding_dims=4, hidden_dims=5
    )


def fit_ngrams(parameters: TrainParameters, classes: int) -> NgramModel:
    """Fit linear models on 40 texts, in which the most frequent word of three or more tells the class."""
    chance = np.random.default_rng(classes)
    labels = np.arange(40) % classes
    ids = np.zeros((40, parameters.maxlen), np.int32)
    for row, label in zip(ids, labels, strict=True):
        length = int(chance.integers(5, parameters.maxlen))
        words = np.where(chance.random(length) < 0.5, 3 + label, chance.integers(2, parameters.max_features, length))
        row[-length - 1 :] = [1, *words]
    part = EncodedPart.from_padded(ids)
    folds = ngram_fit.assign_folds(part, 0, parameters.ngrams)
    return ngram_fit.fit(part, labels, classes, folds, parameters.max_features, parameters.ngrams)


def build_network(parameters: TrainParameters, model: NgramModel, seed: int = 0) -> keras.Model:
    """Build the network to store, with gates that differ from 1."""
    network, _ = gated_network.build(parameters, model)
    chance = np.random.default_rng(seed)
    network.set_weights([chance.normal(size=weight.shape) for weight in network.get_weights()])
    return network
