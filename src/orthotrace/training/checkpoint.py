"""Checkpoints: what a run continues from, to the same bits."""

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from torch import nn

from orthotrace.core.distributed import differing
from orthotrace.core.errors import UserError
from orthotrace.core.files import link, read, whole
from orthotrace.core.interrupt import interrupted
from orthotrace.linalg import is_finite
from orthotrace.results.replaced import is_replaced, let_go
from orthotrace.results.run_folder import AFRESH, Run, read_checkpoint
from orthotrace.training.concept_alignment import concept_layers
from orthotrace.training.learner import state_of
from orthotrace.training.progress import Progress
from orthotrace.training.settings import Components

SCHEMA = 1


class Checkpoints(Checkpoint):
    """Writes the checkpoints of a run and reads the last one."""

    def __init__(self, run: Run, components: Components, save_every: float, epochs: Sequence[int] = ()) -> None:
        self.run = run
        self.components = components
        self.save_every = save_every
        self.epochs = frozenset(epochs)
        self._saved = time.perf_counter()
        self._content: dict[str, Any] = {}

    def restore(
        self,
        module: nn.Module,
        rank: int = 0,
        measured: Callable[[Progress], Progress] = lambda progress: progress,
        task: int | None = None,
    ) -> tuple[Progress, Path] | None:
        """Load the state of the last checkpoint that is whole into a module.

        Args:
            module: the learner.
            rank: of this process; the first one puts it in the place of a last one that is damaged.
            measured: is given the progress of a run of fewer tasks, before its state is loaded; what the longer one
                would have measured.
            task: go on from the end of this one, from 1, whatever is there beside it; None for the last that is whole.

        Returns:
            How far it is, and its file; None where there is no checkpoint.

        Raises:
            UserError: all checkpoints are damaged, or the run began with other images.
        """
        damaged: list[UserError] = []
        for path in self.run.generations if task is None else [self.run.checkpoint(task)]:
            try:
                saved = read(path, read_checkpoint)
                began = read(path, lambda _, saved=saved: saved["orthotrace"].get("digests", {}))
                progress = read(path, lambda _, saved=saved: Progress(**saved["orthotrace"]["progress"]))
                if progress.tasks < self.components.stream.tasks:
                    progress = measured(progress)
                read(path, lambda _, saved=saved: self.load(module, saved, rank))
            except UserError as error:
                damaged.append(error)
                continue
            for what, digest in began.items():
                # Of data sets that the stream does not show an earlier version recorded the digests too.
                if not set(self.components.digests.get(what, digest).split("-")) <= set(digest.split("-")):
                    raise UserError(
                        f"the images of {what} are not those that {self.run.folder} began with: put them back, or "
                        "start afresh with overwrite=true",
                        what,
                    )
            if damaged and not rank:
                what = damaged[0].message.partition("; ")[0]
                warnings.warn(f"{what}; the run goes on from {path.name}, the last that is whole", stacklevel=2)
                link(path, self.run.last)
            return progress, path
        if damaged:
            others = f", and so are {len(damaged) - 1} earlier ones" if damaged[1:] else ", and there is none before it"
            raise UserError(f"{damaged[0].message.partition('; ')[0]}{others}; {AFRESH}")
        return None

    def load(self, module: nn.Module, saved: dict[str, Any], rank: int) -> None:
        """Load the state of a checkpoint; what later tasks have of their own stays where a run of fewer wrote it."""
        state = state_of(saved, rank)
        if saved["orthotrace"]["progress"]["tasks"] < self.components.stream.tasks:
            state = {**module.state_dict(), **state}
        module.load_state_dict(state)

    def due(self, trainer: pl.Trainer) -> bool:
        """Whether enough time has passed since the last checkpoint, or it is the last one: by one clock for all."""
        return trainer.strategy.broadcast(interrupted() or time.perf_counter() - self._saved >= self.save_every)

    def save(self, trainer: pl.Trainer, progress: Progress) -> None:
        """Write a checkpoint, whole: that of a task where one has ended, and the last one; the one before is kept."""
        others = differing(trainer.lightning_module.state_dict())
        self._content = self.content(progress) | ({"others": others} if any(others) else {})
        last, ended = self.run.last, progress.epoch == 0
        path = self.run.checkpoint(progress.task) if ended else last
        if not trainer.is_global_zero:
            # Lightning writes in the first process, and all wait for it.
            trainer.save_checkpoint(path)
            return
        if not ended:
            self._keep()
        with whole(path) as temporary:
            trainer.save_checkpoint(temporary)
        if ended:
            self._keep()
            link(path, last)
        # Weights that are not finite are refused when the task has ended.
        if is_replaced(self.run) and all(map(is_finite, trainer.lightning_module.parameters())):
            let_go(self.run)
        self._saved = time.perf_counter()

    def keep_epoch(self, trainer: pl.Trainer, progress: Progress) -> None:
        """Keep what a run can go on from where the epoch is one of the chosen."""
        if progress.epoch not in self.epochs:
            return
        learner: Any = trainer.lightning_module
        others = differing(learner.state_dict())
        self._content = self.content(progress) | ({"others": others} if any(others) else {})
        if learner.average is not None:
            # What would be tested of it.
            with learner.evaluated():
                shown = {name: value.clone() for name, value in self.components.model.state_dict().items()}
            self._content["network"] = shown
        path = self.run.epoch_checkpoint(progress.task + 1, progress.epoch)
        if not trainer.is_global_zero:
            trainer.save_checkpoint(path)
            return
        with whole(path) as temporary:
            trainer.save_checkpoint(temporary)

    def _keep(self) -> None:
        """Keep the last checkpoint, which was written or restored by this process, until the next but one."""
        if self.run.last.is_file():
            link(self.run.last, self.run.previous)

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
