"""Whether less or more of a metric is better, by its name."""

import re
from typing import Literal

LOWER_IS_BETTER = (
    "loss", "error", "mse", "mae", "mape", "msle", "crossentropy", "hinge", "divergence", "poisson", "logcosh",
)  # fmt: skip
HIGHER_IS_BETTER = (
    "accuracy", "acc", "auc", "precision", "recall", "sensitivity", "specificity", "score", "iou", "io_u",
    "similarity", "correlation",
)  # fmt: skip


def infer_mode(monitor: str) -> Literal["min", "max"] | None:
    """Keras's rule for ``mode=auto``, by a metric's name: less is better for a loss or an error, more for an accuracy.

    Keras asks the metric itself; its own metrics are told by their names here, any other is None.
    """
    name = re.sub(r"_\d+$", "", monitor.lower().removeprefix("val_"))  # Keras numbers metrics of one name: auc, auc_1
    if name.endswith(LOWER_IS_BETTER):
        return "min"
    return "max" if name.endswith(HIGHER_IS_BETTER) else None
