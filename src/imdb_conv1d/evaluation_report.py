"""What an evaluation leaves at its run: scores, pictures, predictions, mistakes."""

import time
from collections.abc import Mapping

import numpy as np

from imdb_conv1d import evaluation_plots
from imdb_conv1d.metrics import calibration_bins, scores
from imdb_conv1d.predict import Scored
from tracked.models.loader import Stored
from tracked.runs.evaluations import LEAKED, PREDICTIONS
from tracked.runs.writer import Run


def queue(run: Run, stored: Stored, scored: Scored, seconds: float, with_texts: bool, own_test_part: bool) -> str:
    """Queue everything; returns a few lines for the terminal.

    Args:
        seconds: what reading and scoring took.
        with_texts: whether the table of mistakes shows their texts.
        own_test_part: whether the reviews are the test part of the model's own data: those figures stand at its
            version, in its description and as tags, since the UI shows no metrics there.
    """
    labels, probabilities, seen = scored.labels, scored.probabilities, scored.seen
    found = {f"test_{name}": value for name, value in scores(labels, probabilities, scored.words).items()}
    counts = {"test_reviews": float(len(labels)), "test_reviews_distinct": float(len(set(scored.words)))}
    mark, short, line = "", "", "Which of these texts the model was trained or chosen on is not known."
    if seen is not None:
        leaked = int(seen.sum())
        counts |= {LEAKED: float(leaked), "test_reviews_unseen": float(len(labels) - leaked)}
        others = _scores_of(labels[~seen], probabilities[~seen], scored.words[~seen])
        found |= {f"test_{name}_unseen": value for name, value in others.items()}
        mark = f", of which the model has seen {leaked:,} in its training" if leaked else ""
        short = f", {leaked:,} seen in training" if leaked else ""  # a title has no room for more
        line = "The model has seen none of these texts in its training."
        if leaked:
            line = f"The model has seen {leaked:,} of these texts in its training; over the other {(~seen).sum():,}: "
            line += _figures(others) if others else "no figures, since they do not have both labels"
            line += "."
    now = round(time.time() * 1000)
    # A model shows no data beside its figures: its own test part is the one that they may be taken for.
    run.metrics(found | counts, now, step=0, model_id=(stored.model_id or None) if own_test_part else None)
    run.metrics({"test_seconds": seconds}, now, step=0)
    run.file(run.folder / PREDICTIONS)
    for name, figure in (
        ("confusion.png", evaluation_plots.confusion(labels, probabilities, short)),
        ("roc.png", evaluation_plots.roc(labels, probabilities, short)),
        ("precision_recall.png", evaluation_plots.precision_recall(labels, probabilities, short)),
        ("calibration.png", evaluation_plots.calibration(calibration_bins(labels, probabilities), short)),
    ):
        run.figure(figure, name)
    columns = ["label", "probability", "text"] if with_texts else ["label", "probability", "hash"]
    run.table(scored.mistakes[columns], "mistakes.json")
    whole = {name.removeprefix("test_"): value for name, value in found.items()}
    lines = [f"{_figures(whole)} on {len(labels):,} reviews{mark}", line]
    if stored.version and own_test_part:
        shown = {name: found[name] for name in ("test_loss", "test_accuracy")}
        told = {**shown, LEAKED: "unknown" if seen is None else leaked, "evaluation_run_id": run.id}
        run.version(stored.name, stored.version, told)
        run.version_line(stored.name, stored.version, "Test part:", f"{lines[0]}. {line}")
    run.describe("\n\n".join([f"{stored.title}: {lines[0]}.", line]))
    return "\n".join([*lines, f"read and scored in {seconds:.1f} s"])


def _scores_of(labels: np.ndarray, probabilities: np.ndarray, words: np.ndarray) -> dict[str, float]:
    """The scores of some rows; none if they do not have both labels."""
    return scores(labels, probabilities, words) if len(np.unique(labels)) == 2 else {}


def _figures(of: Mapping[str, float]) -> str:
    return (
        f"test_loss {of['loss']:.4f}, test_accuracy {of['accuracy']:.4f} (95 % interval {of['accuracy_low']:.4f} to "
        f"{of['accuracy_high']:.4f}), ROC AUC {of['roc_auc']:.4f}"
    )
