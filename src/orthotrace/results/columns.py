"""The scores of a summary: what each is called, which way is better, how it is printed."""

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
# Those of each run alone.
SCORES = tuple(name for name in COLUMNS if name not in ("intransigence", "transfer"))
BETTER = {column.title: column.better for column in COLUMNS.values()}
