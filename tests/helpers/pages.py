"""What is wrong with a Markdown page of the project: links, commands and files that lead nowhere."""

import argparse
import ast
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import mlflow.cli
from markdown_it import MarkdownIt
from markdown_it.token import Token

from helpers import ROOT, SRC
from helpers.projects import DIABETES, IMDB, Project
from tracked.console import train_parameters
from tracked.console.errors import UserError

PROJECTS = {".": IMDB, "examples/diabetes": DIABETES}
FOLDERS = "src|tests|tools|bench|docs|examples|notebooks"
MADE = {"bench/out"}  # by a command that the page names
SHELL = re.compile(r"^(make|python|mlflow|pip|source|rm) ")


def tokens(text: str) -> list[Token]:
    """Give all tokens of a page, those within paragraphs too."""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        found += [token, *(token.children or [])]
    return found


def anchors(text: str) -> set[str]:
    """Name the headings as GitHub does."""
    found: Counter[str] = Counter()
    names = set()
    for token, inline in pairwise(tokens(text)):
        if token.type == "heading_open":
            slug = re.sub(r"[^\w\- ]", "", inline.content.replace("`", "").lower()).replace(" ", "-")
            names.add(f"{slug}-{found[slug]}" if found[slug] else slug)
            found[slug] += 1
    return names


def blocks(text: str, *kinds: str) -> Iterator[str]:
    """Yield the code blocks of these languages; an indented block has none."""
    for token in tokens(text):
        if token.type in ("fence", "code_block") and token.info.strip() in kinds:
            yield token.content


def spans(text: str) -> Iterator[str]:
    """Yield the code within sentences."""
    yield from (token.content for token in tokens(text) if token.type == "code_inline")


def broken_links(path: Path, text: str) -> list[str]:
    """Name the relative links of a page that lead to no file or to no heading."""
    broken = []
    for token in tokens(text):
        target = str(token.attrs.get("href") or token.attrs.get("src") or "")
        if not target or re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        content = text if there == path else there.read_text() if there.suffix == ".md" and there.is_file() else ""
        if not there.exists() or (anchor and anchor not in anchors(content)):
            broken.append(target)
    return broken


def missing_files(text: str, root: Path = ROOT) -> list[str]:
    """Name the files and folders of this project that a page names and that do not exist."""
    lines = [line.split("  ")[0].split(" -> ")[0] for block in blocks(text, "") for line in block.splitlines()]
    names = [name.rstrip("/") for name in (*spans(text), *lines)]
    paths = [name for name in names if re.fullmatch(rf"({FOLDERS})(/[\w.-]+)*", name)]
    missing = [name for name in paths if name not in MADE and not (root / name).exists()]
    alone = [name for name in names if re.fullmatch(r"\w+\.(py|ipynb|sh)", name)]
    folders = [root / folder for folder in FOLDERS.split("|")]
    return missing + [name for name in alone if not any(any(one.rglob(name)) for one in folders)]


def commands(text: str) -> list[str]:
    """Give each command of a page: the lines of its code blocks, and code in sentences that begins like one."""
    lines = [line for block in blocks(text, "sh", "") for line in block.splitlines()]
    return [*(line for line in lines if SHELL.match(line)), *filter(SHELL.match, spans(text))]


def unknown_lines(text: str) -> list[str]:
    """Name the lines of shell blocks that are no command of :func:`commands`."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    return [line for line in lines if line and not SHELL.match(line)]


def fault_of(command: str) -> str:
    """Say what is wrong with a command; empty if it could be typed."""
    words = shlex.split(command, comments=True)
    checks = {"make": _fault_of_make, "python": _fault_of_script, "mlflow": _fault_of_mlflow}
    check = checks.get(words[0])
    return check(words[1:]) if check else ""


def _fault_of_make(words: list[str]) -> str:
    makefile = (ROOT / "Makefile").read_text()
    for word in words:
        name, given, _ = word.partition("=")
        if not re.search(rf"\b{name}\b" if given else rf"^{name}:", makefile, re.MULTILINE):
            return f"{word}: no {'variable' if given else 'target'} of the Makefile"
    return ""


def _fault_of_script(words: list[str]) -> str:
    script, flags = ROOT / words[0], [word for word in words[1:] if word != "--help"]
    if not script.is_file():
        return f"{words[0]}: no such file"
    if script.parent == SRC:
        return _fault_of_verb(IMDB, script.stem, flags)
    if script == DIABETES.folder / "diabetes.py":
        return _fault_of_verb(DIABETES, flags[0], flags[1:])
    text = script.read_text()
    unknown = [flag for flag in flags if flag.startswith("-") and f'"{flag.partition("=")[0]}"' not in text]
    return f"{unknown[0]}: no option of {words[0]}" if unknown else ""


def _fault_of_verb(project: Project, verb: str, flags: list[str]) -> str:
    entry = "main" if verb == "train" else verb
    if entry not in project.verbs:
        return f"{verb}: no verb"
    cls = project.parameters(entry)
    if verb == "train":
        cls = train_parameters.make_train_command(project.experiment)
    try:
        cls.parse(flags)
    except UserError as error:
        return str(error)
    return ""


def _fault_of_mlflow(words: list[str]) -> str:
    if words == ["run"]:  # spoken of, not typed
        return ""
    if words[0] != "run":
        return "" if words[0] in mlflow.cli.cli.commands else f"{words[0]}: no command of mlflow"
    parser = argparse.ArgumentParser(exit_on_error=False, add_help=False)
    parser.add_argument("folder", nargs="?", default="")
    parser.add_argument("-e", default="main")
    parser.add_argument("-P", action="append", default=[])
    parser.add_argument("--run-id")
    parser.add_argument("--env-manager", choices=("conda", "uv", "local", "virtualenv"))
    try:
        given, unknown = parser.parse_known_args(words[1:])
    except argparse.ArgumentError as error:
        return str(error)
    if unknown:
        return f"{unknown[0]}: no option of mlflow run"
    project = PROJECTS.get(given.folder)
    if project is None:
        return "" if given.folder == "GIT_URL" else f"{given.folder}: no project"
    if given.e not in project.verbs:
        return f"{given.e}: no entry point"
    return _fault_of_verb(project, "train" if given.e == "main" else given.e, [f"--{one}" for one in given.P])


def literals(source: str) -> list[str]:
    """Give the constant texts of a module; of a formatted one, what stands between the values."""
    found = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return [value for value in found if isinstance(value, str)]
