"""Numbers as text, and tables for LaTeX."""

import re
import statistics
from collections.abc import Sequence

_SYMBOLS = str.maketrans({"±": r"$\pm$", "−": "$-$", "<": "$<$", "Δ": r"$\Delta$", "–": "--"})


def latex(table: Sequence[Sequence[str]]) -> str:
    r"""A table for LaTeX, with the rules of booktabs; the first row is the head.

    Example:
        >>> print(latex([["method", "ACC"], ["my_net", "–"]]))
        \begin{tabular}{lr}
        \toprule
        method & ACC \\
        \midrule
        my\_net & -- \\
        \bottomrule
        \end{tabular}
        <BLANKLINE>
    """
    # Half a second to import.
    from pandas import DataFrame

    # The sign of a number is a minus, not a hyphen.
    head, *rows = [[re.sub(r"(?<![\w.])-(?=[.\d])", "−", cell) for cell in row] for row in table]
    style = DataFrame(rows, columns=head).style.hide(axis="index")
    style.format(escape="latex").format_index(axis="columns", escape="latex")
    text = style.to_latex(hrules=True, column_format="l" + "r" * (len(head) - 1))
    return text.translate(_SYMBOLS)


def number(value: float) -> str:
    """Three decimals without the zero before the point.

    Example:
        >>> number(0.5), number(-0.25)
        ('.500', '-.250')
    """
    text = f"{value:.3f}".replace("0.", ".", 1)
    return ".000" if text == "-.000" else text


def mean_and_deviation(values: Sequence[float]) -> str:
    """Mean and standard deviation (of the sample); a dash where there are no values."""
    if not values:
        return "–"
    mean = number(statistics.fmean(values))
    return f"{mean} ± {number(statistics.stdev(values))}" if len(values) > 1 else mean


def interval_text(low: float, high: float) -> str:
    """An interval."""
    return f"[{number(low)}, {number(high)}]"


def p_value(value: float) -> str:
    """A p-value; small ones as a bound."""
    return "<.001" if value < 0.001 else number(value)
