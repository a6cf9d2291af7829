"""The scores of a summary: what each is called, which way is better, how it is printed."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A score as a column of a table.

    Attributes:
        title: its head.
        better: 1 where higher is better, -1 where lower is.
        digits: behind the point.
        always: whether it has a column where no run has it.
    """

    title: str
    better: int = 1
    digits: int = 3
    always: bool = False


# What the scores of a run are made of, as scores.json names it: in a sentence, and at the head of a column. In both
# more is better. A file that names none has accuracies.
WORDS = {"accuracy": "accuracy", "r2": "R²"}
SHORT = {"accuracy": "ACC", "r2": "R²"}

# Name of a score -> its column, in order. Those that are no fields of scores.json are made of them: see Group.values,
# and comparisons.against_references.
COLUMNS = {
    "acc": Column("ACC", always=True),
    "bwt": Column("BWT", always=True),
    "fwt": Column("FWT", always=True),
    "forgetting": Column("forgetting", -1, always=True),
    "learning_accuracy": Column("learning acc.", always=True),
    "aia": Column("AIA"),
    "min_acc": Column("min-ACC"),
    "wc_acc": Column("WC-ACC"),
    "val_acc": Column("val. ACC"),
    "intransigence": Column("intransigence", -1),
    "transfer": Column("FWT (single-task)"),
    "seconds": Column("seconds", -1, 1),
    "megabytes": Column("MB", -1, 2),
}


def titled(name: str, score: str = "accuracy") -> str:
    """The head of a column, where the runs score so.

    Example:
        >>> titled("acc"), titled("acc", "r2"), titled("learning_accuracy", "r2"), titled("bwt", "r2")
        ('ACC', 'R²', 'learning R²', 'BWT')
    """
    title = COLUMNS[name].title
    return title if score == "accuracy" else title.replace("ACC", SHORT[score]).replace("acc.", WORDS[score])


def in_common(scores: Iterable[str]) -> str:
    """The score that all of several runs are told in; of several that of classes, where others say theirs.

    Example:
        >>> in_common(["r2", "r2"]), in_common(["r2", "accuracy"])
        ('r2', 'accuracy')
    """
    found = set(scores)
    return found.pop() if len(found) == 1 else "accuracy"


# Those of each run alone.
SCORES = tuple(name for name in COLUMNS if name not in ("intransigence", "transfer"))
BETTER = {titled(name, score): column.better for score in SHORT for name, column in COLUMNS.items()}
