"""The runs below a folder: what state each is in, and what differs between them. Nothing is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from orthotrace.config.folder_names import IRRELEVANT, leaves
from orthotrace.config.keys import groups
from orthotrace.config.renamed import in_original_names
from orthotrace.core.errors import UserError
from orthotrace.core.folders import is_held
from orthotrace.results.listed import lists_below, read_list
from orthotrace.results.run_folder import Run, below, failed_below, find
from orthotrace.results.scores import summarise

STATES = ("finished", "running", "waiting", "preempted", "pruned", "stopped", "not started", "failed", "damaged")


@dataclass(frozen=True)
class RunState:
    """What is known of a run.

    Attributes:
        run: its folder.
        state: one of STATES.
        done: tasks that have ended.
        tasks: how many there are; None where that is not known.
        acc: mean accuracy on all tasks, of the tasks so far where it is not finished; None before the first has ended.
        bwt: backward transfer likewise; None before the second has ended.
        reason: why it failed or was pruned, or what is damaged.
        values: key -> value, as it was configured; the groups with the names of their options.
        score: what the scores are made of, see columns.WORDS.
    """

    run: Run
    state: str
    done: int = 0
    tasks: int | None = None
    acc: float | None = None
    bwt: float | None = None
    reason: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    score: str = "accuracy"


def state_of_run(run: Run) -> RunState:
    """The state of a run, while others may write to it."""
    running = is_held(run.folder)
    values: dict[str, Any] = {}
    try:
        values = _values(run)
        total, rows = _accuracy(run)
    except UserError as error:
        # What is being written is not damaged.
        state, reason = ("running", "") if running else ("damaged", str(error))
        return RunState(run, state, reason=reason, values=values)
    so_far = summarise([row[: len(rows)] for row in rows]) if rows else None
    state, reason = ("finished", "") if len(rows) == total else _stopped(run)
    if running:
        state, reason = "running", ""
    acc, bwt = (so_far.acc, so_far.bwt) if so_far else (None, None)
    score = str(run.scores.get("score", "accuracy")) if rows else "accuracy"
    return RunState(run, state, len(rows), total, acc, bwt, reason, values, score)


def states_below(folder: Path) -> list[RunState]:
    """The states of all runs below a folder, and of the jobs of its multiruns that have not begun or were refused.

    Raises:
        UserError: there is none.
    """
    lists = [read_list(path) for path in lists_below(folder)] if folder.is_dir() else []
    failed = failed_below(folder)
    begun = below(folder) if lists or failed else find(folder)
    known = {run.folder.absolute() for run in begun}
    found = [state_of_run(run) for run in begun]
    for one in reversed(lists):
        state = "waiting" if (one.queued or one.alive) and not one.told else "not started"
        for job in one.jobs:
            if job.folder.absolute() not in known:
                known.add(job.folder.absolute())
                told = _stopped(Run(job.folder)) if job.folder.absolute() in failed else (state, "")
                found.append(RunState(Run(job.folder), told[0], reason=told[1], values=_of_overrides(job.overrides)))
    for path, run in failed.items():
        # Of the commands before the last one of a folder there is no list: of these jobs only the names are known.
        if path not in known:
            state, reason = _stopped(run)
            found.append(RunState(run, state, reason=reason))
    if not found:
        raise UserError(f"{folder} holds no runs: give the folder that orthotrace-train wrote to")
    return found


def _of_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """What is known of the configuration of a job that has not begun."""
    pairs = [one.lstrip("+~").split("=", 1) for one in overrides if "=" in one]
    return {key: value for key, value in pairs if key.split("/")[0].split(".")[0] not in (*IRRELEVANT, "name")}


def _accuracy(run: Run) -> tuple[int | None, list[list[float | None]]]:
    """How many tasks there are, and the rows of those that have ended.

    Raises:
        UserError: they are damaged.
    """
    if not run.scores_file.is_file():
        # Not even the untrained network was tested.
        return None, []
    accuracy = run.scores["accuracy"]
    try:
        rows = [row for row in accuracy if row[0] is not None]
        summarise([row[: len(rows)] for row in rows] or [[0.0]])
    except (TypeError, ValueError, IndexError) as error:
        raise UserError(f"{run.scores_file} is damaged: its accuracies are no matrix") from error
    return len(accuracy), rows


def differing(states: Sequence[RunState]) -> list[str]:
    """The keys in which runs differ, a group's option before its keys, seeds last.

    Keys of a group are compared among the runs with the same option: those of another one are no difference.
    """
    chosen = groups()
    keys = dict.fromkeys(key for one in states for key in one.values)
    found = []
    for key in keys:
        group = key.split(".")[0]
        alike: dict[Any, set[str]] = {}
        for one in states:
            # Of a job that has not begun only what was set is known.
            if one.values and (key in one.values or one.state not in ("waiting", "not started")):
                option = one.values.get(group) if key != group and group in chosen else None
                alike.setdefault(str(option), set()).add(str(one.values.get(key)))
        if any(len(values) > 1 for values in alike.values()):
            found.append(key)
    return sorted(found, key=lambda key: (key.split(".")[0] in ("seed", "seeds"), key not in chosen))


def _stopped(run: Run) -> tuple[str, str]:
    if run.failed_file.is_file():
        return "failed", run.failed_file.read_text("utf-8", errors="replace").split("\n")[0]
    if run.preempted_file.is_file():
        return "preempted", run.preempted_file.read_text("utf-8", errors="replace").split("\n")[0]
    if (reason := run.pruned) is not None:
        return "pruned", reason
    return "stopped", ""


def _values(run: Run) -> dict[str, Any]:
    """What a run was configured with, key by key.

    Raises:
        UserError: the configuration is damaged.
    """
    # As it stands there: a key that takes the value of another one differs with it.
    config: Any = in_original_names(OmegaConf.to_container(run.config))
    found = {key: value for key, value in config.items() if key not in (*IRRELEVANT, "name")}
    values = dict(leaves(found))
    return _choices(run, config) | {key: value for key, value in values.items() if not key.endswith("_target_")}


def _choices(run: Run, config: Mapping[str, Any]) -> dict[str, str]:
    """Group -> option; what it configures, where nothing says how it was chosen."""
    try:
        saved = OmegaConf.load(run.hydra / "hydra.yaml")
        choices: Any = OmegaConf.to_container(OmegaConf.select(saved, "hydra.runtime.choices"))
    except Exception:  # of what is damaged nearly anything can be raised
        choices = {}
    known = [group for group in groups() if group not in IRRELEVANT]
    return {
        group: str(choices.get(group) or node.get("_target_"))
        for group, node in config.items()
        if group in known and isinstance(node, Mapping) and (choices.get(group) or node.get("_target_"))
    }
