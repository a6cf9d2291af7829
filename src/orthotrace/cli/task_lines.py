"""A line for each task that has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orthotrace.results.columns import WORDS
from orthotrace.results.scores import summarise
from orthotrace.training.tracking import Tracker

if TYPE_CHECKING:
    from orthotrace.results.scores import Scores
    from orthotrace.training.progress import Progress


class TaskLines(Tracker):
    """Prints a line for each task that has ended, and hands everything on to another tracker.

    Args:
        tracker: the other one.
        label: what each line begins with: which job of a multirun it is.
    """

    def __init__(self, tracker: Tracker, label: str = "") -> None:
        self.tracker = tracker
        self.label = label

    def start(
        self, folder: Path, job_type: str, group: str, name: str, tags: Sequence[str], config: Mapping[str, Any]
    ) -> None:
        """Hand it on."""
        self.tracker.start(folder, job_type, group, name, tags, config)

    def epoch(self, row: Mapping[str, Any], number: int) -> None:
        """Hand it on."""
        self.tracker.epoch(row, number)

    def task(self, progress: Progress, scores: Scores | None) -> None:
        """Print the line."""
        # At once: the output of a run that is watched in a log would come at its end. Above a bar rich puts it itself.
        print(f"{self.label}{line_of(progress)}", flush=True)
        self.tracker.task(progress, scores)

    def resumed(self, progress: Progress, scores: Scores | None) -> None:
        """Hand it on."""
        self.tracker.resumed(progress, scores)

    def figures(self, pictures: Mapping[str, Path], values: Mapping[str, float]) -> None:
        """Hand it on."""
        self.tracker.figures(pictures, values)

    def analysis(
        self, folder: Path, rows: Mapping[str, Sequence[Mapping[str, Any]]], runs: Sequence[tuple[str, Path]]
    ) -> None:
        """Hand it on."""
        self.tracker.analysis(folder, rows, runs)

    def finish(self, failed: bool = False) -> None:
        """Hand it on."""
        self.tracker.finish(failed)


def line_of(progress: Progress) -> str:
    """What the last task came to: accuracy on it, mean accuracy on the tasks so far, their BWT, and the seconds.

    Example:
        >>> from orthotrace.training.progress import Progress
        >>> line_of(Progress(3, task=2, accuracy=[[0.9, 0.1, 0.1], [0.7, 0.8, 0.1]], seconds=[3.0, 4.2]))
        'task 2/3: accuracy 0.800, average 0.750, BWT -0.200 (4 s)'
    """
    done = progress.task
    so_far = summarise([row[:done] for row in progress.accuracy])
    transfer = "" if so_far.bwt is None else f", BWT {so_far.bwt:+.3f}"
    learned, seconds = progress.accuracy[-1][done - 1], progress.seconds[done - 1]
    name = WORDS[progress.score]
    return f"task {done}/{progress.tasks}: {name} {learned:.3f}, average {so_far.acc:.3f}{transfer} ({seconds:.0f} s)"
