"""The verb explain in this process, on a newly trained model and its evaluation."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run

from helpers.recording import record
from helpers.reviews import TINY, make_noisy_reviews
from helpers.runs import artifacts
from helpers.stores import copied_store
from helpers.verbs import evaluate, explain, train
from imdb_conv1d.schema import EXPLANATION_COLUMNS
from tracked.console.errors import UserError
from tracked.console.signals import Signals
from tracked.models import loader


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Path]:
    """A folder with a store that has a training, its version, and an evaluation with mistakes."""
    folder = tmp_path_factory.mktemp("evaluated")
    make_noisy_reviews(200).to_csv(folder / "noisy.csv", index=False)
    with pytest.MonkeyPatch.context() as patch, copied_store(empty_store, folder, patch):
        train.main([*TINY, "--data=noisy.csv", "--epochs=1"], Signals())
        evaluate.main([], Signals())
        yield folder


@pytest.fixture(autouse=True)
def _here(evaluated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(evaluated)
    mlflow.set_tracking_uri(f"sqlite:///{evaluated}/mlflow.db")


def runs(verb: str) -> list[Run]:
    """The runs of a verb, the newest first."""
    return list(mlflow.search_runs(filter_string=f"tags.verb = '{verb}'", output_format="list"))


def run_explain(*arguments: str) -> Run:
    explain.main(arguments, Signals())
    return mlflow.get_run(runs("explain")[0].info.run_id)


def read(run: Run, name: str) -> str:
    return Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=name)).read_text()


def table(run: Run) -> pd.DataFrame:
    content = json.loads(read(run, "windows.json"))
    return pd.DataFrame(content["data"], columns=content["columns"])


def plain(html: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", html))


@pytest.mark.slow
def test_explain_shows_the_mistakes_of_the_newest_evaluation(capsys: pytest.CaptureFixture[str]) -> None:
    (evaluation,) = runs("evaluate")
    run = run_explain("--count=3", "--windows=4")
    mistakes = json.loads(read(evaluation, "mistakes.json"))
    texts = [row[mistakes["columns"].index("text")] for row in mistakes["data"]][:3]
    assert len(texts) == 3
    assert artifacts(run) == {"windows.json", "explanation.html"}
    page, found = read(run, "explanation.html"), table(run)
    assert all(text in plain(page) for text in texts)
    assert list(found) == list(EXPLANATION_COLUMNS)
    assert sorted(set(found["number"])) == [1, 2, 3]
    assert found["number"].value_counts().max() <= 4
    model = mlflow.pyfunc.load_model("models:/imdb-conv1d/1")
    probabilities = model.predict(np.array(texts, dtype=object))
    for number, (probability, row) in enumerate(zip(probabilities, mistakes["data"], strict=False), start=1):
        rows = found[found["number"] == number]
        assert set(rows["predicted"]) == {str(int(probability > 0.5))}
        assert set(rows["label"]) == {str(row[0])}
        assert rows["probability"].iloc[0] == pytest.approx(max(probability, 1 - probability), abs=1e-6)
        assert (rows["effect"].abs().diff().dropna() <= 0).all()
        assert all(
            set(words.split()) <= {*texts[number - 1].split(), "[start]", "[padding]"} for words in rows["words"]
        )
    version = mlflow.MlflowClient().get_model_version("imdb-conv1d", "1")
    assert run.info.run_name == "explain v1 imdb-conv1d"
    assert run.info.status == "FINISHED"
    tags = run.data.tags
    assert (tags["model_version"], tags["training_run_id"]) == ("1", version.run_id)
    assert tags["evaluation_run_id"] == evaluation.info.run_id
    assert run.data.params == {
        "model": "models:/imdb-conv1d@candidate", "text": "auto", "run": "auto", "count": "3", "windows": "4",
        "log_texts": "true",
    }  # fmt: skip
    assert [used.model_id for used in run.inputs.model_inputs] == [tags["model_id"]]
    output = capsys.readouterr().out
    assert f"3 of the worst mistakes of evaluation {evaluation.info.run_id}" in output
    assert len(re.findall(r"^Mistake \d: predicted [01] with a probability of ", output, re.MULTILINE)) == 3


def test_explain_of_a_text_shows_its_windows(capsys: pytest.CaptureFixture[str]) -> None:
    run = run_explain("--text=A wonderful, <b>WARM</b> and funny film\x1b[31m")
    found = table(run)
    assert set(found["number"]) == {1}
    assert set(found["label"]) == {""}
    assert "A wonderful, <b>WARM</b> and funny film" in plain(read(run, "explanation.html"))
    assert "<b>WARM" not in read(run, "explanation.html")
    assert "evaluation_run_id" not in run.data.tags
    assert run.data.params["text"].startswith("A wonderful")
    assert "\x1b" not in capsys.readouterr().out


def test_explain_without_log_texts_stores_no_word_of_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    run = run_explain("--text=A wonderful secret", "--log_texts=false")
    assert artifacts(run) == {"windows.json"}
    assert set(table(run)) == set(EXPLANATION_COLUMNS) - {"words"}
    stored = [*run.data.params.values(), *run.data.tags.values(), read(run, "windows.json")]
    assert not any("secret" in value for value in stored)
    assert "The text: predicted " in capsys.readouterr().out


def test_explain_of_a_private_model_stores_no_word_of_a_given_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    download = loader.download

    def download_private(*arguments: Any) -> Any:
        model = download(*arguments)
        assert model.metadata
        return replace(model, metadata=replace(model.metadata, private=True))

    monkeypatch.setattr(loader, "download", download_private)
    run = run_explain("--text=A wonderful secret")
    assert artifacts(run) == {"windows.json"}
    stored = [*run.data.params.values(), *run.data.tags.values(), read(run, "windows.json")]
    assert not any("secret" in value for value in stored)
    output = capsys.readouterr().out
    assert "the text is not logged, as the model's training had log_texts=false\n" in output
    assert "The text: predicted " in output


@pytest.mark.slow
def test_explain_of_a_gated_model_shows_its_ngrams(capsys: pytest.CaptureFixture[str]) -> None:
    train.main(
        [*TINY, "--data=noisy.csv", "--epochs=1", "--network=gated", "--members=2", "--model_name=gated"], Signals()
    )
    capsys.readouterr()
    run = run_explain("--model=models:/gated/1", "--text=A wonderful, <b>WARM</b> and boring film", "--windows=1000")
    found, page = table(run), plain(read(run, "explanation.html"))
    assert list(found) == list(EXPLANATION_COLUMNS)
    assert found["effect"].sum() + found["intercept"].iloc[0] == pytest.approx(found["logit"].iloc[0], abs=1e-6)
    assert found["gate"].between(0, 2).all()
    assert found[["filters", "share"]].isna().all(axis=None)
    model = mlflow.pyfunc.load_model("models:/gated/1")
    (probability,) = model.predict(np.array(["A wonderful, <b>WARM</b> and boring film"], dtype=object))
    assert found["probability"].iloc[0] == pytest.approx(max(probability, 1 - probability), abs=1e-5)
    assert "n-grams of the text counted in the logit" in page
    assert "A wonderful, <b>WARM</b> and boring film" in page
    assert len(re.findall(r"^  [+-]\d\.\d{3}  gate [012]\.\d\d  \S", capsys.readouterr().out, re.MULTILINE)) == 3


def test_page_is_utf_8_whatever_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pathlib.io.text_encoding", lambda encoding, stacklevel=2: encoding or "ascii")
    run = run_explain("--text=Ein schöner Film: 好")
    monkeypatch.undo()
    assert "schöner" in plain(read(run, "explanation.html"))


def refused(*arguments: str) -> str:
    """Give the line with which explain refuses; no run begins."""
    before = len(runs("explain"))
    with pytest.raises(UserError) as error:
        explain.main(arguments, Signals())
    assert "\n" not in str(error.value)
    assert len(runs("explain")) == before
    return str(error.value)


def test_explain_of_an_evaluation_without_texts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = pd.DataFrame({"label": [0], "probability": [0.9], "hash": ["ab"]})
    monkeypatch.setattr("tracked.runs.worst_rows.read_worst", lambda run, folder: hashes)
    (evaluation,) = runs("evaluate")
    assert refused() == (
        f"run: evaluation {evaluation.info.run_id} gives no texts, as log_texts is false for it or for its data; "
        "give a text"
    )


def test_explain_of_private_data_is_refused_though_an_evaluation_holds_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracked.runs.evaluations.are_private", lambda owner, digest: bool(digest))
    assert "gives no texts, as log_texts is false for it or for its data" in refused()


def test_explain_of_an_unsuitable_run_is_refused() -> None:
    training = mlflow.MlflowClient().get_model_version("imdb-conv1d", "1").run_id
    tags = {"verb": "evaluate", "experiment": "imdb-conv1d", "model_name": "imdb-conv1d", "model_version": "2"}
    other = record([], tags=tags | {"training_run_id": "0" * 32, "model_id": "m-2"}, milliseconds=-60_000)
    try:
        assert refused("--run=nothing").startswith("run: 'nothing' cannot be found")
        assert refused(f"--run={other}") == (
            f"run: '{other}' is not allowed; allowed: an evaluation of imdb-conv1d version 1; "
            "this one is of imdb-conv1d version 2"
        )
        assert refused(f"--run={training}").endswith("allowed: a finished run of evaluate")
    finally:
        mlflow.MlflowClient().delete_run(other)


def test_explain_of_a_model_without_mistakes_to_show_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tracked.runs.evaluations.find_for_model", lambda owner, stored: None)
        assert refused() == "run: imdb-conv1d version 1 has no evaluation; evaluate it, or give a text"
    for table, fact in ((None, "holds no table of mistakes"), (pd.DataFrame(), "has no mistakes")):
        monkeypatch.setattr("tracked.runs.worst_rows.read_worst", lambda run, folder, table=table: table)
        assert fact in refused()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text="], "text: '' is not allowed; allowed: auto, or a text that is not blank"),
        (["--text= \n"], "text: ' \\n' is not allowed; allowed: auto, or a text that is not blank"),
        (["--text=\udcff"], "text: '\\udcff' is not allowed; allowed: auto, or a text that is not blank"),
        (["--text=x", "--run=y"], "run: 'y' is not allowed; allowed: auto where a text is given"),
        (["--count=0"], "count: '0' is not allowed; allowed: a whole number from 1 to 50"),
        (["--count=51"], "count: '51' is not allowed; allowed: a whole number from 1 to 50"),
        (["--windows=0"], "windows: '0' is not allowed; allowed: a whole number from 1 to 1000"),
        (["--model=x"], "model: 'x' is not allowed; allowed: models:/NAME@ALIAS, models:/NAME/VERSION, "
            "models:/MODEL_ID or runs:/RUN_ID/NAME"),
        (["--model=models:/imdb-conv1d/9"], "model: 'models:/imdb-conv1d/9' cannot be found"),
        (["--data=x"], "data: unknown parameter (given 'x'); allowed: model, text, run, count, windows, log_texts"),
    ],
)  # fmt: skip
def test_explain_with_an_invalid_parameter_is_refused(arguments: list[str], message: str) -> None:
    assert refused(*arguments).startswith(message)


def test_explain_of_a_model_of_others_is_refused(tmp_path: Path) -> None:
    import tensorflow as tf
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    class Other(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])  # type: ignore[untyped-decorator]
        def __call__(self, texts: tf.Tensor) -> tf.Tensor:
            return tf.zeros(tf.shape(texts), tf.float64)

    signature = ModelSignature(
        Schema([TensorSpec(np.dtype("object"), (-1,))]), Schema([TensorSpec(np.dtype("float64"), (-1,))])
    )
    with mlflow.start_run(tags={"verb": "elsewhere"}):
        model = mlflow.tensorflow.log_model(Other(), name="other", signature=signature, pip_requirements=[])
    message = refused(f"--model={model.model_uri}", "--text=x")
    assert message.endswith(
        "holds no weights and words of this experiment's network; allowed: a model that this experiment trained"
    )
