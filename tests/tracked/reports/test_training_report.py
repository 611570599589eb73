"""What is reported of a training's end."""

from types import SimpleNamespace

from imdb_conv1d.parameters import TrainParameters
from tracked.experiment import Metric
from tracked.reports import training_report


def test_description_escapes_names_of_files_and_labels() -> None:
    parameters = TrainParameters()
    trainer = SimpleNamespace(
        reason="patience", parameters=parameters, stopped_epoch=3, best_epoch=0, best={},
        experiment=SimpleNamespace(metrics=[Metric("loss", "min")]),
    )  # fmt: skip
    summary = "3 test; labels: '<img src=x>', '[a](javascript:b)' (positive)"
    data = SimpleNamespace(source="/data/a_b/*c*.csv", summary=summary, digest="d" * 64)
    text = training_report.describe(data, trainer, "Registered as **m version 1**.")  # type: ignore[arg-type]
    assert "/data/a_b/\\*c\\*.csv (3 test; " in text
    assert "\\<img src=x\\>" in text
    assert "\\[a\\](javascript:b)" in text
    assert "Registered as **m version 1**." in text
