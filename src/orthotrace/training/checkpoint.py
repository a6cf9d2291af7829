"""Checkpoints: what a run continues from, to the same bits."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.core.files import read, whole
from orthotrace.core.interrupt import interrupted
from orthotrace.results.run_folder import Run
from orthotrace.training.concept_alignment import concept_layers
from orthotrace.training.progress import Progress
from orthotrace.training.settings import Components

SCHEMA = 1


class Checkpoints(Checkpoint):
    """Writes the checkpoints of a run and reads the last one."""

    def __init__(self, run: Run, components: Components, save_every: float) -> None:
        self.run = run
        self.components = components
        self.save_every = save_every
        self._saved = time.perf_counter()
        self._content: dict[str, Any] = {}

    def restore(self, module: nn.Module) -> Progress | None:
        """Load the state of the last checkpoint into a module; None where there is none.

        Raises:
            UserError: the checkpoint is damaged, or the run began with other images.
        """
        last = self.run.last
        if not last.is_file():
            return None
        saved = read(last, lambda path: torch.load(path, map_location="cpu", weights_only=True))
        for what, digest in read(last, lambda _: saved["orthotrace"].get("digests", {})).items():
            if self.components.digests.get(what, digest) != digest:
                raise UserError(
                    f"the images of {what} are not those that {self.run.folder} began with: put them back, or "
                    "start afresh with overwrite=true",
                    what,
                )
        progress = read(last, lambda _: Progress(**saved["orthotrace"]["progress"]))
        read(last, lambda _: module.load_state_dict(saved["state_dict"]))
        return progress

    def due(self, trainer: pl.Trainer) -> bool:
        """Whether enough time has passed since the last checkpoint, or it is the last one: by one clock for all."""
        return trainer.strategy.broadcast(interrupted() or time.perf_counter() - self._saved >= self.save_every)

    def save(self, trainer: pl.Trainer, progress: Progress, first: Path, *others: Path) -> None:
        """Write a checkpoint under one or more names, each whole."""
        self._content = self.content(progress)
        if not trainer.is_global_zero:
            # Lightning writes in the first process, and all wait for it.
            trainer.save_checkpoint(first)
            return
        with whole(first) as temporary:
            trainer.save_checkpoint(temporary)
        for other in others:
            with whole(other) as temporary:
                try:
                    os.link(first, temporary)
                except OSError:
                    shutil.copyfile(first, temporary)
        self._saved = time.perf_counter()

    def content(self, progress: Progress) -> dict[str, Any]:
        """What a checkpoint carries beside Lightning's own."""
        model, stream, digests = self.components.model, self.components.stream, dict(self.components.digests)
        between = progress.epoch == 0 and progress.task > 0
        kept = self.components.method.kept(model, progress.task - 1) if between else model
        layers = list(concept_layers(model).values())
        return {
            "schema": SCHEMA,
            "progress": progress.state(),
            **({} if kept is model else {"network": kept.state_dict()}),
            **({"concepts": list(layers[0].axes.names)} if layers else {}),
            **({"digests": digests} if digests else {}),
            "shape": list(stream.shape),
            "classes": len(stream.classes),
        }

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add it."""
        checkpoint["orthotrace"] = self._content
