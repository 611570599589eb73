"""Every name that the machinery stores in MLflow, once, with its meaning; docs/run-contents.md is made from it.

A name in braces follows from the experiment: ``{rows}`` and ``{loss}`` from its terms, ``{metric}`` from what an epoch
reports, ``{score}`` from what ``score`` gives, ``{headline}`` from the scores of that attribute, ``{monitor}`` from the
parameter, ``{inputs_switch}`` and ``{baseline}`` from the attributes; ``{rule}`` is a rule for giving up trials. What
an experiment stores of its own stands in a schema of its own.
"""

from collections.abc import Mapping

from mlflow.utils.mlflow_tags import (
    MLFLOW_LOGGED_ARTIFACTS,
    MLFLOW_MODEL_VERSIONS,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_PROJECT_ENTRY_POINT,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
)

from tracked.experiment import Experiment, owns_untagged
from tracked.training import files, journal, run_folder, snapshot_file

RUN_TAGS = {
    (
        VERB := "verb"
    ): "what the run is of: train, find_rate, search, evaluate, predict, serve, replay, compare, promote, rollback, "
    "unfinished or tidy, or a verb of the experiment's own",
    (
        PINNED := "pinned"
    ): "set by people: `tidy` leaves alone what has this tag with any value but false, and what that names",
    (EXPERIMENT := "experiment"): "whose run it is: the experiment's name; runs from before experiments had names have "
    "no such tag",
    (TRACKED_VERSION := "tracked_version"): "the version of the package `tracked` that the last attempt ran; runs from "
    "before 0.7.0 have no such tag",
    (LAUNCH := "launch"): "JSON about the last attempt: its process (`token`, `pid`, `host`, `since`, `start`) and, of "
    "a training, its `parameters`, the `source` of its data, the folder of its run folder (`snapshots`) and "
    "whether its version is to be evaluated (`evaluate`)",
    (STOP_REASON := "stop_reason"): "why the work ended: patience, epochs, pruned, not_a_number, no_rate, interrupted, "
    "error, killed or other_history; absent where a verb other than train has finished",
    (ERROR := "error"): "the error that ended the run, on one line",
    MLFLOW_RUN_NOTE: "the description that the UI shows, in Markdown",
    (ENTRY_POINT := MLFLOW_PROJECT_ENTRY_POINT): "set by `mlflow run`: the entry point that it started",
}
TRAINING_TAGS = {
    (DATA_SOURCE := "data_source"): "what finds the data again: a name or a path",
    (DATA_DIGEST := "data_digest"): "SHA-256 of the data's rows",
    (DATA_ROWS := "data_rows"): "how many rows each part has, for people",
    (VERSIONS := "versions"): "versions of Python and of the packages that a result depends on",
    (MACHINE := "machine"): "what equal bits depend on beside them: CPU, threads, GPUs, settings, platform",
    (SUGGESTED_RATE := "suggested_rate"): "with learning_rate=auto, the learning rate that the range test before the "
    "first epoch suggested, and that the training has",
    (RESUMED := "resumed"): "after which epoch the training was resumed, each time",
    (EXTENDED := "raised"): 'JSON: the last value of each parameter that was extended, such as `{"patience": 5}`, '
    "and a sentence, `patience to 5 after epoch 3`, which earlier versions wrote alone",
    (
        PRESET_VALUES := "preset_values"
    ): "JSON: the values that the training uses for the parameters that its preset sets; "
    "the parameters of the run and its model hold what was given; absent where the preset sets none",
    (REGISTERED := "registered_version"): "the number of the model version; set last: with this tag the training is "
    "complete, whatever the status is",
    (CLOSED := "closed"): "true once `unfinished` has closed the training",
    (TRIAL := "trial"): "of a search's trial: its number, from 0 on",
    (CONFIRMS := "confirms"): "of a training that confirms a search's choice: the trial with the same parameters, or "
    "defaults; its seed is another",
    (PROPOSAL := "proposal"): "JSON: of a search's training, the `values` of the searched parameters and, of a trial, "
    "the numbers of the trials whose results the proposal was made with (`known`)",
    (PRUNED_BECAUSE := "pruned_because"): "why a search gave the trial up",
}
EPOCH_METRICS = {
    "{metric}": "what the experiment's network reports of the training part",
    "val_{metric}": "the same of the validation part",
    journal.LEARNING_RATE: "the learning rate of the epoch's last step",
    journal.EPOCH_SECONDS: "seconds that the epoch took; the one metric that a repetition does not repeat",
    journal.WAIT: "epochs since the last improvement",
    journal.BEST: "value of the last improvement",
}
TOTALS = {
    (STOPPED_EPOCH := "stopped_epoch"): "the last epoch",
    (BEST_EPOCH := "best_epoch"): "the epoch whose checkpoint is kept",
    (BEST_VALUE := "best_{monitor}"): "the monitored metric of that epoch",
}
TRAINING_FILES = {
    files.HISTORY: "one row per epoch: all of its metrics",
    files.EARLY_STOPPING: "one row per epoch: the monitored value, the best so far, epochs waited, event and time; "
    f"with schedule=plateau also `{journal.NEXT_RATE}`, the learning rate after the epoch",
    files.CURVES: "the metrics over the epochs, with the best one and the last one; the learning rate, if it changes",
    (CHECKPOINT := f"{(CHECKPOINT_FOLDER := 'checkpoint')}/{files.BEST}"): "the network of the best epoch, with its "
    "optimizer",
    (ROWS := f"{(DATA_FOLDER := 'data')}/{files.ROWS}"): "one row per row of the data, without inputs; "
    "evaluations read there what the model has seen",
    files.ENVIRONMENT: "the tags `versions` and `machine` as JSON",
    files.RANGE_TABLE: "with learning_rate=auto, the table of a range test",
    files.RANGE_PICTURE: "with learning_rate=auto, its picture",
}

