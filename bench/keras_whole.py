"""Train, register and evaluate the article's model as a usual Keras script under MLflow does, from ready ids.

python bench/keras_whole.py bench/out/ids.npz 3 7 [lean]

Arguments: the ids of all parts, the patience, the seed. The best epoch's model is stored, registered and scored on the
test part. With ``lean`` the model's requirements are given, where MLflow otherwise finds them out by loading the model
in another process.
"""

import sys

import keras
import mlflow
import tensorflow as tf

import ids
import keras_model

file, patience, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
lean = sys.argv[4:] == ["lean"]
train, validation, test = ids.load(file, suffixes=ids.SUFFIXES)
keras.utils.set_random_seed(seed)
model = keras_model.make()
with mlflow.start_run() as run:
    mlflow.log_params({"patience": patience, "min_delta": 0.0001, "seed": seed})
    model.fit(
        *train,
        batch_size=32,
        epochs=200_000,
        validation_data=validation,
        validation_batch_size=256,
        callbacks=[
            keras.callbacks.EarlyStopping("val_loss", min_delta=0.0001, patience=patience),
            keras.callbacks.ModelCheckpoint("best.keras", save_best_only=True),
            mlflow.tensorflow.MlflowCallback(run),
        ],
        verbose=2,
    )
    best = keras.saving.load_model("best.keras")
    mlflow.tensorflow.log_model(
        best,
        name="model",
        registered_model_name="keras",
        signature=mlflow.models.infer_signature(test[0][:2], best.predict(test[0][:2], verbose=0)),
        pip_requirements=[f"tensorflow=={tf.__version__}"] if lean else None,
    )
    loss, accuracy = best.evaluate(*test, batch_size=256, verbose=0)
    mlflow.log_metrics({"test_loss": loss, "test_accuracy": accuracy})
print(f"test_loss {loss:.4f}, test_accuracy {accuracy:.4f}")
