"""Numbers as text, and tables for LaTeX."""

import re
import statistics
from collections.abc import Mapping, Sequence

_SYMBOLS = str.maketrans(
    {
        "±": r"$\pm$",
        "−": "$-$",
        "<": "$<$",
        "Δ": r"$\Delta$",
        "–": "--",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
        "²": "$^2$",
    }
)


def latex(
    table: Sequence[Sequence[str]], better: Mapping[str, int] | None = None, blocks: Sequence[object] | None = None
) -> str:
    r"""A table for LaTeX, with the rules of booktabs; the first row is the head.

    Args:
        table: cells; of a number and its spread the number comes first.
        better: head -> 1 where higher is better, -1 where lower is. Such a head gets an arrow, and the best of its
            column is bold, as printed: equal numbers are equally good.
        blocks: of each row, without the head, what it is compared within; None for a row that is not. Where they are
            not given all are one.

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
    better, blocks = better or {}, blocks or [0] * len(rows)
    arrows = {1: " ↑", -1: " ↓"}
    data = DataFrame(rows, columns=[title + arrows.get(better.get(title, 0), "") for title in head])
    style = data.style.hide(axis="index")
    style.format(escape="latex").format_index(axis="columns", escape="latex")
    bold = DataFrame("", index=data.index, columns=data.columns)
    for column, title in enumerate(head):
        for row in _best([one[column] for one in rows], better.get(title, 0), blocks):
            bold.iat[row, column] = "textbf:--rwrap;"
    style.apply(lambda _: bold, axis=None)
    text = style.to_latex(hrules=True, column_format="l" + "r" * (len(head) - 1))
    return text.translate(_SYMBOLS)


def _best(cells: Sequence[str], better: int, blocks: Sequence[object]) -> list[int]:
    """The rows that are best within their blocks; none of a block of equals, or of one.

    Example:
        >>> _best([".5 ± .1", ".6", ".6", "–", ".1", ".9"], 1, ["a", "a", "a", "a", "b", None])
        [1, 2]
    """
    found = []
    for block in dict.fromkeys(blocks):
        numbers = {
            row: better * float(cell.split()[0].replace("−", "-"))
            for row, (cell, own) in enumerate(zip(cells, blocks, strict=True))
            if better and block is not None and own == block and cell != "–"
        }
        if len(set(numbers.values())) > 1:
            found += [row for row, value in numbers.items() if value == max(numbers.values())]
    return found


def parts(table: Sequence[Sequence[str]], width: int, keep: int = 1) -> list[list[list[str]]]:
    """A table as several that are no wider, each with its first columns.

    Args:
        table: cells; the first row is the head.
        width: in letters, with three beside each cell.
        keep: columns that each part begins with.

    Example:
        >>> parts([["method", "ACC", "BWT"], ["gpm", ".9", ".1"]], width=20)
        [[['method', 'ACC'], ['gpm', '.9']], [['method', 'BWT'], ['gpm', '.1']]]
    """
    widths = [max(len(row[column]) for row in table) + 3 for column in range(len(table[0]))]
    groups: list[list[int]] = [[]]
    for column in range(keep, len(widths)):
        taken = sum(widths[:keep]) + sum(widths[one] for one in groups[-1])
        if groups[-1] and taken + widths[column] >= width:
            groups.append([])
        groups[-1].append(column)
    return [[[row[column] for column in (*range(keep), *chosen)] for row in table] for chosen in groups]


def number(value: float, digits: int = 3) -> str:
    """Decimals without the zero before the point.

    Example:
        >>> number(0.5), number(-0.25), number(10.04, 1)
        ('.500', '-.250', '10.0')
    """
    text = re.sub(r"^(-?)0\.", r"\1.", f"{value:.{digits}f}")
    return text[1:] if re.fullmatch(r"-\.0+", text) else text


def mean_and_deviation(values: Sequence[float], digits: int = 3) -> str:
    """Mean and standard deviation (of the sample); a dash where there are no values."""
    if not values:
        return "–"
    mean = number(statistics.fmean(values), digits)
    return f"{mean} ± {number(statistics.stdev(values), digits)}" if len(values) > 1 else mean


def interval_text(low: float, high: float) -> str:
    """An interval."""
    return f"[{number(low)}, {number(high)}]"


def p_value(value: float) -> str:
    """A p-value; small ones as a bound."""
    return "<.001" if value < 0.001 else number(value)