SEARCH_TAGS = {
    DATA_SOURCE: "what finds the data again",
    DATA_DIGEST: "SHA-256 of the data's rows; a search with other data is not resumed",
    DATA_ROWS: "how many rows each part has, for people",
    (SPACE := "space"): "what the search varies, as the parameter takes it",
    (CODE := "code_digest"): "a digest of the code that a trial's result depends on, without comments and docstrings; "
    "a search with other code is not resumed",
    PRESET_VALUES: "as of a training",
    (WINNER := "winner"): "the winning trial's number, or defaults",
    (WINNER_RUN_ID := "winner_run_id"): "the training whose best checkpoint is registered",
    (CONFIRMED := "confirmed"): "whether the winner's lead over the defaults is confirmed: true, false or unknown",
    REGISTERED: "the number of the registered version; set last: with this tag the search is complete",
}
RATE_TAGS = {
    DATA_SOURCE: "what finds the data again",
    DATA_DIGEST: "SHA-256 of the data's rows",
    DATA_ROWS: "how many rows each part has, for people",
}
RATE_METRICS = {SUGGESTED_RATE: "the learning rate to train with; absent where none can be suggested"}
RATE_FILES = {
    files.RANGE_TABLE: "one row per step: its learning rate, the loss of its batch before it, the smoothed loss",
    files.RANGE_PICTURE: "both over the learning rate, with the suggestion and where the test ended",
}

