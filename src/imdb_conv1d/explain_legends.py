"""What the page of explanations says of a network's reasons: windows of words, or n-grams."""

from dataclasses import dataclass

from imdb_conv1d.explanation import Explanation, Window


@dataclass(frozen=True)
class Legend:
    """The words for one kind of reasons.

    ``note`` says what they are, as HTML; ``thing`` is one of them; ``fact`` is what all that are counted share;
    ``measure`` is the table's third column.
    """

    note: str
    thing: str
    fact: str
    measure: str


SHADE = "relative to the strongest word of the text"
START = "[start] stands before the first word"
WINDOWS = Legend(
    note="A window is a few words in a row, of which each filter of the network keeps the one that it answers most. A "
    "window's effect is how much the logit of the predicted class falls when the filters that kept it take their next "
    "best window; the words stay. Below zero it was against the prediction. A word's shade is the sum over all windows "
    f"with the word, {SHADE}. Effects do not add up: without two windows, a third one may take their place. {START}, "
    "[padding] fills a short text.",
    thing="window",
    fact="alone gave some filter its value",
    measure="filters",
)
NGRAMS = Legend(
    note="An n-gram is one word or a few in a row, to which a linear model gives a value; it counts where the text has "
    "it first. The network multiplies the value by a gate from 0 to 2, which the words around it set: at 1 the value "
    "stays, near 0 the n-gram hardly counts. An n-gram's effect is its gated value in the logit of the predicted "
    "class; below zero it was against the prediction. Effects add up: with the intercept, they are the logit. A word's "
    "shade is the sum over all n-grams with the word, each effect divided by the number of its words, "
    f"{SHADE}. The probability without an n-gram leaves out its gated value; the others stay as they are, as neither "
    f"the gates nor the values are computed again. {START}.",
    thing="n-gram",
    fact="of the text counted in the logit",
    measure="gate",
)


def find_legend(explanation: Explanation) -> Legend:
    """Find the legend of an explanation's kind."""
    return WINDOWS if explanation.intercept is None else NGRAMS


def format_measure(window: Window) -> str:
    """Format the third column of a row, as HTML."""
    if window.gate is not None:
        return f"{window.gate:.2f}"
    return f"{window.filters:,} ({100 * (window.share or 0.0):.0f}&nbsp;%)"
