"""Processes that train together end together."""

import hashlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytorch_lightning as pl
import torch
import torch.distributed as dist

from orthotrace.core.distributed import broadcast_from_first
from orthotrace.core.errors import UserError, one_line
from orthotrace.core.interrupt import end_as_interrupted, end_if_lingering, interrupted
from orthotrace.core.launched import launched
from orthotrace.core.processes import FIRST, INTERVAL, ends_with_first, leave
from orthotrace.core.signals import SIGNALS
from orthotrace.results.run_folder import Run

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
                except SystemExit:
                    # Lightning's own, of a signal that comes before our handler is back: its code would be 0.
                    leave(128 + signal.SIGTERM)
                except Exception as error:
                    end_if_lingering()
                    # The first process has the same error and ends this one, or it has ended with a line of its own.
                    time.sleep(SETTLED)
                    # Its signal may come a moment after that of the first.
                    end_if_lingering()
                    _check_others(error)
                    raise
        elif launched().by:
            try:
                yield
            except Exception as error:
                _check_others(error)
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


def _check_others(error: Exception) -> None:
    """Leave, where a launcher started the processes, and the error is that another one of them has ended."""
    if launched().by and (isinstance(error, dist.DistError) or "gloo" in str(error)) and not interrupted():
        leave(2, f"error: another process of the run has ended ({one_line(error)}); the same command continues")


def join(trainer: pl.Trainer, run: Run) -> None:
    """Find the other processes, where a launcher has started all; each has to see the folder of the run.

    Lightning starts its own only for a fit: those find the folder as the first one has made it.

    Raises:
        UserError: this process sees another folder than the first one.
    """
    if trainer.world_size == 1 or not launched().by:
        return
    trainer.strategy.setup_environment()
    seen = torch.frombuffer(bytearray(_seen(run)), dtype=torch.uint8).to(trainer.strategy.root_device)
    broadcast_from_first(first := seen.clone())
    if not torch.equal(first, seen):
        raise UserError(
            f"process {trainer.global_rank + 1} of {trainer.world_size}, on {socket.gethostname()}, does not see "
            f"{run.folder} as the first process does: all nodes need one folder, see hydra.run.dir"
        )


def _seen(run: Run) -> bytes:
    """A digest of what a process sees in a run's folder, and can go on from."""
    digest = hashlib.sha256()
    for path in (run.hydra / "config.yaml", *run.generations):
        digest.update(f"{path.name} {path.stat().st_size if path.is_file() else None}".encode())
    if (path := run.hydra / "config.yaml").is_file():
        digest.update(path.read_bytes())
    return digest.digest()


def _started(trainer: pl.Trainer) -> list[subprocess.Popen[bytes]]:
    """The processes that Lightning has started so far."""
    return list(getattr(trainer.strategy.launcher, "procs", ()))
