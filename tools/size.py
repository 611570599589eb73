"""Count lines of code and tokens a line, and hold them against the figures in pyproject.toml.

python tools/size.py                    each figure beside its limit; exit status 1 where one is above it
python tools/size.py --against COMMIT   what has changed since a commit
python tools/size.py --lower            write today's figures where they are lower than the limits

A line of code has a token that is no comment and no docstring. Other files that the code reads (pages, shell, tables)
have a row a kind, in lines that are not blank.
"""

import argparse
import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KINDS = {".html": "pages", ".js": "pages", ".css": "pages", ".sh": "shell", ".toml": "tables", ".tsv": "tables"}
STARTS, ENDS = getattr(tokenize, "FSTRING_START", None), getattr(tokenize, "FSTRING_END", None)  # from Python 3.12 on
LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
Figures = Mapping[str, tuple[int, float]]  # lines and tokens a line, by row


def count_code(text: str) -> tuple[int, int]:
    """Count the lines of code and the tokens of a Python file."""
    documented = (node for node in ast.walk(ast.parse(text)) if isinstance(node, DOCUMENTED))
    docstrings = {node.body[0].lineno for node in documented if ast.get_docstring(node, clean=False) is not None}
    lines, count, depth = set[int](), 0, 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in LAYOUT or (token.type == tokenize.STRING and token.start[0] in docstrings):
            continue
        lines.update(range(token.start[0], token.end[0] + 1))
        depth -= token.type == ENDS
        count += depth == 0 and token.type != ENDS  # an f-string is one token, as it is in Python 3.11
        depth += token.type == STARTS
    return len(lines), count


def rows_of(path: str) -> tuple[str, ...]:
    """Name the rows that a file counts in: its kind, or its folder at the top and the room of src it lies in."""
    if not path.endswith(".py"):
        return (KINDS[Path(path).suffix],) if "/" in path and Path(path).suffix in KINDS else ()
    folders = path.split("/")[:-1]
    return tuple(dict.fromkeys(("/".join(folders[:1]), "/".join(folders[: 3 if folders[:1] == ["src"] else 1]))))


def measure(paths: Iterable[str], read: Callable[[str], str]) -> Figures:
    """Measure files: lines of code and tokens a line, by row."""
    sums: dict[str, tuple[int, int]] = {}
    for path in filter(rows_of, paths):
        text = read(path)
        lines, tokens = count_code(text) if path.endswith(".py") else (len(re.findall(r"(?m)^.*\S", text)), 0)
        for row in rows_of(path):
            sums[row] = (sums.get(row, (0, 0))[0] + lines, sums.get(row, (0, 0))[1] + tokens)
    return {row: (lines, round(tokens / lines, 2)) for row, (lines, tokens) in sorted(sums.items()) if lines}


def git(*words: str) -> str:
    """Return what git prints in this repository."""
    return subprocess.run(["git", "-C", ROOT, *words], check=True, capture_output=True, text=True).stdout


def measure_tree() -> Figures:
    """Measure the working tree."""
    paths = git("ls-files", "-co", "--exclude-standard").splitlines()
    return measure([path for path in paths if (ROOT / path).exists()], lambda path: (ROOT / path).read_text())


def measure_commit(commit: str) -> Figures:
    """Measure a commit."""
    paths = git("ls-tree", "-r", "--name-only", commit).splitlines()
    return measure(paths, lambda path: git("show", f"{commit}:{path}"))


def find_excesses(figures: Figures, limits: Figures) -> list[str]:
    """Say which rows are above their limits, or have none."""
    return [
        f"{row}: {lines:,} lines of code and {tokens} tokens a line are above {limits.get(row, 'no figure')}: write "
        "less, or raise the figure in [tool.size] of pyproject.toml and say in the commit why"
        for row, (lines, tokens) in figures.items()
        if row not in limits or lines > limits[row][0] or tokens > limits[row][1]
    ]


def main() -> None:
    """Print the figures; see the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--against", metavar="COMMIT")
    parser.add_argument("--lower", action="store_true")
    arguments = parser.parse_args()
    figures, file = measure_tree(), ROOT / "pyproject.toml"
    read = tomllib.loads(file.read_text())["tool"]["size"]
    limits: Figures = {row: (lines, tokens) for row, (lines, tokens) in read.items()}
    former = measure_commit(arguments.against) if arguments.against else limits
    for row in sorted(figures | former):
        (lines, tokens), (old, old_tokens) = figures.get(row, (0, 0)), former.get(row, (0, 0))
        print(f"{row:24} {lines:7,} {tokens:6.2f}   {old:7,} {old_tokens:6.2f}   {lines - old:+7,}")
    if arguments.lower:
        text = file.read_text()
        for row, (lines, tokens) in figures.items():
            low = min(lines, limits[row][0]), min(tokens, limits[row][1])
            text = re.sub(rf'(?m)^"{row}" = .*$', f'"{row}" = [{low[0]}, {low[1]}]', text)
        file.write_text(text)
    sys.exit("\n".join(find_excesses(figures, limits)) or None)


if __name__ == "__main__":
    main()
