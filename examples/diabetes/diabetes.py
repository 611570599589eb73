"""Predict the progression of a patient's diabetes: a regression that is trained, evaluated and promoted.

python examples/diabetes/diabetes.py train --patience 20
python examples/diabetes/diabetes.py evaluate            # and predict, replay, compare, promote, rollback, unfinished
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
from tracked.experiment import SEEN_PARTS, Experiment, Inputs, Metric, Package, Request, Terms, TrainedOn
from tracked.verbs import command

SOURCE = "sklearn.datasets.load_diabetes"
MEASUREMENTS = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
BATCH = 256  # patients that are answered at a time
DEVIATIONS = (-2, -1, -0.5, 0, 0.5, 1, 2)  # of a measurement, where drift is looked for
POINTS = tuple(range(50, 301, 25))  # of the answer
NORM = 21.0  # columns have unit norm; times the root of 442, a standard deviation of 1


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

    def open_scorer(self, model: Any, request: Request) -> "PatientScorer":
        """Answer with the network."""
        return PatientScorer(model)

    def observe_training(self, scorer: Any, trained_on: TrainedOn) -> Mapping[str, Any]:
        """Observe measurements of the training and the validation part, and answers of the second alone.

        The network was fitted to the answers of the first.
        """
        import pandas as pd

        dataset = self.load(None, trained_on.source)
        if dataset.digest != trained_on.digest:
            raise UserError(f"data: {dataset.source} changed since the training")
        parts = [pd.DataFrame(dataset.arrays(part)[0], columns=list(MEASUREMENTS)) for part in SEEN_PARTS]
        whole, held_out = (
            scorer.observe(table, scorer.answer(table)) for table in (pd.concat(parts, ignore_index=True), parts[1])
        )
        return {**whole, "predicted": held_out["predicted"]}

    def predict_baselines(self, part: Any, trained_on: TrainedOn) -> Mapping[str, Any]:
        """Predict the training part's median, and with a linear regression."""
        import pandas as pd
        from sklearn.dummy import DummyRegressor
        from sklearn.linear_model import LinearRegression

        dataset, (rows, truth) = self.load(None, trained_on.source), part.arrays
        if dataset.digest != trained_on.digest:
            raise UserError(f"data: {dataset.source} changed since the training")
        inputs, target = dataset.arrays("train")
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


class PatientScorer:
    """Answers patients, in batches of one shape: a sum's last bits may depend on the number of rows."""

    columns: ClassVar[Mapping[str, str]] = {"predicted": "float32"}

    def __init__(self, model: Any) -> None:
        self.model = model

    def find_bad(self, table: Any) -> Mapping[Any, str]:
        """Find patients without ten finite numbers."""
        import numpy as np

        bad = ~np.isfinite(_read_numbers(table)).all(axis=1)
        return dict.fromkeys(table.index[bad], "a measurement is no finite number")

    def answer(self, table: Any) -> Any:
        """Predict each patient's score."""
        import numpy as np

        numbers, answers = _read_numbers(table), np.empty(len(table), np.float32)
        for start in range(0, len(table), BATCH):
            piece = numbers[start : start + BATCH]
            padded = np.zeros((BATCH, len(MEASUREMENTS)), np.float32)
            padded[: len(piece)] = piece
            answers[start : start + BATCH] = self.model.predict(padded)[: len(piece), 0]
        return table.iloc[:, :0].assign(predicted=answers)

    def observe(self, table: Any, answers: Any) -> Mapping[str, Any]:
        """Count patients by each measurement, in standard deviations, and by the predicted score."""
        from tracked.analysis.observations import count_values

        numbers = NORM * _read_numbers(table)
        seen = {name: count_values(column, DEVIATIONS) for name, column in zip(MEASUREMENTS, numbers.T, strict=True)}
        return seen | {"predicted": count_values(answers["predicted"], POINTS)}


def _read_numbers(table: Any) -> Any:
    import pandas as pd

    return table.apply(pd.to_numeric, errors="coerce").to_numpy("float32")


if __name__ == "__main__":
    command.run(Diabetes())
