"""Draw the matplotlib figure of a range test. Nothing is shown or saved."""

from matplotlib.figure import Figure

from tracked.analysis.rate_range import DIVERGED, NOT_FINITE, RateRange, Suggestion
from tracked.reports.plots import BLUE, GREEN, GREY, ORANGE, RED

ENDS = {DIVERGED: "ended: the loss diverged", NOT_FINITE: "ended: the loss was no longer finite"}
MARGIN = 0.5  # of the smoothed loss's fall, above and below it; single batches and the divergence may lie outside


def draw_range(measured: RateRange, suggestion: Suggestion) -> Figure:
    """Draw the loss over the learning rate: of each batch, smoothed, and the suggestion or that there is none."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    ax = figure.subplots()
    rates = list(measured.rates[: len(measured.losses)])
    ax.plot(rates, measured.losses, ".", color=GREY, ms=3, alpha=0.6, label="each batch, before its step")
    ax.plot(rates, measured.smoothed, color=BLUE, lw=1.8, label=f"smoothed over about {measured.window} batches")
    if suggestion.rate is not None and suggestion.least_at is not None:
        least = measured.smoothed[rates.index(suggestion.least_at)]
        ax.plot([suggestion.least_at], [least], "o", color=ORANGE, label=f"least, at {suggestion.least_at:.2g}")
        ax.axvline(suggestion.rate, color=GREEN, lw=1.6, ls="--", label=f"suggested: {suggestion.rate:g}")
    if measured.end and rates:
        ax.axvline(rates[-1], color=RED, lw=1, ls="--", label=f"{ENDS[measured.end]}, at {rates[-1]:.2g}")
    ax.set_xscale("log")
    if measured.smoothed:
        low = min(measured.smoothed)
        high = max(measured.smoothed[: measured.smoothed.index(low) + 1])
        margin = (high - low or abs(high) or 1.0) * MARGIN
        ax.set_ylim(low - margin, high + 2 * margin)
    ax.set_xlabel("learning rate")
    ax.set_ylabel("loss")
    ax.set_title("Range test of the learning rate" + ("" if suggestion.rate is not None else ": no suggestion"))
    ax.grid(alpha=0.25)
    ax.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)
    return figure
