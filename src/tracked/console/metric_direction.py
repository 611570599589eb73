"""Infer from a metric's name whether lower or higher values are better."""

import re
from typing import Literal


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


LOWER_IS_BETTER = _names("""
    loss losses error errors crossentropy cross_entropy mse rmse rmsle msle mae mape smape wape mase medae nrmse nll
    bce kl kld divergence kullback_leibler deviance poisson logcosh log_cosh hinge huber pinball crps hamming ctc
    brier ece mce perplexity ppl bpc bpb bits_per_character bits_per_byte wer cer ter mer der eer wil lpips fid kid
    distance chamfer wasserstein emd davies_bouldin error_rate miss_rate false_positive_rate false_negative_rate
    false_discovery_rate fallout fpr fnr fdr cost regret
""")
HIGHER_IS_BETTER = _names("""
    accuracy acc auc auroc auprc aucpr auc_mu precision recall sensitivity specificity f1 f2 fbeta f_beta ap map mar
    mrr ndcg dcg hit hits hit_rate hit_ratio success_rate win_rate reciprocal_rank tpr tnr true_positive_rate
    true_negative_rate r2 r_squared r2_adj r2_adjusted d2 explained_variance correlation pearson pearsonr spearman
    spearmanr kendall kendalltau kendall_tau concordance c_index cindex gini kappa mcc matthews corrcoef youden gmean
    g_mean iou io_u miou giou jaccard similarity dice_score dice_coefficient dice_coef tversky_index psnr ssim
    bleu sacrebleu gleu rouge rougel rouge_l rougelsum meteor chrf chrf++ bertscore cider spice comet em exact_match
    inception silhouette calinski_harabasz homogeneity completeness v_measure ari ami nmi rand fowlkes_mallows
    likelihood log_prob elbo reward hamming_score ks
""")
# How a metric is averaged, or where it is cut off: no metric of its own.
QUALIFIERS = _names("""
    score scores value metric index coefficient coef percent pct mean avg average median sum total macro micro weighted
    samples binary multiclass ovr ovo top top1 top5 at k
""")


def infer_mode(monitor: str) -> Literal["min", "max"] | None:
    """Infer the direction from a metric's name; None if the name is not known, or has both meanings.

    The last words of the name decide, numbers and qualifiers left out: ``val_brier_score``, ``eval/f1_macro``,
    ``auc_1``, ``recall@10``. ``neg_`` turns the direction around, as in scikit-learn's scorers.
    """
    words = re.findall(r"[a-z0-9]+\+*", re.sub(r"^(val|test|train|eval)[^a-z0-9]", "", monitor.lower()))
    if words[:1] == ["d2"]:  # d2_log_loss_score: the share of a loss that is explained
        return "max"
    if "at" in words[1:] and (mode := _infer(words[: words.index("at", 1)])):  # fpr_at_95_tpr: the former counts
        return mode
    return _infer(words) or ("max" if {"top1", "top5"} & set(words) else None)


def _infer(words: list[str]) -> Literal["min", "max"] | None:
    words, turned = words.copy(), words[:1] in (["neg"], ["negative"])
    while words:
        mode = _mode_of_ending(words)
        if mode and turned:
            return "max" if mode == "min" else "min"
        if mode:
            return mode
        if not (words[-1].isdecimal() or words[-1] in QUALIFIERS):
            return None
        words.pop()
    return None


def _mode_of_ending(words: list[str]) -> Literal["min", "max"] | None:
    """Infer the direction from the longest ending that is known: false_positive_rate before rate."""
    last = words[-1]
    stem = last.rstrip("0123456789")  # bleu4, map50
    for end in (*("_".join(words[-count:]) for count in (3, 2, 1)), stem):
        if end in LOWER_IS_BETTER:
            return "min"
        if end in HIGHER_IS_BETTER:
            return "max"
    if last.endswith(("loss", "error", "crossentropy")):  # mlogloss, merror
        return "min"
    is_joined = last.endswith(("accuracy", "acc", "auc", "precision", "recall", "f1score", "iou"))  # binaryaccuracy
    return "max" if is_joined and not last.startswith(("in", "im")) else None  # inaccuracy, imprecision
