"""What the jobs of a multirun know of each other, in whichever processes they are."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig

from orthotrace.config.folder_names import varied
from orthotrace.core.errors import short
from orthotrace.core.interrupt import handing_on, heard_here, interrupted, silently_interruptible
from orthotrace.core.processes import follow_parent
from orthotrace.results import listed
from orthotrace.results.listed import Job, JobList, read_list

# Variables of the environment: the number of jobs, the keys in which they differ, and their list.
JOBS, SWEPT, LIST = "ORTHOTRACE_JOBS", "ORTHOTRACE_SWEPT", "ORTHOTRACE_LIST"
# What jobs are told: to stop, those that run too; not to start. And of those that did not, their folders.
SIGNAL, FAILURE = "signal", "failure"


def swept() -> list[str]:
    """The keys in which the jobs of this multirun differ, as a job knows them from its environment."""
    return os.environ.get(SWEPT, "").split()


def begin(sweep: Path, jobs: Sequence[Job], queued: bool) -> None:
    """The jobs of a multirun are about to start; see listed.write_list."""
    os.environ[LIST] = str(listed.write_list(sweep, jobs, queued).absolute())


def job_list() -> JobList | None:
    """The list of this multirun; None where this process is of none."""
    return read_list(Path(os.environ[LIST])) if LIST in os.environ else None


def end() -> list[str]:
    """All jobs have ended; the folders of those that were not started."""
    said = told()
    if LIST in os.environ:
        listed.remove_list(Path(os.environ[LIST]))
    for name in (JOBS, SWEPT, LIST):
        os.environ.pop(name, None)
    return [one for one in said if one not in (SIGNAL, FAILURE)]


def tell(what: str) -> None:
    """Tell all jobs to stop: SIGNAL those that run too, FAILURE those that have not started; or note one of these."""
    # What cannot be written stops nothing; a signal ends this process in any case, and with it the others.
    if LIST in os.environ:
        listed.tell(Path(os.environ[LIST]), what)


def told() -> list[str]:
    """What the jobs were told, one line each; nothing where they are to go on."""
    found = job_list()
    return [] if found is None else list(found.told)


def may_start(folder: Path, overrides: Sequence[str] = ()) -> bool:
    """Whether a job may start; one that may not is noted, one that is not listed yet is added."""
    found = job_list()
    if found is None:
        return True
    if found.told:
        if SIGNAL not in found.told:
            tell(str(folder))
        return False
    if folder.absolute() not in [job.folder.absolute() for job in found.jobs]:
        # A search has just chosen it.
        listed.add_job(found.path, Job(folder.absolute(), tuple(overrides)))
    return True


def label_of(hydra: DictConfig) -> str:
    """What the lines of a job of a multirun begin with: its number, and what varies between the jobs.

    Example:
        >>> from omegaconf import OmegaConf
        >>> label_of(OmegaConf.create({"job": {"num": 1}, "overrides": {"task": ["seed=1"]}}))
        '[2/?] '
    """
    what = [short(one, 40) for one in varied(hydra.overrides.task, swept())]
    return " ".join([f"[{hydra.job.num + 1}/{os.environ.get(JOBS, '?')}]", *what, ""])


def told_of_failure(config: DictConfig, line: str) -> None:
    """Print the line of a job that failed; those that have not started go on, or not."""
    print(line, flush=True)
    if config.on_failure == "stop":
        tell(FAILURE)


@contextmanager
def worker() -> Iterator[None]:
    """A job; in another process than the command's it stops and saves when that hears a signal, or it itself."""
    # Where the command itself runs it hears the signals.
    if heard_here():
        yield
        return
    if (parent := multiprocessing.parent_process()) is None or parent.pid is None:
        # Of a scheduler, which may start the job again.
        with handing_on():
            if os.environ.get("SUBMITIT_EXECUTOR") == "local":
                _heed_command()
            yield
        return
    # Of a terminal it comes to all processes; the command hands it on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _follow(parent.pid)
    with silently_interruptible():
        yield


@functools.cache
def _heed_command() -> None:
    """Save and end when the command tells so, or has ended: of submitit's processes it is the grandparent."""

    def look() -> None:
        found = job_list()
        if found is not None and (SIGNAL in found.told or not found.alive) and not interrupted():
            os.kill(os.getpid(), signal.SIGTERM)

    follow_parent(143, look=look)


@functools.cache
def _follow(parent: int) -> None:
    """End with the command, whether a job runs here or not; hear what it tells while one does."""

    def look() -> None:
        # Without a job there is nothing to save, and no handler.
        if SIGNAL in told() and callable(signal.getsignal(signal.SIGTERM)) and not interrupted():
            os.kill(os.getpid(), signal.SIGTERM)

    follow_parent(143, look=look, parent=parent)
