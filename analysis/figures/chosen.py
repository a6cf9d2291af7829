"""The names of the figures of an analysis, and which of them are drawn."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

from orthotrace.core.errors import UserError, nearest

# Figures with these names, or that begin with those below, are ours to remove. The second are drawn where they are
# asked for, or where networks have more than others.
NAMES = (
    "accuracy", "capacity", "centroids", "clustering", "consistency", "correspondence", "exemplars", "layer-similarity",
    "matrices", "mds", "rdms", "second-level", "tradeoff",
)  # fmt: skip
OTHERS = ("activity", "drift", "dropout", "factors", "inside", "layers", "range-test", "readout", "windows")
PREFIXES = ("concepts-", "degeneracy-", "images-", "layers-", "readout-", "reference-", "similarity-", "sweep-")


def is_figure(name: str) -> bool:
    """Whether a figure of an analysis may be called so.

    Example:
        >>> is_figure("rdms"), is_figure("images-gpm"), is_figure("notes")
        (True, True, False)
    """
    return name in (*NAMES, *OTHERS) or name.startswith(PREFIXES)


def check_figures(wanted: Sequence[str]) -> None:
    """Refuse names and patterns that no figure of any analysis has.

    Raises:
        UserError: names the nearest.
    """
    for one in wanted:
        stem = one.replace("?", "*").partition("*")[0]
        begun = stem != one and any(prefix.startswith(stem) or stem.startswith(prefix) for prefix in PREFIXES)
        if not is_figure(one) and not begun and not any(fnmatchcase(name, one) for name in (*NAMES, *OTHERS)):
            known = [*NAMES, *OTHERS, *(f"{prefix}*" for prefix in PREFIXES)]
            raise UserError(f"there is no figure '{one}'; {nearest(one, known)}", "figures")


def chosen(wanted: Sequence[str] | None, there: Collection[str]) -> list[str]:
    """The figures to draw of those that can be drawn; None for all.

    Raises:
        UserError: a name or pattern of none of them; names the nearest.

    Example:
        >>> chosen(["images-*", "mds"], ["mds", "rdms", "images-a", "images-b"])
        ['mds', 'images-a', 'images-b']
    """
    if wanted is None:
        return list(there)
    for one in wanted:
        if not any(fnmatchcase(name, one) for name in there):
            raise UserError(f"of these networks there is no '{one}' to draw; {nearest(one, there)}", "figures")
    return [name for name in there if any(fnmatchcase(name, one) for one in wanted)]
