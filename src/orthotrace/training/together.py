"""Processes that train together end together."""

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from orthotrace.core.processes import ends_with_parent, leave

# Seconds after which an error of one process is its own, and not that another one has ended.
SETTLED = 3.0


class Together(Callback):
    """When one of the processes is killed the others end within SETTLED seconds, the first with one line."""

    def __init__(self) -> None:
        self.over = False
        self.others: list[subprocess.Popen[bytes]] = []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Watch the processes that Lightning has started."""
        if self.others:
            return
        self.others = list(getattr(trainer.strategy.launcher, "procs", ()))
        for number, process in enumerate(self.others, start=2):
            threading.Thread(target=self._wait, args=(number, process), daemon=True).start()

    def _wait(self, number: int, process: subprocess.Popen[bytes]) -> None:
        # Lightning looks every five seconds and then kills this process without a word; while it is waited for here,
        # nobody else learns of the end.
        code = process.wait()
        if code and not self.over:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            leave(2, f"error: process {number} of {len(self.others) + 1} {how}; the same command continues")

    @contextmanager
    def watched(self, trainer: pl.Trainer) -> Iterator[None]:
        """The work of all processes."""
        if trainer.world_size == 1:
            yield
        elif trainer.global_rank:
            with ends_with_parent(2, "error: the first process has ended; the same command continues"):
                try:
                    yield
                except Exception:
                    # The first process has the same error and ends this one, or it has ended with a line of its own.
                    time.sleep(SETTLED)
                    raise
        else:
            try:
                yield
            except Exception:
                # If it is because another process was killed, its line is printed by now.
                time.sleep(SETTLED / 3)
                raise
            finally:
                self.over = True
                for process in self.others:
                    process.send_signal(signal.SIGKILL)
