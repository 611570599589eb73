"""The article's network, after Keras's example imdb_cnn."""

import keras

from imdb_conv1d.config import TrainParameters


def build(parameters: TrainParameters) -> keras.Model:
    """The compiled network: ids int [batch, maxlen] to the probability of a positive review, float [batch, 1]."""
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((parameters.maxlen,), dtype="int32", name="ids"),
            layers.Embedding(parameters.max_features, parameters.embedding_dims),
            layers.Dropout(0.2),
            layers.Conv1D(parameters.filters, parameters.kernel_size, padding="valid", activation="relu", strides=1),
            layers.GlobalMaxPooling1D(),
            layers.Dense(parameters.hidden_dims),
            layers.Dropout(0.2),
            layers.Activation("relu"),
            layers.Dense(1),
            layers.Activation("sigmoid"),
        ],
        name="imdb_conv1d",
    )
    adam = keras.optimizers.Adam(parameters.learning_rate)
    network.compile(loss="binary_crossentropy", optimizer=adam, metrics=["accuracy"])
    return network
