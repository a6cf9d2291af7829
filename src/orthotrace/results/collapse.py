"""Tasks that were not learned, told in one line."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from orthotrace.results.groups import Group
from orthotrace.results.scores import collapsed

# What a task that was not learned is, by the score of its run.
WORSE = {"r2": "no better than the mean of the targets"}


def collapsed_tasks(scores: Mapping[str, Any]) -> list[int]:
    """The tasks of a run that were not learned, from 1; nothing of a run that does not tell.

    Args:
        scores: the content of scores.json.
    """
    done = [row for row in scores["accuracy"] if row[0] is not None]
    # Runs of earlier versions recorded no chance; what a task shows is known once it has ended.
    chance, images = scores.get("chance") or [], scores.get("test_images") or []
    return collapsed(done, chance[: len(done)], images[: len(done)])


def run_line(scores: Mapping[str, Any]) -> str:
    """What is said of a run at its end; empty where nothing is to be said.

    Example:
        >>> run_line({"accuracy": [[0.9, 0.1], [0.8, 0.1]], "chance": [0.1, 0.1], "test_images": [360, 360]})
        'not learned: task 2 (at chance just after its training, though task 1 was learned)'
    """
    tasks = collapsed_tasks(scores)
    how = WORSE.get(scores.get("score", "accuracy"), "at chance")
    return f"not learned: {_listed(tasks)} ({how} just after its training{_though(tasks)})" if tasks else ""


def group_lines(found: Sequence[Group]) -> list[str]:
    """What is said of groups of runs, one line for each that has something to be said of."""
    lines = []
    for group in found:
        counts = Counter(task for run in group.runs for task in collapsed_tasks(run.scores))
        if counts:
            runs = sum(bool(collapsed_tasks(run.scores)) for run in group.runs)
            lines.append(
                f"not learned: {group.label}: {_listed(sorted(counts))} "
                f"({WORSE.get(group.score, 'at chance')} just after training in {runs} of "
                f"{len(group.runs)} runs{_though(counts)})"
            )
    return lines


def _though(tasks: Collection[int]) -> str:
    """What tells that learning has collapsed, and not that nothing was learned from the start."""
    return "" if 1 in tasks else ", though task 1 was learned"


def _listed(tasks: Sequence[int]) -> str:
    """Task numbers in words.

    Example:
        >>> _listed([2]), _listed([2, 3, 5])
        ('task 2', 'tasks 2, 3, 5')
    """
    return f"task{'s' if len(tasks) > 1 else ''} {', '.join(map(str, tasks))}"
