"""How all figures look: width, fonts and colours."""

from collections.abc import Sequence

WIDTH = 6.0  # inches
_LETTERS = 105  # of a legend's small font across this width
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")  # Okabe and Ito's
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none"}


def legend_columns(labels: Sequence[str], most: int = 3) -> int:
    """How many columns of a legend below a figure these labels leave room for."""
    return max(1, min(most, _LETTERS // (8 + max(map(len, labels), default=0))))


def colour_of(number: int) -> str:
    """Of a model or class, by its place."""
    return COLOURS[number % len(COLOURS)]