EVALUATION_TAGS = {
    (MODEL_URI := "model_uri"): "the model, as a URI that does not move",
    (MODEL_NAME := "model_name"): "its registered name; empty for a model without a version",
    (MODEL_VERSION := "model_version"): "its version; empty likewise",
    (MODEL_ID := "model_id"): "its id, which names the model even where versions begin again",
    (TRAINING_RUN_ID := "training_run_id"): "the run of its training",
    DATA_SOURCE: "what finds the data again",
    DATA_DIGEST: "SHA-256 of the whole data's rows",
    (ROWS_DIGEST := "rows_digest"): "SHA-256 of the rows that were predicted, in whatever order: evaluations with the "
    "same one are compared row by row",
    (LOSS_OF_ROWS := "loss_of_rows"): "what a row's loss is, and its unit",
    (EVALUATION_FORMAT := "evaluation_format"): "the form of what the run holds: 3; without the tag, it is not known "
    "which rows were seen",
    (
        BASELINE_KEY := "baseline_key"
    ): "SHA-256 of all that the baselines depend on: the training's data and parameters, the "
    "rows, the recipe; evaluations with the same one share the baselines' predictions",
    MLFLOW_LOGGED_ARTIFACTS: "names the table that the UI shows",
    (PARENT_RUN_ID := MLFLOW_PARENT_RUN_ID): "the promotion that made the evaluation; the UI shows it below that",
}
EVALUATION_METRICS = {
    (TEST_SCORE := "test_{score}"): "the experiment's scores over all rows; `loss` is the mean of the rows' losses",
    (TEST_SCORE_UNSEEN := "test_{score}_unseen"): "the same over the rows that the model has not seen",
    (TEST_ROWS := "test_{rows}"): "number of rows",
    (TEST_ROWS_DISTINCT := "test_{rows}_distinct"): "number of rows that tell something new: rows with one key count "
    "once",
    (TEST_ROWS_SEEN := "test_{rows}_seen"): "number of rows that the model was trained or chosen on; absent where that "
    "is not known",
    (TEST_ROWS_UNSEEN := "test_{rows}_unseen"): "number of the other rows",
    (TEST_SECONDS := "test_seconds"): "seconds that reading and predicting took",
    (BASELINE_SCORE := "baseline_{baseline}_{headline}"): "the same scores of a baseline, over all rows",
}
EVALUATION_FILES = {
    (PREDICTIONS := "predictions.parquet"): "one row per row of the part",
    (MISTAKES := "mistakes.json"): "the rows with the largest loss, of those that are not right; as far as inputs may "
    "be stored",
    (BASELINE_TABLE := "baselines.csv"): "one row per baseline: its scores over all rows and, in the columns "
    "`difference_…`, the model less the baseline over distinct rows that the model has not seen, with 95 % intervals",
    (
        BASELINE_PREDICTIONS := f"{(BASELINES_FOLDER := 'baselines')}/{{baseline}}.parquet"
    ): "one row per row of the part: a baseline's predictions, without `key` and `seen`",
}
PREDICTION_COLUMNS = {
    "id": "names the row; no other row of the part has it",
    "loss": "the row's loss",
    "key": "rows with the same key tell no more than one of them",
    "seen": "whether the model was trained or chosen on the row; missing where that is not known",
    "correct": "whether the prediction is right, where a prediction can be",
}

REPLAY_TAGS = {
    (SOURCE_RUN_ID := "source_run_id"): "the run that was replayed, of one training",
    (SOURCE_EXPERIMENT_ID := "source_experiment_id"): "the MLflow experiment that was replayed, of several",
    PARENT_RUN_ID: "the run that was replayed, so that the UI shows the replay below it",
}
REPLAY_METRICS = {
    (SHORTEST_PATIENCE := "shortest_patience"): "of one training: the shortest patience that keeps the best epoch",
    (EPOCHS_SAVED := "epochs_saved"): "epochs that this patience, or the recommended one, would have saved",
    (SECONDS_SAVED := "seconds_saved"): "seconds of training likewise",
    (RECOMMENDED_PATIENCE := "recommended_patience"): "of several trainings: the shortest patience shown to serve them",
    (RECOMMENDED_MIN_DELTA := "recommended_min_delta"): "the min_delta that goes with it",
    (REGRET := "regret"): "how much worse its kept value is than the best of all epochs, on average",
    (REGRET_LOW := "regret_low"): "lower end of the 95 % interval of that",
    (REGRET_HIGH := "regret_high"): "upper end",
    (REGRET_WORST := "regret_worst"): "the largest regret of a training",
    (SERVED := "served"): "trainings that lose at most the tolerance",
    (ANSWERED := "answered"): "trainings that answer the recommended rule",
    (RUNS := "runs"): "trainings that were read",
    (RUNS_COMPARED := "runs_compared"): "those of them that count: distinct, and long enough",
    (RULE_SAVED := "{rule}_saved"): "share of the epochs that a rule for giving up saves in a search of such trials",
    (RULE_SAVED_LOW := "{rule}_saved_low"): "lower end of the 95 % interval of that; absent with too few trainings",
    (RULE_SAVED_HIGH := "{rule}_saved_high"): "upper end",
    (RULE_LOST := "{rule}_lost"): "share of such searches that lose their best trial",
    (RULE_LOST_LOW := "{rule}_lost_low"): "lower end of the 95 % interval of that; absent likewise",
    (RULE_LOST_HIGH := "{rule}_lost_high"): "upper end",
    (RULE_REGRET := "{rule}_regret"): "how much worse the best trial that is left is than the best of all, on average",
}
REPLAY_FILES = {
    (REPLAY_TABLE := "replay.csv"): "one row per rule and training: its stop, the epoch that it keeps, regret, savings",
    (
        FIRST_CUTS := "first_cuts.csv"
    ): "one row per rule and training: the epoch after which a plateau rule with that patience as `decay_patience` "
    "would have cut the learning rate for the first time, and how many recorded epochs follow, which would have been "
    "others; `unknown` is end where the history ends before, schedule where its own schedule had changed the rate",
    (HEAT_MAP := "heat_map.png"): "regret and stop over patience and min_delta",
    (CURVE := "curve.png"): "of one training: its curve with the stops drawn in",
    (POOLED_TABLE := "pooled.csv"): "of several trainings: one row per rule, over the runs that answer it",
    (POOLED := "pooled.png"): "mean regret and mean stop over patience",
    (
        PRUNING_TABLE := "pruning.csv"
    ): "with `rules`: one row per rule for giving up and training, in the order of their "
    "start: the epoch after which it would have been given up, what that saves, whether it is the best one",
    (PRUNING_RULES := "pruning_rules.csv"): "with `rules`: one row per rule: what it saves and loses in the recorded "
    "order, and in searches of `search_trials` trials in random order (`search_…`), with 95 % intervals",
    (
        PRUNING_PICTURE := "pruning.png"
    ): "with `rules`: the learning curves, cut where each rule gives up, and both shares",
}

