import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers.reviews import index_of, make_reviews
from imdb_conv1d import dataset, sources
from imdb_conv1d.experiment import EXPERIMENT
from imdb_conv1d.parameters import EvaluateParameters, TrainParameters
from imdb_conv1d.sources import Source
from imdb_conv1d.texts_part import TextsPart, choose_rows, load_part
from tracked.console.errors import RunFailed, UserError
from tracked.experiment import Request

AUTO = EvaluateParameters.model_construct(text_column="auto", label_column="auto", encoding="auto")
TICKETS = {"labels": ["billing", "login", "refund"], "read_as": {"text_column": "body", "label_column": "queue",
           "positive_label": "auto", "encoding": "utf-8", "test_split": 0.4}}  # fmt: skip


def tickets(rows: int = 120) -> pd.DataFrame:
    labels = [("billing", "refund", "login")[row % 3] for row in range(rows)]
    return pd.DataFrame({"body": [f"ticket {row} on {label}" for row, label in enumerate(labels)], "queue": labels})


def part_of(table: pd.DataFrame, folder: Path, metadata: dict[str, Any], *, whole: bool = True) -> TextsPart:
    table.to_csv(folder / "a.csv", index=False)
    return load_part(Request(str(folder / "a.csv"), whole, AUTO, metadata))


def read(part: TextsPart) -> pd.DataFrame:
    return pd.concat(part.pieces(), ignore_index=True)


def test_part_of_a_file_has_all_its_rows_with_the_models_codes(tmp_path: Path) -> None:
    table = tickets().sort_values("queue").iloc[::-1]
    part = part_of(table, tmp_path, TICKETS)
    assert (part.count, part.total) == (120, 120)
    assert part.classes.names == ("billing", "login", "refund")
    assert part.columns == {"text": "string", "label": "string"}
    found = read(part)
    assert found["text"].tolist() == table["body"].tolist()
    assert found["label"].tolist() == [TICKETS["labels"].index(label) for label in table["queue"]]
    assert found["hash"].tolist() == [hashlib.sha256(text.encode()).hexdigest() for text in table["body"]]


def test_part_of_the_training_data_is_the_test_part_of_the_training(tmp_path: Path) -> None:
    part = part_of(tickets(), tmp_path, TICKETS, whole=False)
    layout = dataset.load(part.texts, 0.25, 0.4)
    assert part.count == layout.count("test") == 48
    assert sorted(read(part)["hash"]) == sorted(layout.hashes("test"))
    assert part.digest == layout.digest


def test_experiment_reads_training_and_test_part_by_the_same_parameters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.csv"
    tickets().rename(columns={"queue": "Queue"}).to_csv(path, index=False, sep=";")
    names = {"text_column": "body", "label_column": "queue", "positive_label": "auto", "encoding": "utf-8"}
    texts = EXPERIMENT.load(TrainParameters(data=str(path), test_split=0.4, **names), "")
    note = f"data: {path} (columns are separated by a semicolon; the column 'Queue' is taken for 'queue')"
    assert capsys.readouterr().out == f"{note}\n"
    part = EXPERIMENT.load_part(Request(str(path), False, AUTO, TICKETS))
    assert capsys.readouterr().out == f"{note}\n"
    assert (part.digest, part.count) == (texts.digest, texts.counts["test"])


def test_part_of_zero_and_one_has_the_digests_of_earlier_versions(tmp_path: Path) -> None:
    part = part_of(make_reviews(50), tmp_path, {}, whole=False)
    assert part.digest == "b722d4a1f7e23a3618105bfc6f9e5cc03ce30e97a1199f0949d93bef1c41a7b5"
    assert part.rows_digest == "58dba464af69d0be378fb566f630e1e3bdc8612b7252b43334be0a747fe03b33"
    assert part.columns == {"text": "string", "label": "long"}
    spelled = make_reviews(50).replace({"label": {0: "False", 1: " 1.0"}})
    assert part_of(spelled, tmp_path, {}, whole=False).rows_digest == part.rows_digest


def test_rows_digest_is_that_of_the_labels_not_of_their_codes(tmp_path: Path) -> None:
    table = tickets().query("queue != 'login'")
    one, other = (
        part_of(table, tmp_path, TICKETS | {"labels": labels})
        for labels in (["billing", "refund"], ["refund", "billing"])
    )
    assert one.rows_digest == other.rows_digest
    assert read(one)["label"].tolist() == (1 - read(other)["label"]).tolist()


def test_rows_digest_tells_models_that_know_other_labels_apart(tmp_path: Path) -> None:
    table = tickets().query("queue != 'login'")
    two, three = (part_of(table, tmp_path, TICKETS | {"labels": TICKETS["labels"][::step]}) for step in (2, 1))
    assert read(two)["hash"].equals(read(three)["hash"])
    assert two.rows_digest != three.rows_digest
    assert two.digest == three.digest


