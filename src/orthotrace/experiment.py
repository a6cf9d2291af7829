"""The sequence: one Trainer, one fit for each task; resume; what is written."""

from __future__ import annotations

import inspect
import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pydantic import Field
from pytorch_lightning.callbacks import Callback, Checkpoint
from torch import nn
from torch.optim import Optimizer

import orthotrace
from orthotrace.data.streams import Batches, Stream
from orthotrace.errors import UserError, checked, nearest
from orthotrace.files import read, whole, write_csv, write_json
from orthotrace.learner import Learner, evaluate
from orthotrace.methods import Method
from orthotrace.progress import Progress
from orthotrace.run import Run
from orthotrace.scores import Scores
from orthotrace.seeds import Seeds
from orthotrace.tracking import Tracker

SCHEMA = 1


@dataclass(frozen=True)
class Training:
    """How each task is trained.

    Attributes:
        max_epochs: epochs of one task.
        batch_size: images in a batch.
        threads: of the CPU; another number gives other bits.
        save_every: seconds between checkpoints within a task, at the end of an epoch; 0 for every epoch.
    """

    max_epochs: int
    batch_size: int
    threads: int
    save_every: float

    @classmethod
    @checked
    def of(
        cls,
        max_epochs: Annotated[int, Field(ge=1)],
        batch_size: Annotated[int, Field(ge=1)] = 64,
        threads: Annotated[int, Field(ge=1)] = 1,
        save_every: Annotated[float, Field(ge=0)] = 30.0,
    ) -> Training:
        """From a user's input.

        Raises:
            UserError: a number out of its range.
        """
        return cls(max_epochs, batch_size, threads, save_every)


