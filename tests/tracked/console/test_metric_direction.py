import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracked.console.metric_direction import HIGHER_IS_BETTER, LOWER_IS_BETTER, QUALIFIERS, infer_mode

pytestmark = pytest.mark.unit

LOWER = """
    loss val_loss brier_score val_brier_score brier_score_loss ece val_ece mce perplexity ppl wer cer ter mer der
    eer nll log_loss logloss mlogloss multi_logloss cross_entropy binary_crossentropy focal_crossentropy merror
    error@0.5 mean_squared_error mean_absolute_percentage_error mse rmse rmsle mae mape smape max_error error_rate
    word_error_rate false_positive_rate fpr hamming_loss hinge squared_hinge log_cosh logcosh kl_divergence
    kullback_leibler poisson mean_poisson_deviance gamma_deviance cosine_distance edit_distance fid lpips crps
    pinball bits_per_byte davies_bouldin_score eval/loss test_loss loss_mean zero_one_loss neg_log_likelihood
    negative_log_likelihood train/rec_loss huber false_negative_rate fnr fpr_at_95_tpr fpr_at_tpr95 error_top1
    test_error_top5 error_rate_top1 top5_error
"""
HIGHER = """
    accuracy val_accuracy acc balanced_accuracy top_k_categorical_accuracy top_5_accuracy accuracy_top_5 top5 auc
    auc_1 val_auc_2 roc_auc pr_auc auroc roc_auc_ovr roc_auc_score precision recall precision@10 recall_at_k
    recall_at_10 sensitivity_at_specificity f1 f1_score f1_macro macro_f1 eval_f1 eval/f1 val_f1_weighted
    fbeta_score r2 r2_score val_r2 r_squared adjusted_r2 mcc matthews_corrcoef kappa cohen_kappa cohen_kappa_score
    map mAP map@50 mAP_0.5 metrics/mAP50 mAP50-95 mean_average_precision average_precision ndcg ndcg@10
    val_ndcg_at_10 mrr hits@1 hit_rate bleu bleu_4 bleu4 sacrebleu rouge rouge1 rouge_2 rougeL rougeLsum meteor
    chrf chrf++ bertscore_f1 exact_match em iou mean_io_u one_hot_mean_io_u mean_iou miou jaccard_score
    dice_coefficient dice_score psnr ssim cosine_similarity pearson spearman pearson_correlation kendall_tau
    concordance_index c_index gini explained_variance explained_variance_score silhouette_score adjusted_rand_score
    log_likelihood elbo episode_reward inception_score neg_mean_squared_error neg_log_loss neg_brier_score
    hamming_score val_f1score rocauc prauc meaniou valacc BinaryAccuracy MulticlassF1Score BinaryPrecision
    d2_log_loss_score d2_absolute_error_score specificity tpr true_negative_rate v_measure_score
"""
UNKNOWN = """
    size val_size epoch_seconds lr learning_rate temperature variance entropy dice score my_score anomaly_score sum
    mean mean_metric_wrapper true_positives gradient_norm accuracy_std loss_ratio accuracy_drop bitmap scatter
    inaccuracy imprecision shelter officer 12 _ é top_k
"""


@pytest.mark.parametrize(
    ("name", "mode"),
    [(name, mode) for names, mode in ((LOWER, "min"), (HIGHER, "max"), (UNKNOWN, None)) for name in names.split()],
)
def test_direction_of_a_metric_name_is_right_or_none(name: str, mode: str | None) -> None:
    assert infer_mode(name) == mode
    assert infer_mode(f"val_{name}") == mode


@given(st.text())
def test_any_text_has_a_direction_or_none(name: str) -> None:
    assert infer_mode(name) in ("min", "max", None)


@pytest.mark.parametrize("name", sorted(LOWER_IS_BETTER | HIGHER_IS_BETTER))
def test_a_prefix_a_number_or_a_qualifier_changes_no_direction(name: str) -> None:
    mode = "min" if name in LOWER_IS_BETTER else "max"
    for prefix in ("", "val_", "test_", "eval/", "Train "):
        for ending in ("", "_1", "@10", *(f"_{qualifier}" for qualifier in QUALIFIERS)):
            if name + ending in HIGHER_IS_BETTER - {name}:  # hamming_score, beside hamming
                continue
            full = f"{prefix}{name}{ending}"
            assert (infer_mode(full), infer_mode(full.upper())) == (mode, mode), full


def test_no_name_has_two_directions() -> None:
    assert not LOWER_IS_BETTER & HIGHER_IS_BETTER
    assert not QUALIFIERS & (LOWER_IS_BETTER | HIGHER_IS_BETTER)
