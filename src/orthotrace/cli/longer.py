"""A finished run of fewer tasks is gone on from, by the command that asks for more."""

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
from orthotrace.training.settings import Components

# Keys of a stream that say something of each of its tasks.
OF_TASKS = ("classes_per_task", "angles")


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
