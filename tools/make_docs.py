"""Write the pages of docs/ that follow from the code.

make docs
python tools/make_docs.py

A test compares each page with what this script would write.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "examples" / "diabetes")]

import imdb_conv1d.schema
from diabetes import Diabetes
from imdb_conv1d.experiment import EXPERIMENT
from tracked.analysis.pruning import RULES
from tracked.console import (
    find_rate_parameters,
    predict_parameters,
    search_parameters,
    serve_parameters,
    tidy_parameters,
    train_parameters,
    verb_parameters,
)
from tracked.console.parameters import Parameters, as_string, describe_allowed
from tracked.experiment import Experiment

PARAMETERS_INTRO = """# Parameters

Made from the code by `make docs`. A parameter is a flag of a script and a `-P` of an entry point:

```sh
python src/train.py --patience 3
mlflow run . -P patience=3
```

The tables show `imdb-conv1d`; the last one shows what differs in [`diabetes`](../examples/diabetes/diabetes.py).
`python src/train.py --help` prints the same. A value that is not allowed is refused in one line before any work:

```
error: patience: '-1' is not allowed; allowed: a whole number from 0 to 2147483647
```
"""
PRESETS_INTRO = """\
Another value that is given wins over the preset's. A value equal to the parameter's default counts as not given,
since `mlflow run` passes every default; a line says so. A run's parameters are those given; its tag `preset_values`
has the values that the training uses, which a resume keeps and `compare` shows.
"""
SEARCH_NOTE = """\
It takes every parameter of `main` but `evaluate`, too, which then holds for all trials. Under `mlflow run` there is no
`resume`.

A space has items separated by blanks: `low..high` is a range; `/log` behind it makes proposals uniform in the
logarithm, `/STEP` takes steps from the low end on; `a,b,c` are choices. A grid has all choices and steps, and of a
range without steps the ends and the middle. `space=auto` is for `imdb-conv1d`
`{imdb}`,
for `diabetes` `{diabetes}`.
"""
HEAD = ["parameter", "default", "meaning", "allowed"]


def parameter_classes(experiment: Experiment) -> dict[str, type[Parameters]]:
    """Give the parameters of each entry point."""
    return {
        "main": train_parameters.make_train_command(experiment),
        "find_rate": find_rate_parameters.make_find_rate_parameters(experiment),
        "search": search_parameters.make_search_parameters(experiment),
        "unfinished": verb_parameters.UnfinishedParameters,
        "evaluate": verb_parameters.make_verb_parameters("evaluate", experiment),
        "predict": predict_parameters.make_predict_parameters(experiment),
        "serve": serve_parameters.make_serve_parameters(experiment),
        "replay": verb_parameters.ReplayParameters,
        "compare": verb_parameters.CompareParameters,
        "promote": verb_parameters.make_verb_parameters("promote", experiment),
        "rollback": verb_parameters.make_verb_parameters("rollback", experiment),
        "tidy": tidy_parameters.TidyParameters,
    } | {verb: verb_parameters.make_verb_parameters(verb, experiment) for verb in experiment.own_verbs}


def describe_parameters(cls: type[Parameters]) -> dict[str, tuple[str, str, str]]:
    """Give each parameter's default, meaning and allowed values; of a search, those that differ from a training's."""
    described = {
        name: (as_string(field.default), field.description or "", describe_allowed(field))
        for name, field in cls.model_fields.items()
    }
    if not issubclass(cls, search_parameters.SearchParameters):
        return described
    training = describe_parameters(cls.trains)
    return {name: texts for name, texts in described.items() if training.get(name) != texts}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def make_presets(cls: type[train_parameters.TrainParameters]) -> str:
    """Make the section on presets: a row for each parameter that one sets."""
    names = [name for name in cls.model_fields if any(name in values for values in cls.presets.values())]
    effective = [cls.model_validate({"preset": preset}).as_strings() for preset in cls.presets]
    rows = [[f"`{name}`", *(strings[name] for strings in effective)] for name in names]
    head = ["parameter", *(f"`preset={preset}`" for preset in cls.presets)]
    return f"## Values of each `preset`\n\n{PRESETS_INTRO}\n{table(head, rows)}\n"


def make_parameters() -> str:
    """Make docs/parameters.md."""
    classes, others = parameter_classes(EXPERIMENT), parameter_classes(Diabetes())
    sections = [PARAMETERS_INTRO]
    for entry, cls in classes.items():
        described = describe_parameters(cls)
        resume = described.pop("resume") if entry == "main" else ()
        rows = [[f"`{name}`", *texts] for name, texts in described.items()]
        sections.append(f"## Parameters of `{entry}`\n\n{table(HEAD, rows)}\n")
        if entry == "search":
            sections.append(SEARCH_NOTE.format(imdb=EXPERIMENT.space, diabetes=Diabetes.space))
        if entry == "main":
            sections.append(make_presets(train_parameters.make_train_parameters(EXPERIMENT)))
            row = table(HEAD, [["`resume`", *resume]])
            sections.append(f"## `--resume` of `train.py`\n\nUnder `mlflow run`, `--run-id`.\n\n{row}\n")
    differing = [
        [f"`{entry}`", f"`{name}`", *texts]
        for entry, cls in others.items()
        for name, texts in describe_parameters(cls).items()
        if describe_parameters(classes[entry]).get(name) != texts
    ]
    missing = dict.fromkeys(
        f"`{name}`"
        for entry, other in others.items()
        for name in classes[entry].model_fields
        if name not in other.model_fields
    )
    sections.append(f"## Parameters of diabetes that differ\n\n{table(['entry point', *HEAD], differing)}\n")
    verbs = ", ".join(f"`{entry}`" for entry in classes if entry not in others)
    sections.append(f"It lacks the entry point {verbs}. It has no {', '.join(missing)}.\n")
    return "\n".join(sections)


CONTENTS_INTRO = """# What a run holds