OBSERVED_TAGS = {
    (
        DRIFT := "drift"
    ): "whether the rows have drifted from the training's beyond the margin: drift, alike (excluded), undecided "
    "(neither), nothing (there are none to compare) or unknown (the training's are not known)",
}
OBSERVED_METRICS = {
    (DRIFT_LEAST := "drift_least"): "the largest difference of a share of the rows that is certain, from 0 to 1",
    (DRIFT_MOST := "drift_most"): "the largest difference that is possible; both of 95 % intervals that hold all at "
    "once",
}
OBSERVED_FILES = {
    (OBSERVED_TABLE := "observed.csv"): "one row per class or interval of each thing observed: its rows and their "
    "share, and the training's",
    (OBSERVED_PICTURE := "observed.png"): "both shares",
    (DRIFT_TABLE := "drift.csv"): "one row per event, such as at most 64 words: the share of the training's rows and "
    "of these, and the interval of the difference; missing if the training's rows are not known",
}

COMPARISON_FILES = {
    (COMPARISON_TABLE := "comparison.csv"): "one row per training, the best first",
    (PAIRS := "pairs.csv"): "the best evaluated training against each other one, on the same rows",
    (COMPARISON_PAGE := "comparison.html"): "both tables and the curves on one page",
}

SEARCH_METRICS = {
    (BEST_SO_FAR := "best_so_far"): "the best value of the monitored metric so far; the step is the number of results",
    (BEST_TRIAL := "best_trial"): "the number of the best finished trial; absent without one",
    (BEST_TRIAL_VALUE := "best_trial_value"): "its best value of the monitored metric",
    (TRIALS_FINISHED := "trials_finished"): "number of trials that ended by their own rule",
    (TRIALS_PRUNED := "trials_pruned"): "number of trials that the pruning rule gave up",
    (TRIALS_NOT_A_NUMBER := "trials_not_a_number"): "number of trials whose loss was not a number",
    (TRIALS_FAILED := "trials_failed"): "number of trials that an error ended",
}
PREDICTION_TAGS = {
    MODEL_URI: "the model, as a URI that does not move",
    MODEL_NAME: "its registered name; empty for a model without a version",
    MODEL_VERSION: "its version; empty likewise",
    MODEL_ID: "its id, which names the model even where versions begin again",
    TRAINING_RUN_ID: "the run of its training",
    DATA_SOURCE: "the data that were answered, as an absolute path",
    DATA_DIGEST: "SHA-256 of the names and contents of their files",
}
PREDICTION_METRICS = {
    (ROWS_READ := "rows"): "rows of the input",
    (ANSWERED_ROWS := "answered_rows"): "those with an answer",
    (REJECTED_ROWS := "rejected_rows"): "the bad ones, without an answer",
    (PARTS_WRITTEN := "parts"): "files of answers",
    (ROWS_A_SECOND := "rows_a_second"): "rows that the last attempt answered a second, with the start of its workers",
}
PREDICTION_FILES = {
    (MANIFEST := "manifest.json"): "the output's manifest: model, code, parameters, input, versions and machine, "
    "and each part with its number of rows and its SHA-256",
}
SEARCH_FILES = {
    (
        TRIALS_TABLE := "trials.csv"
    ): "one row per trial, in the order of the proposals: its run, its parameters, its best "
    "value; `known` are the trials whose results the proposal was made with",
    (SEARCH_PAGE := "search.html"): "history, learning curves, parameters, their importance and the trials on one page",
    (SEARCH_PICTURE := "search.png"): "history and learning curves",
}