def test_part_of_a_file_with_a_test_part_is_that_part(tmp_path: Path) -> None:
    part = part_of(tickets().assign(split=["test"] * 30 + ["train"] * 90), tmp_path, TICKETS)
    assert part.count == 30


def test_named_columns_of_the_request_come_before_the_models(tmp_path: Path) -> None:
    tickets().rename(columns={"body": "words"}).to_csv(tmp_path / "a.csv", index=False)
    own = EvaluateParameters.model_construct(text_column="words", label_column="auto", encoding="auto")
    assert load_part(Request(str(tmp_path / "a.csv"), True, own, TICKETS)).count == 120
    with pytest.raises(UserError, match=r"has no column 'body' \(columns: words, queue\)"):
        load_part(Request(str(tmp_path / "a.csv"), True, AUTO, TICKETS))


def test_labels_that_the_model_does_not_know_are_named_and_counted(tmp_path: Path) -> None:
    table = tickets()
    table.loc[:4, "queue"], table.loc[5:6, "queue"] = "Refund", "spam"
    with pytest.raises(UserError) as refused:
        part_of(table, tmp_path, TICKETS)
    assert str(refused.value) == (
        f"data: {tmp_path / 'a.csv'}: the column queue has 2 labels that the model does not know: 'Refund' (5 rows), "
        "'spam' (2 rows); allowed: 'billing', 'login', 'refund'"
    )
    with pytest.raises(UserError, match=r"has 1 label that the model does not know: 'login' \(40 rows\); allowed: "):
        part_of(tickets(), tmp_path, TICKETS | {"labels": ["billing", "refund"]})


def test_part_of_fewer_labels_than_the_models_is_scored(tmp_path: Path) -> None:
    part = part_of(tickets().query("queue != 'login'"), tmp_path, TICKETS)
    assert sorted(set(read(part)["label"])) == [0, 2]


@pytest.mark.parametrize(
    ("query", "labels", "message"),
    [
        ("queue == 'login'", TICKETS["labels"],
         "data: the reviews to score have fewer than two labels; allowed: reviews of two labels or more"),
        ("queue == 'login'", ["billing", "login"],
         "data: no review to score has label 'billing'; allowed: reviews of both labels"),
    ],
)  # fmt: skip
def test_part_of_one_label_is_refused(tmp_path: Path, query: str, labels: list[str], message: str) -> None:
    with pytest.raises(UserError) as refused:
        part_of(tickets().query(query), tmp_path, TICKETS | {"labels": labels})
    assert str(refused.value) == message


def test_part_of_a_training_without_a_test_part_is_refused(tmp_path: Path) -> None:
    read_as = TICKETS["read_as"] | {"test_split": 0}
    with pytest.raises(UserError, match=r"^data: there is no test part, as the training had test_split=0; allowed"):
        part_of(tickets(), tmp_path, TICKETS | {"read_as": read_as}, whole=False)


def test_copies_count_rows_of_the_same_text_and_label() -> None:
    texts = ["a", "b", "a", "a", "b", "c", "a"]
    labels = [0, 0, 1, 0, 0, 1, 0]
    table = pd.DataFrame({"text": texts, "label": labels, "split": ""})
    index = index_of(Source("made up", "", lambda: iter([table])))
    part = TextsPart(Source("made up", "", lambda: iter([table])), index, np.array([True] * 3 + [False] + [True] * 3))
    expected = table[part.take].groupby(["text", "label"], sort=False).cumcount()
    assert part.copies.tolist() == expected.tolist() == [0, 0, 0, 1, 0, 1]


def test_find_takes_the_rows_with_these_hashes(tmp_path: Path) -> None:
    part = part_of(tickets(), tmp_path, TICKETS)
    wanted = frozenset(hashlib.sha256(text.encode()).hexdigest() for text in tickets()["body"][[3, 50]])
    assert np.flatnonzero(part.find(wanted)).tolist() == [3, 50]
    assert pd.concat(part.pieces(part.find(wanted)))["text"].tolist() == tickets()["body"][[3, 50]].tolist()


def test_pieces_of_data_that_have_changed_fail(tmp_path: Path) -> None:
    part = part_of(tickets(), tmp_path, TICKETS)
    tickets()[::-1].to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(RunFailed, match=r"changed while it was scored \(row 1 differs\); no metrics are logged"):
        read(part)


def test_the_reviews_have_the_rows_of_earlier_versions() -> None:
    index = index_of(sources.resolve("reviews"))
    take = choose_rows(index, whole=False)
    assert index.digest() == "d855c536d53b658c7361461eca5e41f3420a9f1bb37f48dccb7b68b420b24119"
    assert index.digest(take, with_splits=False) == "c02fd27ec6c7da1d463f9d8608ce2e1d66cbe4081a1d7b00da55778089109a87"
    assert take.sum() == 4980
