"""Runs side by side: mean and standard deviation over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from omegaconf import OmegaConf

from orthotrace.errors import UserError
from orthotrace.files import read
from orthotrace.run import Run

SCORES = ("acc", "bwt", "fwt", "forgetting", "learning_accuracy")
TITLES = {"acc": "ACC", "bwt": "BWT", "fwt": "FWT", "forgetting": "forgetting", "learning_accuracy": "learning acc."}


# What two runs of one group may differ in, or what their name says already.
SAME = ("seed", "seeds", "method", "experiment", "hydra", "logger", "overwrite", "name")


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seeds only.

    Attributes:
        label: the method, and what else was overridden.
        runs: by seed.
    """

    label: str
    runs: tuple[Run, ...]

    def values(self, score: str) -> list[float]:
        """A score of each run that has it."""
        found = [run.scores[score] for run in self.runs]
        return [value for value in found if value is not None]

    def cell(self, score: str) -> str:
        """Mean and standard deviation (of the sample) as text; a dash where the score does not apply."""
        values = self.values(score)
        if not values:
            return "–"
        mean = _short(statistics.fmean(values))
        return f"{mean} ± {_short(statistics.stdev(values))}" if len(values) > 1 else mean


def _short(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1)


def label(run: Run) -> str:
    """What tells a run from others, its seeds apart."""
    overrides = read(run.hydra / "overrides.yaml", OmegaConf.load)
    others = []
    for override in sorted(str(item) for item in overrides):
        key, _, value = override.partition("=")
        # Of the method's options the one that names another run is no setting.
        if key in (*SAME, "method.rows_from") or (key.split(".")[0] in SAME and not key.startswith("method.")):
            continue
        others.append(f"{key}={value[:24]}")
    return ", ".join([str(run.scores["method"]), *others])


def groups(runs: Sequence[Run]) -> list[Group]:
    """Finished runs, grouped, by label; named by the method alone where that is enough."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        if run.exists and run.finished:
            found.setdefault(label(run), []).append(run)
    methods = [members[0].scores["method"] for members in found.values()]
    names = [method if methods.count(method) == 1 else name for name, method in zip(found, methods, strict=True)]
    made = [
        Group(name, tuple(sorted(members, key=lambda run: sorted(run.scores["seeds"].items()))))
        for name, members in zip(names, found.values(), strict=True)
    ]
    return sorted(made, key=lambda group: group.label)


def failures(runs: Sequence[Run]) -> dict[str, str]:
    """Runs that did not finish: folder -> reason."""
    reasons = {}
    for run in runs:
        if run.failed_file.is_file():
            reasons[run.folder.name] = run.failed_file.read_text().split("\n")[0]
            continue
        try:
            if not run.finished:
                reasons[run.folder.name] = "not finished"
        except UserError as error:
            reasons[run.folder.name] = str(error)
    return reasons


def print_summary(runs: Sequence[Run]) -> None:
    """Print a table of the finished runs, and the others with their reasons."""
    from rich.console import Console
    from rich.table import Table

    failed = failures(runs)
    finished = groups([run for run in runs if run.folder.name not in failed])
    # A pipe is no reason to fold a table.
    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    if finished:
        table = Table("method", "runs", *(TITLES[score] for score in SCORES), title="mean ± sd over seeds")
        for group in finished:
            table.add_row(group.label, str(len(group.runs)), *(group.cell(score) for score in SCORES))
        console.print(table)
    for name, reason in failed.items():
        console.print(f"failed: {name}: {reason}", markup=False)
