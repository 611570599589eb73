"""The README and the pages of docs/: each rule, and a case that breaks it."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import make_docs
from helpers import ROOT, SRC
from helpers.pages import (
    blocks,
    broken_links,
    commands,
    fault_of,
    literals,
    missing_files,
    spans,
    unknown_lines,
)
from tracked import experiment

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DIABETES = ROOT / "examples" / "diabetes" / "diabetes.py"
of_all = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)


def test_the_readme_is_short_and_links_every_page() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    assert [path.name for path in PAGES[1:] if f"(docs/{path.name}" not in text] == []


@of_all
def test_links_lead_somewhere(path: Path) -> None:
    assert broken_links(path, path.read_text()) == []


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("[a](docs/data.md#parts) [b](https://keras.io) ![c](docs/training.png)", []),
        ("# One\n\n# One\n\n## `a` of b: c!\n\n[x](#one-1) [y](#a-of-b-c)", []),
        ("[a](docs/date.md)", ["docs/date.md"]),
        ("![a](docs/date.png)", ["docs/date.png"]),
        ("[a](docs/data.md#part)", ["docs/data.md#part"]),
        ("# One\n\n[a](#two)", ["#two"]),
        ("# One\n\n[a](#one-1)", ["#one-1"]),
        ("[a](src/train.py#main)", ["src/train.py#main"]),
        ("| a |\n| --- |\n| [a](docs/date.md) |", ["docs/date.md"]),
    ],
)
def test_a_link_that_leads_nowhere_is_found(text: str, broken: list[str]) -> None:
    assert broken_links(ROOT / "README.md", text) == broken


@of_all
def test_files_that_are_named_exist(path: Path) -> None:
    assert missing_files(path.read_text()) == []


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("`src/train.py`, `src/tracked/runs`, `trainer.py`, `bench/out`, `replay.csv`", []),
        ("`src/trian.py`", ["src/trian.py"]),
        ("`trian.py`", ["trian.py"]),
        ("```\nsrc/tracked/   the package\nsrc/tracker/   another\n```", ["src/tracker"]),
        ("    docs/no.md\n", ["docs/no.md"]),
    ],
)
def test_a_file_that_does_not_exist_is_found(text: str, missing: list[str]) -> None:
    assert missing_files(text) == missing


@of_all
def test_commands_can_be_typed(path: Path) -> None:
    text = path.read_text()
    assert [fault for command in commands(text) if (fault := fault_of(command))] == []
    assert unknown_lines(text) == []


def test_the_readme_names_the_commands_that_set_up_and_run_and_test() -> None:
    assert {"make train", "make test"} <= {line.split("  ")[0] for line in commands((ROOT / "README.md").read_text())}


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("make train PYTHON=python3.12   # a comment", ""),
        ("make trian", "trian: no target of the Makefile"),
        ("make train PYTHN=python3.12", "PYTHN=python3.12: no variable of the Makefile"),
        ("python src/train.py --patience 3 --resume latest", ""),
        ("python src/trian.py", "src/trian.py: no such file"),
        ("python src/train.py --patiense 3", "patiense: unknown parameter"),
        ("python src/train.py --patience -1", "patience: '-1' is not allowed"),
        ("python examples/diabetes/diabetes.py train --hidden_units 3", ""),
        ("python examples/diabetes/diabetes.py train --filters 3", "filters: unknown parameter"),
        ("python examples/diabetes/diabetes.py trian", "trian: no verb"),
        ("python bench/gate.py --samples 500", ""),
        ("python bench/gate.py --sample 500", "--sample: no option of bench/gate.py"),
        ("mlflow run . -e replay -P run=RUN_ID --env-manager uv", ""),
        ("mlflow run . -e reply", "reply: no entry point"),
        ("mlflow run . -P patiense=3", "patiense: unknown parameter"),
        ("mlflow run . -e evaluate -P patience=3", "patience: unknown parameter"),
        ("mlflow run examples/diabetes -P filters=3", "filters: unknown parameter"),
        ("mlflow run", ""),
        ("mlflow run -P patience=3", ": no project"),
        ("mlflow run examples/none", "examples/none: no project"),
        ("mlflow run . --env-manager pip", "argument --env-manager: invalid choice"),
        ("mlflow run . --run_id RUN_ID", "--run_id: no option of mlflow run"),
        ("mlflow ru .", "ru: no command of mlflow"),
    ],
)
def test_a_command_that_cannot_be_typed_is_found(command: str, fault: str) -> None:
    assert fault_of(command).startswith(fault)
    assert bool(fault_of(command)) == bool(fault)


def test_commands_are_found_in_blocks_and_in_sentences() -> None:
    text = "Say `make a` or\n\n```sh\nmake b\nmak c\n```\n\n    make d\n\n```\nmake e\n```\n"
    text += "\n| a |\n| --- |\n| `make f` |\n"
    assert sorted(commands(text)) == [f"make {letter}" for letter in "abdef"]
    assert unknown_lines(text) == ["mak c"]


@pytest.mark.parametrize("name", make_docs.PAGES)
def test_a_generated_page_is_what_the_code_makes(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == make_docs.PAGES[name](), "run `make docs`"


def missing_in_tree(text: str) -> list[str]:
    """Name the package folders and commands that the architecture's tree lacks."""
    lines = {line.split("  ")[0] for block in blocks(text, "") for line in block.splitlines()}
    places = [f"{path.parent.relative_to(ROOT)}/" for path in SRC.rglob("__init__.py")]
    return sorted({*places, *(f"src/{path.name}" for path in SRC.glob("*.py"))} - lines)


