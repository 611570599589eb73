"""What an evaluation leaves at its run: scores, pictures, predictions, mistakes."""

import time

from imdb_conv1d import plots
from imdb_conv1d.evaluations import LEAKED, PREDICTIONS
from imdb_conv1d.registry import Stored
from imdb_conv1d.scores import calibration_bins, scores
from imdb_conv1d.scoring import Scored
from imdb_conv1d.tracking import Run


def queue(run: Run, stored: Stored, scored: Scored, seconds: float, with_texts: bool, own_test_part: bool) -> str:
    """Queue everything; returns a few lines for the terminal.

    Args:
        seconds: what reading and scoring took.
        with_texts: whether the table of mistakes shows their texts.
        own_test_part: whether the reviews are the test part of the model's own data: those figures stand at its
            version, in its description and as tags, since the UI shows no metrics there.
    """
    labels, probabilities = scored.labels, scored.probabilities
    found = {f"test_{name}": value for name, value in scores(labels, probabilities).items()}
    now = round(time.time() * 1000)
    run.metrics(found, now, step=0, model_id=stored.model_id or None)
    counts = {"test_reviews": float(len(labels))}
    if scored.in_training is not None:
        counts[LEAKED] = float(scored.in_training)
    run.metrics({**counts, "test_seconds": seconds}, now, step=0)
    run.file(run.folder / PREDICTIONS)
    run.figure(plots.confusion(labels, probabilities), "confusion.png")
    run.figure(plots.roc(labels, probabilities), "roc.png")
    run.figure(plots.precision_recall(labels, probabilities), "precision_recall.png")
    run.figure(plots.calibration(calibration_bins(labels, probabilities)), "calibration.png")
    columns = ["label", "probability", "text"] if with_texts else ["label", "probability", "hash"]
    run.table(scored.mistakes[columns], "mistakes.json")
    twice = "unknown" if scored.in_training is None else f"{scored.in_training:,}"
    lines = [
        f"test_loss {found['test_loss']:.4f}, test_accuracy {found['test_accuracy']:.4f} "
        f"(95 % interval {found['test_accuracy_low']:.4f} to {found['test_accuracy_high']:.4f}), "
        f"ROC AUC {found['test_roc_auc']:.4f} on {len(labels):,} reviews",
        f"texts that also stand in the model's training part: {twice}",
    ]
    if stored.version and own_test_part:
        shown = {name: found[name] for name in ("test_loss", "test_accuracy")}
        run.version(stored.name, stored.version, {**shown, "evaluation_run_id": run.id})
        run.version_line(stored.name, stored.version, "Test part:", f"{lines[0]}.")
    run.describe("\n\n".join([f"{stored.title}: {lines[0]}.", f"{lines[1][0].upper()}{lines[1][1:]}."]))
    return "\n".join([*lines, f"read and scored in {seconds:.1f} s"])
