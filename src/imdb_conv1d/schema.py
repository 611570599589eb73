"""The names that this experiment stores beside those of ``tracked.runs.schema``, each with its meaning."""

from collections.abc import Mapping

TRAINING_TAGS = {(LAYERS := "layers"): "fused or plain: which layers were trained; the stored network has Keras's own"}
EPOCH_METRICS = {
    (LOSS := "loss"): "mean binary cross-entropy, in nats",
    (ACCURACY := "accuracy"): "share of right labels at a threshold of 0.5",
}
ROW_COLUMNS = {
    "hash": "SHA-256 of the text",
    "label": "0 negative, 1 positive",
    "split": "train, validation or test",
    "words": "key of the words that the model gets of the text; empty in the test part",
}
SCORES = EPOCH_METRICS | {
    (ACCURACY_LOW := "accuracy_low"): "lower end of the 95 % interval of accuracy (Wilson)",
    (ACCURACY_HIGH := "accuracy_high"): "upper end",
    (PRECISION := "precision"): "of label 1",
    (RECALL := "recall"): "of label 1",
    (F1 := "f1"): "of label 1",
    (ROC_AUC := "roc_auc"): "area under the ROC curve",
    (AVERAGE_PRECISION := "average_precision"): "area under the precision-recall curve, by steps",
    (BRIER := "brier"): "mean squared error of the probability",
    (CALIBRATION_ERROR := "calibration_error"): "expected calibration error over ten bins of equal width",
}
FORMER_METRICS = {
    (LEGACY_SEEN := "test_texts_in_training"): "of evaluations by earlier versions: rows whose text equals one of the "
    "training part in bytes",
}
EVALUATION_FILES = {
    (CONFUSION := "confusion.png"): "counts of true and predicted labels at a threshold of 0.5",
    (ROC := "roc.png"): "the ROC curve",
    (PRECISION_RECALL := "precision_recall.png"): "precision over recall",
    (CALIBRATION := "calibration.png"): "share of positive reviews over their predicted probability",
}
PREDICTION_COLUMNS = {
    "text_sha256": "SHA-256 of the text",
    "label": "0 negative, 1 positive",
    "probability": "of label 1",
    "words": "key of all words of the text: the name of `key` in earlier formats",
}
MISTAKE_COLUMNS = {
    "label": "0 negative, 1 positive",
    "probability": "of label 1",
    "text": "the review, where texts may be logged",
    "hash": "SHA-256 of the text, where they may not",
}
RUN_FOLDER_FILES = {
    (VOCABULARY := "vocabulary-{sha256}.txt"): "one word per line; the line's number, from 0, is its id"
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
    },
    "The run folder of an unfinished training": {"Files": RUN_FOLDER_FILES},
}
