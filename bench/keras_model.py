"""The article's model in plain Keras, for the peers."""

import keras
from keras import layers


def make(classes: int = 2) -> keras.Model:
    """Make and compile the model: ids to the probability of label 1; of more than two classes, of each."""
    outputs, activation, loss = 1, "sigmoid", "binary_crossentropy"
    if classes > 2:
        outputs, activation, loss = classes, "softmax", "sparse_categorical_crossentropy"
    model = keras.Sequential(
        [
            layers.Embedding(5000, 50),
            layers.Dropout(0.2),
            layers.Conv1D(250, 3, padding="valid", activation="relu", strides=1),
            layers.GlobalMaxPooling1D(),
            layers.Dense(250),
            layers.Dropout(0.2),
            layers.Activation("relu"),
            layers.Dense(outputs),
            layers.Activation(activation),
        ]
    )
    model.compile(loss=loss, optimizer="adam", metrics=["accuracy"])
    return model