PROMOTION_TAGS = {
    (DECISION := "decision"): "promoted, kept or unchanged; set by promote alone",
    MODEL_NAME: "the registered model",
    MODEL_VERSION: "the version that should become the champion; of a rollback, the one that is restored",
    (CHAMPION_VERSION := "champion_version"): "the version that defended the place; of a rollback, the one that lost "
    "it; none where there was none",
    (EVALUATION_RUN_ID := "evaluation_run_id"): "the evaluation of the version",
    (CHAMPION_EVALUATION_RUN_ID := "champion_evaluation_run_id"): "the evaluation of the champion",
    ROWS_DIGEST: "the rows that both were evaluated on",
    (DECIDING_DIGEST := "deciding_digest"): "SHA-256 of the keys of the rows that decided",
}
PROMOTION_METRICS = {
    (DIFFERENCE := "{loss}_difference"): "mean loss of the version less that of the champion",
    (UPPER := "{loss}_upper"): "upper bound of that, which the margin is compared with",
    TEST_ROWS: "distinct rows that decided",
    (DECISIONS := "decisions_on_these_{rows}"): "promotions that these rows have decided so far",
}

TIDY_TAGS = {
    (CONTINUED_BY := "continued_by"): "of a tidy that was cut off: the run of the tidy that has completed it",
    MLFLOW_LOGGED_ARTIFACTS: "names the table that the UI shows",
}
TIDY_METRICS = {
    (FOUND_BYTES := "found_bytes"): "bytes of all that might go",
    (FOUND_THINGS := "found_things"): "number of those things",
    (REMOVED_BYTES := "removed_bytes"): "bytes of what was removed",
    (REMOVED_THINGS := "removed_things"): "number of those things",
}
TIDY_FILES = {
    (TIDY_PLAN := "tidy.json"): "one row per thing that might go, with its bytes and why; logged before the first goes",
    (TIDY_OUTCOME := "outcome.json"): "the same with what became of it: removed, kept and why, or failed and why",
}

OWN_VERB_TAGS = {
    MODEL_URI: "the model, where the verb takes one, as a URI that does not move",
    MODEL_NAME: "its registered name; empty for a model without a version",
    MODEL_VERSION: "its version; empty likewise",
    MODEL_ID: "its id",
    TRAINING_RUN_ID: "the run of its training",
    EVALUATION_RUN_ID: "the evaluation, where the verb takes one",
    MLFLOW_LOGGED_ARTIFACTS: "names the table that the UI shows",
}

VERSION_TAGS = {
    BEST_EPOCH: "the epoch whose network it is",
    BEST_VALUE: "the monitored metric of that epoch",
    DATA_DIGEST: "SHA-256 of the rows of the data that it was trained on",
    EXPERIMENT: "the experiment that trained it",
    (TEST_HEADLINE := "test_{headline}"): "scores of its newest evaluation on its own test part",
    TEST_ROWS_SEEN: "number of rows of that part that it was trained or chosen on; unknown where that is not known",
    EVALUATION_RUN_ID: "the run of that evaluation",
    (
        PROMOTION := "promotion"
    ): "what the last promotion or rollback was for it: promoted, refused, replaced, defended, restored or withdrawn",
    (PROMOTION_AGAINST := "promotion_against"): "the other version; none where there was none",
    (PROMOTION_RUN_ID := "promotion_run_id"): "the run of that promotion or rollback",
    (PROMOTION_DIFFERENCE := "promotion_{loss}_difference"): "the decision's mean difference; none without a decision",
    (PROMOTION_UPPER := "promotion_{loss}_upper"): "the decision's upper bound; none likewise",
    (SEARCH_RUN_ID := "search_run_id"): "of a search's winner: the run of the search",
    (WITHDRAWN := "withdrawn"): "true once a rollback has taken the alias from it, until it is promoted again",
}
REGISTERED_MODEL_TAGS = {
    (CHAMPIONS := "champions"): "JSON: the versions that were champions, the present one last",
}
ALIASES = {
    (CANDIDATE := "candidate"): "the version of the newest training",
    (CHAMPION := "champion"): "the version that was promoted last, or that a rollback has restored",
}
MODEL_TAGS = {
    (STORED_BY := "stored_by_training"): "the run of the training that has stored the model; models that others log at "
    "that run have no such tag",
    (MODEL_VERSIONS := MLFLOW_MODEL_VERSIONS): "the version, so that the UI finds it",
}
MODEL_METADATA = {
    DATA_SOURCE: "what finds the training's data again",
    DATA_DIGEST: "SHA-256 of their rows",
    EXPERIMENT: "the experiment that trained it",
    "{inputs_switch}": "whether inputs of its data may be stored, where the experiment has such a parameter",
}
MODEL_FILES = {
    f"extra_files/{files.BEST}": "the checkpoint: the Keras network and its optimizer, for further training",
}

