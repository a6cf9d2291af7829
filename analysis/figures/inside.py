"""Accuracy inside tasks: how deep it falls between the ends of tasks."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from orthotrace.analysis.figures.facets import Facets
from orthotrace.analysis.figures.lines import dodged, pairs_of_panels
from orthotrace.analysis.figures.style import Drawn, figure_function, pt
from orthotrace.core.files import read
from orthotrace.results.columns import WORDS

if TYPE_CHECKING:
    from orthotrace.results.run_folder import Run

# (task, step of the task) -> accuracy on each task so far; tasks and steps from 1.
Course = dict[tuple[int, int], list[float]]


class Point(NamedTuple):
    """Mean and deviation over seeds."""

    mean: float
    sd: float
    seeds: int


def course_of(run: Run) -> Course | None:
    """What a run measured inside its tasks, and at their ends; None where it measured nothing.

    Raises:
        UserError: a file of the run is damaged.
    """
    if not run.inside_file.is_file():
        return None
    found = dict(read(run.inside_file, _measured))
    before = 0
    for task, step in sorted(read(run.metrics_file, _ends).items()):
        found[task, step - before] = run.scores["accuracy"][task - 1][:task]
        before = step
    return dict(sorted(found.items()))


def _measured(path: Path) -> Course:
    return {
        (int(row["task"]), int(row["step"])): [
            # Named by the score: accuracy_task1, or r2_task1.
            float(next(row[name] for name in row if name.endswith(f"_task{task}")))
            for task in range(1, int(row["task"]) + 1)
        ]
        for row in _rows(path)
    }


def _ends(path: Path) -> dict[int, int]:
    """The last step of each task, counted over all tasks."""
    return {int(row["task"]): int(row["step"]) for row in _rows(path)}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@figure_function
def accuracy_inside(
    courses: Mapping[str, Sequence[Course]], facets: Facets | None = None, score: str = "accuracy"
) -> Drawn:
    """Mean accuracy on the tasks so far, and accuracy on the first task, over the steps of all tasks; or another score.

    Lines are means over seeds, at the steps at which all of them were tested; markers stand at the ends of tasks, with
    the standard deviation (of the sample) as bars. Where a task has more steps in one seed than in another, its end is
    that of the longest.

    Args:
        courses: method -> of each seed.
        facets: a line of panels each.
        score: what the courses are of, see columns.WORDS.
    """
    titles = (f"Mean {WORDS[score]} on\ntasks so far", f"{WORDS[score].capitalize()} on\nthe first task")
    facets = facets or Facets.one(courses)
    shown = facets.within(courses)
    every = [one for seeds in courses.values() for one in seeds]
    tasks = max(task for one in every for task, _ in one)
    lengths = [max(step for one in every for of, step in one if of == task) for task in range(1, tasks + 1)]
    starts = np.cumsum([0, *lengths])
    figure, panels = pairs_of_panels(shown, titles)
    rows: list[dict[str, Any]] = []
    for line, (facet, of) in enumerate(shown.items()):
        for place, (method, name) in enumerate(of.items()):
            look, found = facets.look(name), _over_seeds([_stretched(one, lengths) for one in courses[method]])
            x = np.array([starts[task - 1] + step for task, step in found], dtype=np.float64)
            ends = [number for number, (task, step) in enumerate(found) if step == lengths[task - 1]]
            # Side by side, so that bars do not hide each other.
            beside = x[ends] + dodged(place, len(of), 0.012, 0.08) * starts[-1]
            for number, axes in enumerate(panels[line]):
                points = [of_step[number] for of_step in found.values()]
                mean = np.array([one.mean for one in points])
                axes.plot(x, mean, look["linestyle"], color=look["color"], linewidth=pt(0.7))
                axes.plot(beside, mean[ends], **{**look, "linestyle": ""})
                if len(courses[method]) > 1:
                    spread = [points[end].sd for end in ends]
                    axes.errorbar(
                        beside, mean[ends], spread, fmt="none", ecolor=look["color"], elinewidth=pt(0.7), alpha=0.7
                    )
                rows += [
                    {
                        "panel": titles[number].replace("\n", " "), "facet": facet, "method": method, "task": task,
                        "step": step, "mean": one.mean, "sd": one.sd, "seeds": one.seeds,
                    }
                    for (task, step), one in zip(found, points, strict=True)
                ]  # fmt: skip
    for axes in panels.flat:
        # R^2 has no lower end.
        axes.set_ylim(min(-0.02, axes.get_ylim()[0]) if score == "r2" else -0.02, 1.04)
        for start in starts[1:-1]:
            axes.axvline(start, color="0.8", linewidth=pt(0.6), zorder=0)
    for axes in panels[-1]:
        axes.set_xlabel("Step")
    facets.legend(figure, courses)
    return figure, rows


def _stretched(course: Course, lengths: Sequence[int]) -> Course:
    """The same with the ends of its tasks at the longest of all."""
    last = dict(sorted(course))
    return {
        (task, lengths[task - 1] if step == last[task] else step): values for (task, step), values in course.items()
    }


def _over_seeds(seeds: Sequence[Course]) -> dict[tuple[int, int], list[Point]]:
    """Of both panels, at each step at which all seeds were tested: means of some are not joined to those of all."""
    found = {}
    for key in sorted(set.intersection(*(set(one) for one in seeds))):
        values = [one[key] for one in seeds]
        found[key] = [_point([float(np.mean(value)) for value in values]), _point([value[0] for value in values])]
    return found


def _point(values: Sequence[float]) -> Point:
    return Point(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0, len(values))
