"""How all figures look: width, fonts and colours."""

WIDTH = 6.0  # inches
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")  # Okabe and Ito's
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none"}


def colour_of(number: int) -> str:
    """Of a model or class, by its place."""
    return COLOURS[number % len(COLOURS)]
