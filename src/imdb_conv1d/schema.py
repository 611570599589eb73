"""The names that this experiment stores beside those of ``tracked.runs.schema``, each with its meaning."""

from collections.abc import Mapping

NAME = "imdb-conv1d"  # of the experiment
FUSED, FORMER_FUSED, PLAIN = "fused 2", "fused", "plain"
TRAINING_TAGS = {
    (LAYERS := "layers"): f"which layers were trained: {FUSED}, {FORMER_FUSED} (before version 0.14) or {PLAIN}; the "
    "stored network has Keras's own"
}
EPOCH_METRICS = {
    (LOSS := "loss"): "mean cross-entropy, in nats; with `class_weight=balanced`, the training's own is weighted",
    (ACCURACY := "accuracy"): "share of right labels: of two, at a threshold of 0.5",
}
ROW_COLUMNS = {
    "hash": "SHA-256 of the text",
    "label": "0 or 1; of other labels, the name",
    "split": "train, validation or test",
    "words": "key of the words that the model gets of the text; empty in the test part",
}
SCORES = EPOCH_METRICS | {
    (LOSS_LOW := "loss_low"): "lower end of the 95 % interval of the loss (Student's and Hall's); missing with "
    "fewer than 120 distinct texts, or five that are predicted wrong",
    (LOSS_HIGH := "loss_high"): "upper end",
    (ACCURACY_LOW := "accuracy_low"): "lower end of the 95 % interval of accuracy (Wilson)",
    (ACCURACY_HIGH := "accuracy_high"): "upper end",
    (MACRO_F1 := "macro_f1"): "mean F1 of the classes that have rows",
    (
        MACRO_F1_LOW := "macro_f1_low"
    ): "lower end of the 95 % interval of macro_f1; missing where a class has fewer than "
    "five distinct texts, or all have fewer than 120",
    (MACRO_F1_HIGH := "macro_f1_high"): "upper end",
    (PRECISION := "precision"): "of label 1, the positive label; this and the next five of two classes only",
    (RECALL := "recall"): "of label 1",
    (F1 := "f1"): "of label 1",
    (ROC_AUC := "roc_auc"): "area under the ROC curve",
    (AVERAGE_PRECISION := "average_precision"): "area under the precision-recall curve, by steps",
    (BRIER := "brier"): "mean squared error of the probability",
    (CALIBRATION_ERROR := "calibration_error"): "expected calibration error over ten bins of equal width; of more than "
    "two classes, of the predicted one's probability",
}
FORMER_METRICS = {
    (LEGACY_SEEN := "test_texts_in_training"): "of evaluations by earlier versions: rows whose text equals one of the "
    "training part in bytes",
}
BASELINES = {
    (MOST_FREQUENT := "most_frequent"): "the most frequent class",
    (LINEAR := "linear"): "the linear model",
}
EVALUATION_FILES = {
    (CONFUSION := "confusion.png"): "counts of true and predicted labels at a threshold of 0.5; of more than two "
    "classes, shares of the true class",
    (ROC := "roc.png"): "the ROC curve, of two classes",
    (PRECISION_RECALL := "precision_recall.png"): "precision over recall, of two classes",
    (CALIBRATION := "calibration.png"): "share of positive reviews over their predicted probability; of more than two "
    "classes, share of right ones",
    (CLASS_PLOT := "classes.png"): "F1 of each class with its interval, of more than two classes; of the 40 lowest",
    (CLASSES := "classes.csv"): "one row per class that occurs: its scores, with 95 % intervals",
    (CONFUSED := "confused.csv"): "one row per pair of a true and a predicted class, the most confused first",
}
CLASS_COLUMNS = {
    "class": "the label",
    "code": "its number in the model; plots say `class 12` for a label that they cannot draw",
    "support": "rows of the class",
    "predicted": "rows predicted to be of the class",
    "precision": "share of those that are of the class; then the ends of its interval (Clopper and Pearson), "
    "copies of a text counted as one",
    "recall": "share of the class's rows that are predicted to be of it, likewise",
    "f1": "their harmonic mean, likewise; empty where the class has no rows",
}
CONFUSED_COLUMNS = {
    "true": "the label",
    "predicted": "the label that was predicted",
    "count": "rows",
    "share": "of the rows of the true class",
    "id_1": "`id` of the row with the largest loss; then of two more",
    "text_1": "its text, shortened, if the row is among the 500 with the largest loss; only where texts may be stored",
}
PREDICTION_COLUMNS = {
    "text_sha256": "SHA-256 of the text",
    "label": "code of the true label: its position in the model's labels; of reviews 0 negative, 1 positive",
    (PREDICTED_LABEL := "predicted_label"): "code of the predicted label, of more than two labels",
    "probability": "of two labels, of the one with code 1; of more, of the predicted one",
    (CLASS := "class"): "the true label, unless the labels are 0 and 1",
    (PREDICTED := "predicted"): "the predicted label, unless the labels are 0 and 1",
    "words": "key of all words of the text: the name of `key` in earlier formats",
}
MISTAKE_COLUMNS = {
    "label": "the true label",
    PREDICTED: "the predicted label, unless the labels are 0 and 1",
    "probability": "of two labels, of the one with code 1; of more, of the predicted one",
    "text": "the text, where texts may be logged",
    "hash": "SHA-256 of the text, where they may not",
}
EXPLANATION_FILES = {
    (
        WINDOWS := "windows.json"
    ): "one row per window with an effect on a prediction, or with `network=gated` per n-gram; the largest effect of a "
    "text first",
    (
        EXPLANATION := "explanation.html"
    ): "the texts with their words shaded, on one page; only where texts may be logged",
}
EXPLANATION_COLUMNS = {
    "number": "of the text, from 1",
    "label": "the true label; empty where it is unknown",
    "predicted": "the predicted label",
    "probability": "of the predicted label",
    "logit": "of the predicted label; of two labels, its log odds",
    "intercept": "with `network=gated`, the logit less all effects; of the predicted label, too",
    "words": "the window's words as they stand in the text; absent where texts may not be logged",
    "first": "number of the window's first word in the text, from 1; 0 for the mark before the text",
    "effect": "the logit less what it is without the window's activations, or without the n-gram's value",
    "filters": "number of filters whose maximum this window alone holds; empty with `network=gated`",
    "share": "the same as a share of all filters",
    "gate": "with `network=gated`, the n-gram's gate from 0 to 2, the mean of the members'; else empty",
    "probability_without": "the probability of the predicted label without them",
}
RUN_FOLDER_FILES = {
    (VOCABULARY := "vocabulary-{sha256}.txt"): "one word per line; the line's number, from 0, is its id",
    (NGRAMS := "ngrams-{sha256}.npz"): "with `network=gated`, the linear models of n-grams as arrays",
}
MODEL_METADATA = {
    (LABELS := "labels"): "the labels, in the order of the model's answer; of two, its probability is the second's",
    (TOKENS := "tokens"): "words or characters",
    (MAXLEN := "maxlen"): "the number of last tokens that the model gets",
    (NETWORK := "network"): "conv or gated; absent with models of earlier versions, which are conv",
    (READ_AS := "read_as"): "the parameters by which its data were read: columns, encoding, positive_label, test_split",
}

CONTENTS: dict[str, dict[str, Mapping[str, str]]] = {
    "The run of a training": {
        "Tags": TRAINING_TAGS,
        "Metrics of an epoch": EPOCH_METRICS
        | {f"val_{name}": f"{EPOCH_METRICS[name]}, of the validation part" for name in EPOCH_METRICS},
        "Columns of data/rows.parquet": ROW_COLUMNS,
    },
    "The run of an evaluation": {
        "Scores": {f"test_{name}": meaning for name, meaning in SCORES.items()} | FORMER_METRICS,
        "Files": EVALUATION_FILES,
        "Columns of predictions.parquet": PREDICTION_COLUMNS,
        "Columns of mistakes.json": MISTAKE_COLUMNS,
        "Columns of classes.csv": CLASS_COLUMNS,
        "Columns of confused.csv": CONFUSED_COLUMNS,
    },
    "The run of a verb of the experiment's own": {
        "Files": EXPLANATION_FILES,
        f"Columns of {WINDOWS}": EXPLANATION_COLUMNS,
    },
    "The stored model": {"Metadata": MODEL_METADATA},
    "The run folder of an unfinished training": {"Files": RUN_FOLDER_FILES},
}
