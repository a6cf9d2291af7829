"""Runs side by side: those that differ in their seeds only are a group."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orthotrace.config.folder_names import IRRELEVANT
from orthotrace.core.errors import UserError
from orthotrace.core.folders import is_held
from orthotrace.results.columns import COLUMNS
from orthotrace.results.distinct import distinct
from orthotrace.results.run_folder import Run
from orthotrace.results.tables import mean_and_deviation

# What two runs of one group may differ in, or what their name says already.
SAME = (*(key for key in IRRELEVANT if key != "init_from"), "seed", "seeds", "method", "name")


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seeds only.

    Attributes:
        label: the method, and what else was overridden.
        runs: by seed.
        parts: what the label is made of: "method" or the key of a setting, and the text for it.
    """

    label: str
    runs: tuple[Run, ...]
    parts: tuple[tuple[str, str], ...] = ()

    @property
    def score(self) -> str:
        """What its scores are made of: accuracy, or r2 in a regression."""
        return str(self.runs[0].scores.get("score", "accuracy"))

    def values(self, score: str) -> list[float]:
        """A score of each run that has it: of scores.json, or the seconds or megabytes of a run in all."""
        found = [_SUMS[score](run.scores) if score in _SUMS else run.scores.get(score) for run in self.runs]
        return [value for value in found if value is not None]

    def cell(self, score: str) -> str:
        """Mean and standard deviation (of the sample) as text; a dash where the score does not apply."""
        return mean_and_deviation(self.values(score), COLUMNS[score].digits)


def _free(scores: Mapping[str, Any]) -> float | None:
    """Share of the directions of all protected layers that are free in the end; None where no layer is protected."""
    layers = [of for of in (scores["capacity"] or {}).values() if of["rank"]]
    if not (features := sum(of["features"] for of in layers)):
        return None
    return 1 - sum(of["rank"][-1] for of in layers) / features


# Scores that are made of what scores.json holds: the time of all tasks, what is left to learn with, and what a method
# keeps beside the network.
_SUMS: dict[str, Callable[[Mapping[str, Any]], float | None]] = {
    "free": _free,
    "seconds": lambda scores: sum(scores["seconds"]),
    "megabytes": lambda scores: scores["extra_memory_bytes"] / 1e6,
}


def settings(run: Run) -> tuple[str, ...]:
    """The overrides of a run, without its method and seeds."""
    others = []
    for override in sorted(one.lstrip("+") for one in run.overrides):
        key, _, value = override.partition("=")
        # Of the method's options the one that names another run is no setting.
        if key in (*SAME, "method.rows_from") or (key.split(".")[0] in SAME and not key.startswith("method.")):
            continue
        others.append(f"{key}={value}")
    return tuple(others)


def groups(runs: Sequence[Run]) -> list[Group]:
    """Finished runs, each network once, grouped, by label: the method, and the settings in which its groups differ."""
    found: dict[tuple[str, tuple[str, ...]], list[Run]] = {}
    for run in distinct([run for run in runs if run.exists and run.finished])[0]:
        found.setdefault((str(run.scores["method"]), settings(run)), []).append(run)
    made = []
    for (method, own), members in found.items():
        of_method = [set(others) for name, others in found if name == method]
        shared = set.intersection(*of_method)
        parts = [(one.partition("=")[0], _label_of(one)) for one in own if one not in shared]
        parts.insert(0, ("method", method))
        members.sort(key=lambda run: sorted(run.scores["seeds"].items()))
        made.append(Group(", ".join(text for _, text in parts), tuple(members), tuple(parts)))
    return sorted(made, key=lambda group: group.label)


def _label_of(setting: str) -> str:
    key, _, value = setting.partition("=")
    return f"{key.rsplit('.', 1)[-1]}={value[:24]}"


# Of a run that goes on in another process.
BUSY = "another process is writing to it"


def failures(runs: Sequence[Run]) -> dict[str, str]:
    """Runs that did not finish: folder -> reason; those that were pruned were to end early."""
    reasons = {}
    for run in runs:
        if run.pruned is not None:
            continue
        if run.failed_file.is_file():
            reasons[run.folder.name] = run.failed_file.read_text("utf-8", errors="replace").split("\n")[0]
            continue
        try:
            if not run.scores_file.is_file() or not run.finished:
                # As after a command that was killed while its jobs went on.
                busy = is_held(run.folder)
                reasons[run.folder.name] = BUSY if busy else "not finished"
            else:
                run.check()
        except UserError as error:
            reasons[run.folder.name] = str(error)
    return reasons
