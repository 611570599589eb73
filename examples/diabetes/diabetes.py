"""Predict the progression of a patient's diabetes: a regression that is trained, evaluated and promoted.

python examples/diabetes/diabetes.py train --patience 20
python examples/diabetes/diabetes.py evaluate  # predict, serve, replay, compare, promote, rollback, unfinished, tidy
mlflow run examples/diabetes -P patience=20

Data: 442 patients of Efron et al. (2004), shipped with scikit-learn, with ten measurements and a score from 25 to 346
one year later. Expect a mean absolute error of 46 to 47 points on the 147 held-out patients, and an R2 of 0.48.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

# A clone needs no install; anywhere else, the package is installed and this folder does not exist.
sys.path.insert(0, str((Path(__file__).resolve().parent / "../../src").resolve()))

from pydantic import Field

from tracked.console.errors import UserError
from tracked.console.parameters import MAX_INT
from tracked.console.rate_parameters import ALLOWED_RATES, Rate, RateParameters
from tracked.experiment import Experiment, Inputs, Metric, Package, Request, Terms, TrainedOn
from tracked.verbs import command

SOURCE = "sklearn.datasets.load_diabetes"
MEASUREMENTS = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
NORM = 21.0  # columns have unit norm; times the root of 442, a standard deviation of 1
EDGES = [deviations / NORM for deviations in (-2, -1, -0.5, 0, 0.5, 1, 2)]  # between these, drift is looked for


class DiabetesParameters(RateParameters):
    """Train a small network until its error no longer falls, and register the best checkpoint."""

    batch_size: int = Field(32, ge=1, le=MAX_INT, description="Patients per step")
    hidden_units: int = Field(64, ge=1, le=MAX_INT, description="Units of the hidden layer")
    learning_rate: Rate = Field(0.01, description="Adam's step size; auto: as find_rate suggests",
        json_schema_extra={"allowed": ALLOWED_RATES})  # fmt: skip


class Diabetes(Experiment):
    """Predict the score one year later, in points, from ten measurements."""

    name = "diabetes"
    Parameters = DiabetesParameters
    metrics = (Metric("loss", "min"), Metric("r2", "max"))  # the loss is the mean absolute error, in points
    terms = Terms(row="patient", loss="absolute error", unit="points", max_loss=200, margin=10)
    headline = ("loss", "r2")
    baselines: ClassVar[Mapping[str, str]] = {"median": "the median", "linear": "the linear regression"}
    space = "learning_rate=0.001..0.1/log schedule=constant,cosine batch_size=16,32,64 hidden_units=16..256/16"
    advice = "a smaller learning_rate than {learning_rate} may help"

    def load(self, parameters: DiabetesParameters | None, source: str) -> Any:
        """Read the table; a third of its rows is held out."""
        from sklearn.datasets import load_diabetes

        from tracked.training.table_dataset import TableDataset

        return TableDataset(SOURCE, load_diabetes(as_frame=True).frame, "target", test=1 / 3)

    def build(self, parameters: DiabetesParameters, dataset: Any, folder: Path, resumed_tags: Mapping[str, str]) -> Any:
        """Make a network with one hidden layer."""
        import keras

        from tracked.training.keras_trainee import KerasTrainee
        from tracked.training.schedules import make_rate

        layers = keras.layers
        model = keras.Sequential([
            keras.Input((10,)),
            layers.Rescaling(NORM),
            layers.Dense(parameters.hidden_units, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(1, bias_initializer=keras.initializers.Constant(150)),
        ])  # fmt: skip
        steps = -(-dataset.counts["train"] // parameters.batch_size)  # of an epoch
        adam = keras.optimizers.Adam(make_rate(parameters, steps))
        model.compile(optimizer=adam, loss="mean_absolute_error", metrics=[keras.metrics.R2Score(name="r2")])
        parts = dataset.arrays("train"), dataset.arrays("validation")
        return KerasTrainee(model, *parts, seed=parameters.seed, batch_size=parameters.batch_size)

    def package(self, parameters: DiabetesParameters, dataset: Any, folder: Path, checkpoint: Path) -> Package:
        """Register the network as it is."""
        from tracked.models.keras_package import package_keras

        return package_keras(checkpoint, dataset.arrays("validation"), lambda target, output: abs(target - output))

    def load_part(self, request: Request) -> Any:
        """Return the held-out patients."""
        if request.source != SOURCE:
            raise UserError(f"data: {request.source!r} is not allowed; allowed: auto")
        return self.load(None, request.source).part("test")

    def predict(self, model: Any, part: Any, trained_on: TrainedOn) -> Iterator[Any]:
        """Predict each patient's score, with its absolute error as loss."""
        import pandas as pd

        inputs, target = part.arrays
        output = model.predict(inputs)
        table = pd.DataFrame({"id": part.ids, "key": part.keys, "target": target[:, 0], "predicted": output[:, 0]})
        table["loss"] = (table["target"] - table["predicted"]).abs()
        yield table.assign(seen=part.seen(trained_on)), part.inputs.assign(predicted=table["predicted"])

    def find_inputs(self, request: Request) -> Inputs:
        """Read the ten measurements."""
        return Inputs(MEASUREMENTS)

    def open_scorer(self, model: Any, request: Request) -> Any:
        """Answer with the network."""
        from tracked.predict.number_scorer import NumberScorer

        edges = dict.fromkeys(MEASUREMENTS, EDGES)
        return NumberScorer(model, edges, answer_edges=range(50, 301, 25), online=request.online)

    def observe_training(self, scorer: Any, trained_on: TrainedOn) -> Mapping[str, Any]:
        """Observe measurements and answers of the data of the training."""
        return scorer.observe_dataset(self._reload(trained_on))

    def predict_baselines(self, part: Any, trained_on: TrainedOn) -> Mapping[str, Any]:
        """Predict the training part's median, and with a linear regression."""
        import pandas as pd
        from sklearn.dummy import DummyRegressor
        from sklearn.linear_model import LinearRegression

        (inputs, target), (rows, truth) = self._reload(trained_on).arrays("train"), part.arrays
        tables, table = {}, pd.DataFrame({"id": part.ids, "target": truth[:, 0]})
        for name, model in {"median": DummyRegressor(strategy="median"), "linear": LinearRegression()}.items():
            predicted = model.fit(inputs, target[:, 0]).predict(rows)
            tables[name] = table.assign(predicted=predicted, loss=abs(table["target"] - predicted))
        return tables

    def score(self, predictions: Any) -> dict[str, float]:
        """Compute the mean absolute error and the root mean squared error, both in points, and R2."""
        from sklearn import metrics

        columns = predictions["target"], predictions["predicted"]
        rmse = float(metrics.root_mean_squared_error(*columns))
        return {"loss": float(predictions["loss"].mean()), "rmse": rmse, "r2": float(metrics.r2_score(*columns))}

    def _reload(self, trained_on: TrainedOn) -> Any:
        dataset = self.load(None, trained_on.source)
        if dataset.digest != trained_on.digest:
            raise UserError(f"data: {dataset.source} changed since the training")
        return dataset


if __name__ == "__main__":
    command.run(Diabetes())
