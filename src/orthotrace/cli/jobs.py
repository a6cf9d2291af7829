"""What the jobs of a multirun know of each other, in whichever processes they are."""

from __future__ import annotations

import functools
import multiprocessing
import os
import secrets
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from orthotrace.core.interrupt import handing_on, heard_here, interrupted, silently_interruptible
from orthotrace.core.processes import follow_parent

# Variables of the environment: the number of jobs, the keys in which they differ, and the file by which they are told
# to stop, which is there from then on: its lines say why, and which jobs were not started.
JOBS, SWEPT, STOP = "ORTHOTRACE_JOBS", "ORTHOTRACE_SWEPT", "ORTHOTRACE_STOP"
SIGNAL, FAILURE = "signal", "failure"


def swept() -> list[str]:
    """The keys in which the jobs of this multirun differ, as a job knows them from its environment."""
    return os.environ.get(SWEPT, "").split()


def begin() -> None:
    """The jobs of a multirun are about to start."""
    # Nobody else's file, and none of a process that had this number before.
    name = f"orthotrace-{os.getpid()}-{secrets.token_hex(8)}.stop"
    os.environ[STOP] = str(Path(tempfile.gettempdir()) / name)


def end() -> list[str]:
    """All jobs have ended; the folders of those that were not started."""
    said = told()
    if STOP in os.environ:
        Path(os.environ[STOP]).unlink(missing_ok=True)
    for name in (JOBS, SWEPT, STOP):
        os.environ.pop(name, None)
    return [one for one in said if one not in (SIGNAL, FAILURE)]


def tell(what: str) -> None:
    """Tell all jobs to stop: SIGNAL those that run too, FAILURE those that have not started; or note one of these."""
    # What cannot be written stops nothing; a signal ends this process in any case, and with it the others.
    if STOP in os.environ:
        with suppress(OSError), Path(os.environ[STOP]).open("a", encoding="utf-8") as file:
            file.write(f"{what}\n")


def told() -> list[str]:
    """What the jobs were told, one line each; nothing where they are to go on."""
    try:
        return Path(os.environ[STOP]).read_text("utf-8").splitlines()
    except (KeyError, OSError):
        return []


def may_start(folder: Path) -> bool:
    """Whether a job may start; one that may not is noted."""
    if said := told():
        if SIGNAL not in said:
            tell(str(folder))
        return False
    return True


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
            yield
        return
    # Of a terminal it comes to all processes; the command hands it on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _follow(parent.pid)
    with silently_interruptible():
        yield


@functools.cache
def _follow(parent: int) -> None:
    """End with the command, whether a job runs here or not; hear what it tells while one does."""

    def look() -> None:
        # Without a job there is nothing to save, and no handler.
        if SIGNAL in told() and callable(signal.getsignal(signal.SIGTERM)) and not interrupted():
            os.kill(os.getpid(), signal.SIGTERM)

    follow_parent(143, look=look, parent=parent)