def test_the_architectures_tree_has_every_folder_and_command() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    assert missing_in_tree(text) == []
    assert missing_in_tree(text.replace("\nsrc/tracked/runs/ ", "\n")) == ["src/tracked/runs/"]
    assert missing_in_tree(text.replace("\nsrc/train.py ", "\n")) == ["src/train.py"]


def questions() -> set[str]:
    """Name all that an experiment can be asked, and all that its answers must have."""
    classes = (
        experiment.Experiment, experiment.Terms, experiment.Dataset, experiment.Trainee, experiment.Package,
        experiment.Part, experiment.TrainedOn,
    )  # fmt: skip
    names = {name for cls in classes for one in (cls, *cls.__mro__) for name in inspect.get_annotations(one)}
    names |= {name for cls in classes for name, value in vars(cls).items() if inspect.isfunction(value)}
    names |= {
        name for cls in classes[2:] for one in cls.__mro__ for name, it in vars(one).items() if isinstance(it, property)
    }
    return {name for name in names if not name.startswith("_")}


def unanswered(text: str) -> set[str]:
    """Name the questions that a page does not mention as code."""
    return questions() - {word for span in spans(text) for word in re.findall(r"\w+", span)}


def test_extending_answers_every_question() -> None:
    text = (ROOT / "docs" / "extending.md").read_text()
    assert {"load", "upgrade_predictions", "metrics", "max_loss", "rows_digest", "restore", "checked"} <= questions()
    assert unanswered(text) == set()
    assert unanswered(text.replace("rows_digest", "")) == {"rows_digest"}


def wrong_signatures(text: str) -> list[str]:
    """Name the methods of an experiment that a page writes with other arguments."""
    methods = {name: it for name, it in vars(experiment.Experiment).items() if inspect.isfunction(it)}
    found = [match for span in spans(text) if (match := re.fullmatch(r"(\w+)\((.*)\)", span)) and match[1] in methods]
    return [
        match[0] for match in found if match[2].split(", ") != list(inspect.signature(methods[match[1]]).parameters)[1:]
    ]


def test_extending_writes_the_methods_as_they_are() -> None:
    text = (ROOT / "docs" / "extending.md").read_text()
    assert "`load(parameters, source)`" in text
    assert wrong_signatures(text) == []
    assert wrong_signatures("`load(parameters)`, `score(predictions)`") == ["load(parameters)"]


def unknown_classes(text: str) -> list[str]:
    """Name the classes that a page names as code and that neither the packages nor the example define."""
    files = [*SRC.rglob("*.py"), DIABETES]
    known = set(re.findall(r"^class (\w+)", "\n".join(path.read_text() for path in files), re.MULTILINE))
    return [span for span in spans(text) if re.fullmatch(r"[A-Z][a-z]+[A-Z]\w+", span) and span not in known]


@pytest.mark.parametrize("name", ["architecture.md", "extending.md"])
def test_classes_that_are_named_exist(name: str) -> None:
    assert unknown_classes((ROOT / "docs" / name).read_text()) == []
    assert unknown_classes("`EarlyStopping`, `EarlyStoping`, `MLproject`") == ["EarlyStoping"]


def unknown_words(text: str) -> set[str]:
    """Give the words of what a run prints, by the README, that no text of the code has."""
    (printed,) = [block for block in blocks(text, "") if "epoch 1 " in block]
    known = " ".join(literal for path in SRC.rglob("*.py") for literal in literals(path.read_text()))
    return set(re.findall(r"\b[a-z]{3,}\b", printed)) - set(re.findall(r"[a-z]+", known))


def test_what_a_run_prints_by_the_readme_has_the_words_of_the_code() -> None:
    text = (ROOT / "README.md").read_text()
    assert unknown_words(text) == set()
    assert unknown_words(text.replace("waited 3 of 3", "lingered 3 of 3")) == {"lingered"}


def unknown_messages(text: str) -> list[str]:
    """Name the messages of the table of mistakes of which a part stands nowhere in the code."""
    known = [literal for path in SRC.rglob("*.py") for literal in literals(path.read_text())]
    table = text.split("| mistake | message |", 1)[1]
    messages = re.findall(r"\| `([^`|]+)` \|$", table, re.MULTILINE)
    return [
        message
        for message in messages
        if not all(any(part.strip() in literal for literal in known) for part in message.split("…"))
    ]


def test_the_messages_that_extending_names_are_in_the_code() -> None:
    text = (ROOT / "docs" / "extending.md").read_text()
    assert unknown_messages(text) == []
    assert unknown_messages("| mistake | message |\n| --- | --- |\n| a | `… is not alowed` |\n") == ["… is not alowed"]


def not_in_the_example(text: str) -> list[str]:
    """Name the lines of the example's class that the example does not have."""
    example = {line.strip() for line in DIABETES.read_text().splitlines()}
    left_out = "..."  # in place of some lines
    shown = [block for block in blocks(text, "python") if "Diabetes" in block]
    lines = [line for block in shown for line in block.splitlines()]
    return [line for line in lines if line.strip() not in example and not line.strip().startswith(left_out)]


@of_all
def test_python_is_python_and_the_example_is_the_examples(path: Path) -> None:
    text = path.read_text()
    assert all(ast.parse(block) for block in blocks(text, "python"))
    assert not_in_the_example(text) == []


def test_a_line_that_the_example_lacks_is_found() -> None:
    text = "```python\nclass Diabetes(Experiment):\n    name = 'diabetis'\n```\n"
    assert not_in_the_example(text) == ["    name = 'diabetis'"]
