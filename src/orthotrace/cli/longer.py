"""A finished run of fewer tasks, or of fewer epochs of one task, is gone on from by the command that asks for more."""

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig

from orthotrace.config.build import build
from orthotrace.config.dataset import build_dataset
from orthotrace.config.folder_names import differences, hash_of, relevant
from orthotrace.core.errors import UserError
from orthotrace.core.files import link, read
from orthotrace.data.streams import Stream
from orthotrace.results.run_folder import Run, is_whole, read_checkpoint
from orthotrace.training.schedules import Constant
from orthotrace.training.settings import Components

# Keys of a stream that say something of each of its tasks.
OF_TASKS = ("classes_per_task", "angles")


def more_epochs(run: Run, config: DictConfig, parts: Components, schedule: Constant, number: str = "") -> None:
    """Link the last epoch of a finished run of one task that differs in having fewer, so that this one goes on from it.

    It is there where trainer.checkpoints named the last epoch. The other run's folder stays as it is.

    Args:
        run: that is to have more epochs, and no checkpoint yet.
        config: of it.
        parts: of it.
        schedule: of the learning rate, which must have been the same.
        number: of the job, with which the line begins that tells what was found.
    """
    wanted = relevant(config)
    epochs = wanted["trainer"]["max_epochs"]
    if parts.stream.tasks > 1 or not run.folder.parent.is_dir():
        return
    found: list[tuple[int, Run]] = []
    for other in (Run(folder) for folder in sorted(run.folder.parent.iterdir()) if folder != run.folder):
        there = max(other.epochs(), default=0)
        # Read once in a folder of many runs: the name of a file tells most of it.
        if 0 < there < epochs and _is(other, _with_epochs(wanted, there, other)):
            found.append((there, other))
    if not found:
        return
    done, other = max(found, key=lambda one: one[0])
    kept = {epoch for epoch in wanted["trainer"].get("checkpoints") or () if epoch <= done}
    reason = _differs_within(other, done, epochs, parts, schedule)
    if missing := kept - set(other.epochs()):
        reason = f"it did not keep epoch {min(missing)}"
    if reason is None:
        for epoch in kept:
            link(other.epoch_checkpoint(1, epoch), run.epoch_checkpoint(1, epoch))
        link(other.epoch_checkpoint(1, done), run.last)
    how = "goes on from" if reason is None else "starts anew, not from"
    why = f": {reason}" if reason else ""
    print(f"{number}{run.folder} {how} the {done} epochs of {other.folder.name}{why}", flush=True)


def _with_epochs(wanted: dict[str, Any], epochs: int, other: Run) -> dict[str, Any]:
    """The same configuration with fewer epochs, of which the other run says which it kept."""
    try:
        kept = relevant(other.config)["trainer"].get("checkpoints")
    except (UserError, OSError, KeyError):
        return {}
    return {**wanted, "trainer": {**wanted["trainer"], "max_epochs": epochs, "checkpoints": kept}}


def _differs_within(other: Run, done: int, epochs: int, parts: Components, schedule: Constant) -> str | None:
    """Why the first epochs of a run cannot be taken from another; None where they can."""
    if any(schedule.factor(epoch, epochs) != schedule.factor(epoch, done) for epoch in range(done)):
        return "its learning rate changed otherwise"
    if not is_whole(path := other.epoch_checkpoint(1, done)):
        return f"its {path.name} is damaged"
    try:
        saved = read(path, read_checkpoint)["orthotrace"]
    except UserError as error:
        return str(error)
    return None if saved.get("digests", {}) == dict(parts.digests) else "its images were others"


def take_over(run: Run, config: DictConfig, parts: Components, number: str = "") -> None:
    """Link the checkpoints of a finished run that differs in having fewer tasks, so that this one goes on from them.

    A run of all tasks would have come to the same checkpoints. The other run's folder stays as it is.

    Args:
        run: that is to have more tasks, and no checkpoint yet.
        config: of it.
        parts: of it.
        number: of the job, with which the line begins that tells what was found.
    """
    found = next(shorter_runs(run, relevant(config)), None)
    if found is None:
        return
    other, tasks = found
    reason = _differs(other, tasks, parts)
    for task in range(1, tasks + 1) if reason is None else ():
        if not run.checkpoint(task).exists():
            link(other.checkpoint(task), run.checkpoint(task))
    how = "goes on from" if reason is None else "starts anew, not from"
    why = f": {reason}" if reason else ""
    print(f"{number}{run.folder} {how} the {tasks} tasks of {other.folder.name}{why}", flush=True)


def shorter_runs(run: Run, wanted: dict[str, Any]) -> Iterator[tuple[Run, int]]:
    """Finished runs beside a run, equal but for having fewer tasks; that of most tasks first."""
    tasks = wanted["stream"].get("tasks")
    if isinstance(tasks, bool) or not isinstance(tasks, int) or not run.folder.parent.is_dir():
        return
    beside = [Run(folder) for folder in sorted(run.folder.parent.iterdir()) if folder != run.folder]
    # A name that the user gave says nothing.
    named = run.folder.name.endswith(hash_of(wanted))
    for number in range(tasks - 1, 0, -1):
        fewer = _cut(wanted, number)
        for other in beside:
            if (not named or other.folder.name.endswith(hash_of(fewer))) and _is(other, fewer):
                yield other, number


def _cut(wanted: dict[str, Any], number: int) -> dict[str, Any]:
    """The same configuration with fewer tasks."""
    stream = {**wanted["stream"], "tasks": number}
    stream |= {key: stream[key][:number] for key in OF_TASKS if isinstance(stream.get(key), list)}
    return {**wanted, "stream": stream}


def _is(other: Run, wanted: dict[str, Any]) -> bool:
    """Whether a folder holds a finished run of a configuration; what cannot be read is none."""
    try:
        return other.exists and not differences(relevant(other.config), wanted) and other.finished
    except (UserError, OSError):
        return False


def _differs(other: Run, tasks: int, parts: Components) -> str | None:
    """Why the first tasks of a run cannot be taken from another; None where they can."""
    seed = parts.seeds.stream
    try:
        shorter: Stream = build(other.config, "stream", source=build_dataset(other.config, seed), seed=seed)
        if (reason := parts.stream.differs_from(shorter)) is not None:
            return reason
        for number in range(1, tasks + 1):
            if not (path := other.checkpoint(number)).is_file() or not is_whole(path):
                return f"its {path.name} is missing or damaged"
        saved = read(other.checkpoint(tasks), read_checkpoint)["orthotrace"]
    except UserError as error:
        return str(error)
    if saved.get("digests", {}) != dict(parts.digests):
        return "its images were others"
    return None
