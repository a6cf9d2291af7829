"""The jobs of a multirun, as it lists them beside their runs, and what they were told.

A list is a file of lines of JSON: who wrote it, each job, each word to all jobs. What waits is known from it while
nothing of it has begun, in whichever processes and on whichever machines the jobs run.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orthotrace.core.folders import HOST, part_of

FOLDER = ".multirun"


@dataclass(frozen=True)
class Job:
    """A job of a multirun.

    Attributes:
        folder: of its run.
        overrides: of its configuration, as they were given.
    """

    folder: Path
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobList:
    """The list of a multirun.

    Attributes:
        path: of the file.
        jobs: those that are known so far; a search chooses them as it goes.
        told: words to all jobs, in their order.
        queued: whether another program starts the jobs, also when the process that wrote the list has ended.
        alive: whether that process lives; of one on another machine nobody knows here, and it is taken to live.
    """

    path: Path
    jobs: tuple[Job, ...] = ()
    told: tuple[str, ...] = ()
    queued: bool = False
    alive: bool = False


def write_list(sweep: Path, jobs: Sequence[Job], queued: bool) -> Path:
    """List the jobs of a multirun in the folder of its runs; lists of processes that were killed go.

    Returns:
        The list.

    Raises:
        OSError: the folder cannot be written to.
    """
    for path in lists_below(sweep):
        found = read_list(path)
        if path.parent.parent == sweep and not found.queued and not found.alive:
            remove_list(path)
    path = sweep / FOLDER / f"{time.strftime('%Y%m%d-%H%M%S')}-{HOST}-{os.getpid()}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    head = {"process": os.getpid(), "host": HOST, "queued": queued}
    temporary = part_of(path)
    temporary.write_text("".join(_line(one) for one in (head, *(_content(path, job) for job in jobs))), "utf-8")
    temporary.replace(path)
    return path


def add_job(path: Path, job: Job) -> None:
    """Add a job to a list."""
    _add(path, _content(path, job))


def tell(path: Path, word: str) -> None:
    """Tell all jobs of a list something."""
    _add(path, {"told": word})


def remove_list(path: Path) -> None:
    """Remove a list, and its folder with the last one."""
    with suppress(OSError):
        path.unlink()
        path.parent.rmdir()


def lists_below(folder: Path) -> list[Path]:
    """All lists below a folder, the oldest first."""
    return sorted(path for place in folder.rglob(FOLDER) for path in place.glob("*.jsonl"))


def read_list(path: Path) -> JobList:
    """A list; an empty one where it is gone. Lines that are damaged are passed over."""
    lines: list[dict[str, Any]] = []
    try:
        # The last line may be being written.
        for text in path.read_text("utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                line = json.loads(text)
                if isinstance(line, dict):
                    lines.append(line)
    except OSError:
        return JobList(path)
    head = next((line for line in lines if "process" in line), {})
    jobs = tuple(
        Job(Path(os.path.normpath(path.parent.parent / one["job"])), tuple(map(str, one["overrides"])))
        for one in lines
        if isinstance(one.get("job"), str) and isinstance(one.get("overrides"), list)
    )
    told = tuple(str(one["told"]) for one in lines if "told" in one)
    return JobList(path, jobs, told, bool(head.get("queued")), _lives(head))


def _lives(head: Mapping[str, Any]) -> bool:
    process, host = head.get("process"), head.get("host")
    if not isinstance(process, int) or process < 1 or not isinstance(host, str):
        return False
    if host != HOST:
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _content(path: Path, job: Job) -> dict[str, Any]:
    return {"job": os.path.relpath(job.folder, path.parent.parent), "overrides": list(job.overrides)}


def _line(content: Mapping[str, Any]) -> str:
    return json.dumps(content) + "\n"


def _add(path: Path, content: Mapping[str, Any]) -> None:
    # In one piece, whoever else adds a line. A list that is gone is not made again.
    with suppress(OSError):
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, _line(content).encode())
        finally:
            os.close(file)
