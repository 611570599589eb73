"""Read the texts of figures."""

from matplotlib.figure import Figure


def labels_of(figure: Figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in (ax.get_legend().get_texts() if ax.get_legend() else [])]
