"""Explain predictions of a registered model by the windows of words, or the n-grams, that made them."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from imdb_conv1d import schema
from tracked.console import verb_parameters
from tracked.console.errors import RunFailed
from tracked.console.lines import say
from tracked.console.signals import Signals
from tracked.experiment import Experiment, require

PRINTED = 3  # windows or n-grams of a text
MAX_PARAMETER = 200  # characters of the text that are logged as the run's parameter


def main(experiment: Experiment, argv: Sequence[str], signals: Signals) -> None:
    """Check the parameters; only then import what is slow: find the model and the texts, explain them, log."""
    require(experiment)
    parameters = verb_parameters.make_verb_parameters("explain", experiment).parse(argv)

    from imdb_conv1d import explain_page, explain_texts, explanation
    from imdb_conv1d.labels import Classes
    from tracked.models import loader
    from tracked.runs import connection, context, registry, rights, run_start
    from tracked.runs.schema import EVALUATION_RUN_ID
    from tracked.runs.writer import escape_markdown
    from tracked.training import reproducibility

    connection.require_answers()
    rights.require_run(run_start.require_own_run(experiment, "explain"))
    with tempfile.TemporaryDirectory(prefix=f"{experiment.name}-") as folder:
        stored = registry.find(parameters.model)
        say(f"model: {stored.title}" + (f" ({parameters.model})" if stored.uri != parameters.model else ""))
        model = loader.download(experiment, stored, Path(folder))
        classes = Classes.of_model(model.metadata.own if model.metadata else {})
        with tempfile.TemporaryDirectory(prefix=f"{experiment.name}-") as other:
            texts = explain_texts.find_texts(experiment, stored, model, classes, parameters, Path(other))
        say(texts.title)
        # A text that is given to such a model may well be one of its data.
        is_private = bool(model.metadata and model.metadata.private)
        if is_private and parameters.log_texts:
            say("the text is not logged, as the model's training had log_texts=false")
        may_log = parameters.log_texts and not is_private
        reproducibility.import_tensorflow()
        from imdb_conv1d.text_explainer import Explainer

        explainer = Explainer.load(stored, model, classes)
    explained = []
    for row in texts.rows:
        signals.check()
        try:
            explained.append((row.heading, explainer.explain(row.text, row.label)))
        except ValueError as error:
            raise RunFailed(f"{stored.title} cannot be explained: it {error}") from None
        say(explanation.describe(*explained[-1], PRINTED))
    given, name = parameters.as_strings(), f"explain {stored.short}"
    given["text"] = given["text"][:MAX_PARAMETER] if may_log else "(not logged)"
    with context.run(experiment, "explain", name, given, signals) as run:
        registry.log_model(run, stored)
        if texts.evaluation:
            run.set_tags({EVALUATION_RUN_ID: texts.evaluation})
        every = [one for _, one in explained]
        run.log_table(explanation.tabulate(every, parameters.windows, may_log), schema.WINDOWS)
        if may_log:
            title, path = f"What made the predictions of {stored.title}", run.folder / schema.EXPLANATION
            page = explain_page.render_page(title, f"{texts.title}.", explained, parameters.windows)
            path.write_text(page, encoding="utf-8")
            run.log_artifact(path)
        run.set_description(escape_markdown(f"{stored.title}: {texts.title}."))
        say(f"run {run.id} {name!r}")
