"""The threads of a process that trains."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback


class Threads(Callback):
    """Keeps to the number that was asked for.

    Where a run has several processes and OMP_NUM_THREADS is not set, Lightning gives each its share of the cores at the
    first fit: other bits, and two nodes that are one machine wait for each other.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Set it again, after Lightning."""
        torch.set_num_threads(self.threads)
