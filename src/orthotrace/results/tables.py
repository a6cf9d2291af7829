"""Tables for LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence


def latex(table: Sequence[Sequence[str]]) -> str:
    r"""A table for LaTeX, with the rules of booktabs.

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
    special = {
        "&": r"\&",
        "%": r"\%",
        "_": r"\_",
        "#": r"\#",
        "$": r"\$",
        "{": r"\{",
        "}": r"\}",
        "±": r"$\pm$",
        "−": "$-$",
        "<": "$<$",
        "Δ": r"$\Delta$",
        "–": "--",
    }
    # The sign of a number is a minus, not a hyphen.
    signed = [[re.sub(r"(?<![\w.])-(?=[.\d])", "−", cell) for cell in row] for row in table]
    lines = [
        " & ".join("".join(special.get(letter, letter) for letter in cell) for cell in row) + r" \\" for row in signed
    ]
    head = [rf"\begin{{tabular}}{{l{'r' * (len(table[0]) - 1)}}}", r"\toprule", lines[0], r"\midrule"]
    return "\n".join([*head, *lines[1:], r"\bottomrule", r"\end{tabular}", ""])
