"""The article's model as a plain Keras script, alone or tracked by MLflow's autolog or callback.

python bench/keras_peer.py bench/out/ids.npz 3 7 none|autolog|callback [anew]

The labels in the file may be of more than two classes.

With ``anew``, each epoch has another order of the reviews; a usual script with a seed repeats one order.
"""

import sys

import keras

import ids
import keras_model

file, epochs, seed, tracking = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
anew = sys.argv[5:] == ["anew"]
(x_train, y_train), (x_validation, y_validation) = ids.load(file)
classes = int(y_train.max()) + 1
keras.utils.set_random_seed(seed)

model = keras_model.make(classes)

callbacks = [
    keras.callbacks.EarlyStopping("val_loss", min_delta=0.0001, patience=30),
    keras.callbacks.ModelCheckpoint("best.keras", save_best_only=True),
]
if tracking != "none":
    import mlflow

    mlflow.set_experiment("keras")
if tracking == "autolog":
    mlflow.tensorflow.autolog()
if tracking == "callback":
    run = mlflow.start_run()
    callbacks.append(mlflow.tensorflow.MlflowCallback(run))

data = {"x": ids.shuffled(x_train, y_train, seed)} if anew else {"x": x_train, "y": y_train, "batch_size": 32}
model.fit(
    **data,
    epochs=epochs,
    validation_data=(x_validation, y_validation),
    validation_batch_size=256,
    callbacks=callbacks,
    verbose=2,
)
