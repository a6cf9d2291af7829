"""The scores of a summary: what each is called, which way is better, how it is printed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A score as a column of a table.

    Attributes:
        title: its head.
        better: 1 where higher is better, -1 where lower is, 0 where neither is.
        digits: behind the point.
        always: whether it has a column where no run has it.
        meaning: in half a sentence; empty where the title says it.
        absent: what a run needs to have it; empty where every run has.
        zero: whether a column of zeros says something.
    """

    title: str
    better: int = 1
    digits: int = 3
    always: bool = False
    meaning: str = ""
    absent: str = ""
    zero: bool = False


# What the scores of a run are made of, as scores.json names it: in a sentence, and at the head of a column. In both
# more is better. A file that names none has accuracies.
WORDS = {"accuracy": "accuracy", "r2": "R²", "performance": "performance"}
SHORT = {"accuracy": "ACC", "r2": "R²", "performance": "performance"}

# What a run needs to have a score.
TWO = "two tasks"
INSIDE = "two tasks, and tests inside them (trainer.evaluate_inside)"
NEWER = "a run of a newer version"
# An empty cell of a table, and its column beside those of scores.
DASH = "–"
INTERVAL = "95 % interval"

# Name of a score -> its column, in order. Those that are no fields of scores.json are made of them: see Group.values,
# and comparisons.against_references.
COLUMNS = {
    "acc": Column("ACC", always=True, meaning="mean accuracy on all tasks after the last one"),
    "bwt": Column(
        "BWT",
        always=True,
        meaning="mean change of the earlier tasks' accuracy since each was learned, 0 without forgetting",
        absent=TWO,
    ),
    "fwt": Column(
        "FWT",
        always=True,
        meaning="mean accuracy on tasks before they were learned, less that of an untrained network",
        absent="two tasks that share their outputs: outputs of a task's own are untrained before it",
    ),
    "forgetting": Column(
        "forgetting",
        -1,
        always=True,
        meaning="mean loss of the earlier tasks' accuracy from its highest",
        absent=TWO,
    ),
    "learning_accuracy": Column(
        "learning acc.", always=True, meaning="mean accuracy on each task just after it was learned"
    ),
    "aia": Column("AIA", meaning="mean over tasks of the accuracy on all tasks so far", absent=NEWER),
    "min_acc": Column("min-ACC", meaning="mean lowest accuracy on earlier tasks at any step", absent=INSIDE),
    "wc_acc": Column(
        "WC-ACC",
        meaning="worst-case accuracy: the last task's after it, the lowest at any step of the others",
        absent=INSIDE,
    ),
    "val_acc": Column(
        "val. ACC",
        meaning="mean accuracy on all tasks after the last one, on images held out of the training",
        absent="images held out (stream.validation above 0)",
    ),
    "intransigence": Column(
        "intransigence",
        -1,
        meaning="what is lacking to the accuracy of joint training",
        absent="two tasks, and one run of method=joint of the same data, network and seeds",
    ),
    "transfer": Column(
        "FWT (single-task)",
        meaning="accuracy just after learning, less that of a network of one task",
        absent="two tasks, and one run of method=independent of the same data, network and seeds",
    ),
    "seconds": Column("seconds", -1, 1, meaning="of training"),
    "free": Column(
        "free",
        0,
        meaning="share of the directions of all protected layers that are still free after the last task",
        absent="a method that holds directions",
        zero=True,
    ),
    "megabytes": Column("MB", -1, 2, meaning="what a method keeps beside the network"),
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


def explained(titles: Iterable[str], score: str = "accuracy") -> str:
    """What the columns of a table are, in one sentence; those that need no words are left out.

    Example:
        >>> explained(["method", "ACC", "MB"])
        'ACC: mean accuracy on all tasks after the last one; MB: what a method keeps beside the network.'
        >>> explained(["R²"], "r2")
        'R²: mean R² on all tasks after the last one.'
    """
    known = {titled(name, score): column.meaning.replace("accuracy", WORDS[score]) for name, column in COLUMNS.items()}
    said = [f"{title}: {known[title]}" for title in titles if known.get(title)]
    return "; ".join(said) + "." if said else ""


def lacking(table: Sequence[Sequence[str]], score: str = "accuracy") -> str:
    """Why cells of a table of scores are empty, in one sentence; nothing where none is.

    Example:
        >>> lacking([["method", "FWT", "BWT"], ["gpm", "-.010", "–"]])
        '–: BWT needs two tasks.'
        >>> lacking([["method", "BWT"], ["gpm", "-.010"]])
        ''
    """
    needed = {titled(name, score): column.absent for name, column in COLUMNS.items()} | {INTERVAL: "two seeds"}
    empty = [title for place, title in enumerate(table[0]) if any(row[place] == DASH for row in table[1:])]
    return f"{DASH}: {'; '.join(f'{title} needs {needed[title]}' for title in empty)}." if empty else ""