Made from the code by `make docs`: the names that are stored in MLflow and in a training's folder, by where they stand.
A part in braces follows from the experiment; behind the colon is what it is for `imdb-conv1d`. Metrics at step 0 are
drawn as bars by the UI, a run each.
"""


def format_name(name: str) -> str:
    """Format a stored name; behind one with a part in braces, what it is for imdb-conv1d."""
    parts: dict[str, Sequence[str]] = {
        "rows": [EXPERIMENT.terms.rows],
        "loss": [EXPERIMENT.terms.loss_key],
        "metric": [metric.name for metric in EXPERIMENT.metrics],
        "score": EXPERIMENT.headline,
        "headline": EXPERIMENT.headline,
        "monitor": ["val_loss"],
        "inputs_switch": [EXPERIMENT.inputs_switch],
        "baseline": list(EXPERIMENT.baselines),
        "rule": RULES,
    }
    filled = [name]
    for part, values in parts.items():
        if f"{{{part}}}" in name:
            filled = [one.replace(f"{{{part}}}", value) for one in filled for value in values]
    examples = ", ".join(f"`{one}`" for one in filled if one != name)
    return f"`{name}`: {examples}" if examples else f"`{name}`"


def make_run_contents() -> str:
    """Make docs/run-contents.md."""
    sections = [CONTENTS_INTRO]
    from tracked.runs import schema  # which imports MLflow

    for title, groups in schema.CONTENTS.items():
        own = {f"{kind} of imdb-conv1d": names for kind, names in imdb_conv1d.schema.CONTENTS.get(title, {}).items()}
        sections.append(f"## {title}\n")
        for kind, names in (groups | own).items():
            rows = [[format_name(name), meaning] for name, meaning in names.items()]
            sections.append(f"### {kind}\n\n{table(['name', 'meaning'], rows)}\n")
    return "\n".join(sections)


PAGES: Mapping[str, Callable[[], str]] = {
    "parameters.md": make_parameters,
    "run-contents.md": make_run_contents,
}


def main() -> None:
    """Write every page."""
    for name, make in PAGES.items():
        (ROOT / "docs" / name).write_text(make())
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
