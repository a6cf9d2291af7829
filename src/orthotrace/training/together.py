"""Processes that train together end together."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytorch_lightning as pl

from orthotrace.core.interrupt import SIGNALS, end_as_interrupted, interrupted
from orthotrace.core.processes import FIRST, INTERVAL, ends_with_first, leave

# Seconds after which an error of one process is its own, and not that another one has ended.
SETTLED = 3.0


class Together:
    """When one of the processes is killed the others end within SETTLED seconds, the first with one line.

    They are watched from their start: until they have found each other they import for seconds.
    """

    def __init__(self) -> None:
        self.over = threading.Event()

    def _watch(self, trainer: pl.Trainer) -> None:
        """Wait for each process, as soon as Lightning has started it."""
        number = trainer.world_size - 1
        watched = 0
        while watched < number and not self.over.wait(INTERVAL):
            for process in _started(trainer)[watched:]:
                watched += 1
                threading.Thread(target=self._wait, args=(watched + 1, number + 1, process), daemon=True).start()

    def _wait(self, place: int, number: int, process: subprocess.Popen[bytes]) -> None:
        # Lightning looks every five seconds and then kills this process without a word; while it is waited for here,
        # nobody else learns of the end.
        code = process.wait()
        if not code or self.over.is_set():
            return
        # A terminal or a scheduler sends a signal to all processes; this one may not have heard it yet.
        if -code in SIGNALS:
            time.sleep(INTERVAL)
        if interrupted() or code == -signal.SIGINT:
            end_as_interrupted(signal.SIGINT)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        leave(2, f"error: process {place} of {number} {how}; the same command continues")

    @contextmanager
    def watched(self, trainer: pl.Trainer) -> Iterator[None]:
        """The work of all processes."""
        if trainer.world_size == 1:
            yield
        elif trainer.global_rank:
            with ends_with_first():
                try:
                    yield
                except Exception:
                    # The first process has the same error and ends this one, or it has ended with a line of its own.
                    time.sleep(SETTLED)
                    raise
        else:
            os.environ[FIRST] = str(os.getpid())
            threading.Thread(target=self._watch, args=(trainer,), daemon=True).start()
            try:
                yield
            except Exception:
                # If it is because another process was killed, its line is printed by now.
                time.sleep(SETTLED / 3)
                raise
            finally:
                self.over.set()
                for process in _started(trainer):
                    process.send_signal(signal.SIGKILL)


def _started(trainer: pl.Trainer) -> list[subprocess.Popen[bytes]]:
    """The processes that Lightning has started so far."""
    return list(getattr(trainer.strategy.launcher, "procs", ()))