RUN_FOLDER_FILES = {
    files.JOURNAL: "one line of JSON per epoch: its number, time and metrics",
    snapshot_file.FILE: "all that the epochs to come depend on; of the two newest epochs",
    files.EPOCH_CHECKPOINT: "the network of the best epoch; of a former best one while a snapshot needs it",
    run_folder.LOCK: "held by the process that trains, and names it",
    run_folder.ATTEMPTS: "the `token` of each attempt",
    run_folder.ASIDE_FOLDER: "files that could not be used and were set aside",
}

CONTENTS: dict[str, dict[str, Mapping[str, str]]] = {
    "Every run": {"Tags": RUN_TAGS},
    "The run of a training": {
        "Tags": TRAINING_TAGS, "Metrics of an epoch (steps 1, 2, 3, …)": EPOCH_METRICS,
        "Metrics of the end (step 0)": TOTALS, "Files": TRAINING_FILES,
    },
    "The run of a range test": {"Tags": RATE_TAGS, "Metrics (step 0)": RATE_METRICS, "Files": RATE_FILES},
    "The run of an evaluation": {
        "Tags": EVALUATION_TAGS, "Metrics (step 0)": EVALUATION_METRICS, "Files": EVALUATION_FILES,
        f"Columns of {PREDICTIONS}": PREDICTION_COLUMNS,
    },
    "The run of a replay": {"Tags": REPLAY_TAGS, "Metrics (step 0)": REPLAY_METRICS, "Files": REPLAY_FILES},
    "The run of a comparison": {"Files": COMPARISON_FILES},
    "The run of a search": {"Tags": SEARCH_TAGS, "Metrics (step 0)": SEARCH_METRICS, "Files": SEARCH_FILES},
    "The run of a prediction": {
        "Tags": PREDICTION_TAGS | OBSERVED_TAGS, "Metrics (step 0)": PREDICTION_METRICS | OBSERVED_METRICS,
        "Files": PREDICTION_FILES | OBSERVED_FILES,
    },
    "The run of a promotion or a rollback": {"Tags": PROMOTION_TAGS, "Metrics (step 0)": PROMOTION_METRICS},
    "The run of a tidy": {"Tags": TIDY_TAGS, "Metrics (step 0)": TIDY_METRICS, "Files": TIDY_FILES},
    "The run of a verb of the experiment's own": {"Tags": OWN_VERB_TAGS},
    "The model version": {"Tags": VERSION_TAGS},
    "The registered model": {"Aliases": ALIASES, "Tags": REGISTERED_MODEL_TAGS},
    "The stored model": {"Tags": MODEL_TAGS, "Metadata": MODEL_METADATA, "Files": MODEL_FILES},
    "The run folder of an unfinished training": {"Files": RUN_FOLDER_FILES},
}  # fmt: skip
SOURCE_NAME = MLFLOW_SOURCE_NAME  # set by MLflow: the script, or the project that `mlflow run` was given
RESERVED = {*RUN_TAGS, *TRAINING_TAGS}  # tags that an experiment may not set at a training's run
OF_VERSIONS = {BEST_EPOCH, DATA_DIGEST}  # tags that a training's version is made with, and no other version
UNNAMED = "?"  # the name, to others, of the experiment whose runs are from before experiments had names


def fill(name: str, owner: Experiment) -> str:
    """Fill an experiment's terms into a name with ``{rows}`` or ``{loss}``."""
    return name.format(rows=owner.terms.rows, loss=owner.terms.loss_key)


def owner_of(owner: Experiment, named: str | None, is_made_here: bool = True) -> str:
    """Name the experiment that a run, a version or a model is of, as ``owner`` sees it.

    Args:
        named: the experiment that the run, version or model names; None or empty if it names none.
        is_made_here: whether some version of this project made it; what others have made is anybody's.
    """
    return named or (owner.name if owns_untagged(owner) or not is_made_here else UNNAMED)


def name_experiment(name: str) -> str:
    """Name an experiment in a sentence; ``UNNAMED`` is one that has not named itself."""
    return "another experiment, which has not named itself" if name == UNNAMED else f"experiment {name!r}"
