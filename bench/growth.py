"""Measure how time and memory of each command grow: with runs, epochs, classes, texts, rows, trials; and of an epoch.

make bench-growth
python bench/growth.py runs classes [--largest 1000]   # these parts, at sizes up to 1,000
python bench/growth.py page                             # draws what is there

Each part's points are kept in bench/out/growth-PART.json as they come, and the page is drawn from all parts that are
there: docs/growth.png, and bench/out/growth.md with the exponent of the growth between the last two sizes: 1 is linear.
With ``--docs`` the tables go into docs/benchmarks.md, too.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import epochs
from growth_parts import PARTS, Point

DOCS = epochs.HERE.parent / "docs" / "benchmarks.md"
MARKS = "<!-- growth: begin -->", "<!-- growth: end -->"  # around what is written there
PICTURE = epochs.HERE.parent / "docs" / "growth.png"
FIGURES = {"seconds": "s", "peak": "MB"}  # that are drawn
NEEDS_IDS = ("times", "maxlen", "batch_size", "cores")


def find_file(part: str) -> Path:
    """Name the file of a part's points."""
    return epochs.OUT / f"growth-{part}.json"


def measure(part: str, largest: int) -> None:
    """Measure a part, and keep each point as it comes; a part that fails keeps what it has."""
    points, start = list[dict[str, object]](), time.perf_counter()
    sizes = tuple(size for size in PARTS[part].sizes if size <= largest)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for point in PARTS[part].measure(Path(folder).resolve(), sizes):
            points.append(asdict(point))
            find_file(part).write_text(json.dumps(points))
            took = f"{point.seconds:.2f} s, {point.cores:.2f} s of all cores, {point.peak:,.0f} MB"
            print(f"{part} {point.size:,}: {point.verb}: {took}", flush=True)
    print(f"{part} took {time.perf_counter() - start:.0f} s", flush=True)


def find_exponent(points: Sequence[Point], figure: str) -> float:
    """Find the exponent of the growth between the two largest sizes; NaN with fewer."""
    known = sorted((point.size, getattr(point, figure)) for point in points)
    if len(known) < 2 or not known[-2][1] > 0:
        return math.nan
    (size, value), (largest, most) = known[-2:]
    return math.log(most / value) / math.log(largest / size)


def group(points: Sequence[Point]) -> dict[str, list[Point]]:
    """Group points by verb."""
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(point.verb, []).append(point)
    return found


def make_table(part: str, points: Sequence[Point]) -> str:
    """Make the table of a part: seconds by size, memory, and the exponents of time, CPU time and memory."""
    sizes, rows = sorted({point.size for point in points}), list[list[object]]()

    def show(value: float, form: str) -> str:
        return f"{value:{form}}" if math.isfinite(value) else ""

    for verb, own in group(points).items():
        by_size = {point.size: point for point in own}
        seconds = [by_size[size].seconds if size in by_size else "" for size in sizes]
        exponents = [show(find_exponent(own, figure), ".2f") for figure in ("seconds", "cores", "peak")]
        rows.append([verb, *seconds, *exponents[:2], show(own[-1].peak, ",.0f"), exponents[2]])
    head = [PARTS[part].name, *(f"{size:,}, s" for size in sizes)]
    return epochs.table([*head, "exponent", "of CPU time", "MB at the last", "exponent of memory"], rows)


def draw(measured: Mapping[str, Sequence[Point]]) -> None:
    """Draw a picture of seconds and one of memory for each part that has them, on logarithmic axes."""
    import matplotlib.pyplot as plt

    panels = [
        (part, figure)
        for part, points in measured.items()
        for figure in FIGURES
        if any(math.isfinite(getattr(point, figure)) for point in points)
    ]
    rows = -(-len(panels) // 4)
    figure, axes = plt.subplots(rows, 4, figsize=(17, 3.6 * rows), layout="constrained", squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for ax, (part, name) in zip(axes.flat, panels, strict=False):
        for verb, own in group(measured[part]).items():
            known = [(point.size, getattr(point, name)) for point in own if math.isfinite(getattr(point, name))]
            if known:
                exponent = find_exponent(own, name)
                label = f"{verb} ({exponent:.2f})" if math.isfinite(exponent) else verb
                ax.plot(*zip(*known, strict=True), marker="o", markersize=3, label=label)
        ax.set(xscale="log", yscale="log", xlabel=PARTS[part].name, ylabel=FIGURES[name])
        low, high = ax.get_ylim()
        low = min(low, 100) if name == "peak" else low
        room = 1 / (1 - 0.062 * len(ax.lines))  # above the lines, for the legend
        ax.set_ylim(low, low * (high / low) ** room)
        ax.grid(alpha=0.3)
        ax.legend(fontsize=6.5, frameon=False, loc="upper left")
        ax.spines[["top", "right"]].set_visible(False)
    figure.suptitle("Time and memory as things grow; in brackets the exponent between the last two sizes: 1 is linear")
    figure.savefig(PICTURE, dpi=80)
    plt.close(figure)


def write_docs(text: str) -> None:
    """Put tables and picture between the marks of docs/benchmarks.md."""
    before, rest = DOCS.read_text().split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    shown = f"![Time and memory of each command as things grow]({PICTURE.name})"
    DOCS.write_text(f"{before}{MARKS[0]}\n{shown}\n\n{text}\n{MARKS[1]}{after}")


def make_page(is_documented: bool = False) -> None:
    """Draw docs/growth.png and write bench/out/growth.md, and the documentation if asked, from the parts that exist."""
    files = {part: find_file(part) for part in PARTS if find_file(part).exists()}
    measured = {part: [Point(**one) for one in json.loads(path.read_text())] for part, path in files.items()}
    measured = {part: points for part, points in measured.items() if points}
    if measured:
        draw(measured)
        text = "\n\n".join(make_table(part, points) for part, points in measured.items())
        epochs.write("growth.md", text)
        if is_documented:
            write_docs(text)


def main() -> None:
    """Measure the parts; one that fails is told and left. Then draw the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=[], metavar="part", help=f"page, {', '.join(PARTS)}")
    parser.add_argument("--largest", type=int, default=10**9, help="no size beyond this")
    parser.add_argument("--docs", action="store_true", help="write the tables into docs/benchmarks.md, too")
    options = parser.parse_args()
    if unknown := {*options.parts} - {*PARTS, "page"}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    epochs.OUT.mkdir(exist_ok=True)
    parts, failed = options.parts or list(PARTS), list[str]()
    if {*NEEDS_IDS} & {*parts}:
        subprocess.run([epochs.PYTHON, str(epochs.HERE / "ids.py")], check=True)
    for part in parts:
        try:
            if part != "page":
                measure(part, options.largest)
        except (OSError, RuntimeError, ValueError, LookupError) as error:
            failed.append(part)
            print(f"{part} failed: {error}", flush=True)
    make_page(options.docs)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