class Experiment:
    """Trains a network on a stream of tasks and writes its run's folder.

    Killed at any instant, it continues from the last checkpoint to the same bits.

    Args:
        run: the folder.
        names: of method and stream, for scores.json.
        stream, model, method, optimizer: what is trained on what, how; the method not yet set up.
        seeds: of every randomness.
        training: epochs, batches, threads.
        trainer: further options of pytorch_lightning.Trainer.
        tracker: where scores go beside the folder.
        callbacks: of the Trainer, such as a progress bar.
        rates: learning rates of single layers or parameters by name.
    """

    def __init__(
        self,
        run: Run,
        names: Mapping[str, str],
        stream: Stream,
        model: nn.Module,
        method: Method,
        optimizer: Callable[..., Optimizer],
        seeds: Seeds,
        training: Training,
        trainer: Mapping[str, Any],
        tracker: Tracker,
        callbacks: list[Callback] | None = None,
        rates: Mapping[str, float] | None = None,
    ) -> None:
        self.run_folder = run
        self.names = dict(names)
        self.stream = stream
        self.seeds = seeds
        self.training = training
        self.tracker = tracker
        precision = str(trainer.get("precision", "32-true"))
        if precision in ("bf16-true", "16-true"):
            raise UserError(
                f"{precision} rounds away what protects the weights; use 32-true or bf16-mixed", "trainer.precision"
            )
        model.to(torch.float64 if precision.startswith("64") else torch.float32)
        try:
            method.setup(model, seeds)
        except UserError as error:
            raise error.below("method") from error
        self.learner = Learner(model, method, optimizer, seeds.order, rates)
        self.learner.record = self._epoch_ended
        self.progress = Progress(stream.tasks)
        self.trainer = _trainer(trainer, [*(callbacks or []), _Saving(self)])
        self._marked = time.perf_counter()
        self._saved = time.perf_counter()

    def run(self) -> Progress:
        """Train what is left to train.

        Raises:
            UserError: a checkpoint is damaged, or the folder cannot be written.
        """
        torch.set_num_threads(self.training.threads)
        resume = self._restore()
        if not self.progress.untrained:
            self.progress.untrained = self._test()
        self._write()
        while not self.progress.finished:
            self._learn(resume)
            resume = None
        return self.progress

    def _restore(self) -> Path | None:
        last = self.run_folder.last
        if not last.is_file():
            return None
        saved = read(last, lambda path: torch.load(path, map_location="cpu", weights_only=True))
        self.progress = read(last, lambda _: Progress(**saved["orthotrace"]["progress"]))
        read(last, lambda _: self.learner.load_state_dict(saved["state_dict"]))
        return last

    def _learn(self, resume: Path | None) -> None:
        number = self.progress.task
        task = self.stream.task(number)
        batches = Batches(task.train, self.training.batch_size, self.seeds.order, number)
        self.learner.validation = task.validation
        if self.progress.epoch == 0:
            self.learner.method.begin_task()
        self.learner.train()
        self._marked = time.perf_counter()
        self._fit(batches, resume)
        if not all(value.isfinite().all() for value in self.learner.model.parameters()):
            raise UserError(f"the weights are not finite after task {number + 1}: lower the learning rate", "optimizer")
        device = self.trainer.strategy.root_device
        self.learner.to(device).eval()
        outcome = self.learner.method.end_task(self.learner.model, task.train, self.training.batch_size)
        accuracy = self._test()
        self._mark()
        self.progress.task_ended(accuracy, outcome)
        self._place()
        # First to the tracker: what is told twice after a kill it drops, what is never told is lost.
        self.tracker.task(self.progress, self.progress.scores(self.stream.shared_head))
        self.save(self.run_folder.checkpoint(self.progress.task), self.run_folder.last)
        self._write()

    def _fit(self, batches: Batches, resume: Path | None) -> None:
        self._batches = batches
        self._place()
        # The Trainer counts the epochs of all tasks: curves go on, and an early stop takes nothing from the next.
        ended = self.trainer.current_epoch if resume is None else len(self.progress.epochs)
        self.trainer.fit_loop.max_epochs = ended + self.training.max_epochs - self.progress.epoch
        self.trainer.fit(self.learner, batches, ckpt_path=resume)

    def _place(self) -> None:
        self.learner.place = (self.progress.task, self.progress.epoch)
        self._batches.epoch = self.progress.epoch

    def _epoch_ended(self, row: dict[str, float]) -> None:
        self._mark()
        self.tracker.epoch(self.progress.epoch_ended(self.trainer.global_step, row), len(self.progress.epochs))
        self._place()

    def _mark(self) -> None:
        now = time.perf_counter()
        self.progress.spend(now - self._marked)
        self._marked = now

    def _test(self) -> list[float]:
        model = self.learner.model
        return [evaluate(model, self.stream.test(index))[1] for index in range(self.stream.tasks)]

    def save_if_due(self) -> None:
        """A checkpoint within a task, when enough time has passed; its last epoch is saved with the task."""
        due = time.perf_counter() - self._saved >= self.training.save_every
        if due and self.progress.epoch < self.training.max_epochs:
            self.save(self.run_folder.last)
            self._write()

    def save(self, first: Path, *others: Path) -> None:
        """Write a checkpoint under one or more names, each whole."""
        with whole(first) as temporary:
            self.trainer.save_checkpoint(temporary)
        for other in others:
            with whole(other) as temporary:
                try:
                    os.link(first, temporary)
                except OSError:
                    shutil.copyfile(first, temporary)
        self._saved = time.perf_counter()

    def about(self) -> dict[str, Any]:
        """What a checkpoint carries beside Lightning's own."""
        return {
            "schema": SCHEMA,
            "progress": self.progress.state(),
            "shape": list(self.stream.shape),
            "classes": len(self.stream.classes),
        }

    def _write(self) -> None:
        write_csv(self.run_folder.metrics_file, self.progress.epochs)
        write_json(self.run_folder.scores_file, self.report())

    def report(self) -> dict[str, Any]:
        """The content of scores.json."""
        progress = self.progress
        scores = progress.scores(self.stream.shared_head)
        rest = progress.tasks - progress.task
        none = dict.fromkeys(field.name for field in fields(Scores))
        return {
            "schema": SCHEMA,
            **self.names,
            "scenario": self.stream.scenario,
            "seeds": self.seeds.as_dict(),
            "accuracy": [*progress.accuracy, *([None] * progress.tasks for _ in range(rest))],
            "untrained": progress.untrained,
            **(scores.as_dict() if scores else none),
            "leak": progress.leak if any(leak is not None for leak in progress.leak) else None,
            "capacity": progress.capacity or None,
            "parameters": sum(value.numel() for value in self.learner.model.parameters()),
            "extra_memory_bytes": self.learner.method.extra_memory_bytes,
            "seconds": [round(seconds, 3) for seconds in progress.seconds],
            "versions": {
                "orthotrace": orthotrace.__version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "pytorch_lightning": version("pytorch-lightning"),
            },
        }


class _Saving(Checkpoint):
    """Saves where Lightning expects checkpoints to be saved: after all other hooks of an epoch."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.experiment.save_if_due()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["orthotrace"] = self.experiment.about()


def _trainer(options: Mapping[str, Any], callbacks: list[Callback]) -> pl.Trainer:
    own = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "max_epochs": 0,
        "callbacks": callbacks,
    }
    taken = sorted(own.keys() & options.keys())
    if taken:
        raise UserError("is set by orthotrace itself", f"trainer.{taken[0]}")
    try:
        trainer = pl.Trainer(**own, **options)
    except TypeError as error:
        known = [name for name in inspect.signature(pl.Trainer).parameters if name not in own]
        unknown = next((name for name in options if name not in known), None)
        if unknown is None:
            raise UserError(str(error), "trainer") from error
        raise UserError(f"no such option; {nearest(unknown, known)}", f"trainer.{unknown}") from error
    except (ValueError, MisconfigurationException) as error:
        raise UserError(str(error).split("\n")[0], "trainer") from error
    if trainer.world_size > 1:
        raise UserError("one device only: the subspaces of several are not kept equal yet", "trainer.devices")
    return trainer
