"""The sequence: one Trainer, one fit for each task; resume; what is written."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint
from torch import nn
from torch.optim import Optimizer

import orthotrace
from orthotrace.core.distributed import broadcast_from_first
from orthotrace.core.errors import UserError, one_line
from orthotrace.core.files import read, whole, write_csv, write_json
from orthotrace.core.seeds import Seeds
from orthotrace.data.augment import Augmentation
from orthotrace.data.batches import Batches
from orthotrace.data.images import Images
from orthotrace.data.streams import Stream, Task
from orthotrace.methods import Method
from orthotrace.results.run_folder import Run
from orthotrace.results.scores import Scores, inside_scores
from orthotrace.training.concept_alignment import concept_layers
from orthotrace.training.evaluation import evaluate
from orthotrace.training.learner import Learner
from orthotrace.training.progress import Progress
from orthotrace.training.regularizer import Regularizer
from orthotrace.training.schedules import Constant
from orthotrace.training.settings import Training, check, make_trainer
from orthotrace.training.stability_gap import StabilityGap
from orthotrace.training.tracking import Tracker

SCHEMA = 1


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
        regularizer, schedule, augmentation: of training; None for none.
        digests: key of the configuration -> what tells whether its images are still the same.

    Raises:
        UserError: choices that do not go together.
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
        regularizer: Regularizer | None = None,
        schedule: Constant | None = None,
        augmentation: Augmentation | None = None,
        digests: Mapping[str, str] | None = None,
    ) -> None:
        self.run_folder = run
        self.digests = dict(digests or {})
        self.names = dict(names)
        self.stream = stream
        self.seeds = seeds
        self.training = training
        self.tracker = tracker
        precision = str(trainer.get("precision", "32-true"))
        if precision in ("bf16-true", "16-true"):
            raise UserError(
                f"{precision} rounds small steps away, and what protects weights with them; use 32-true or bf16-mixed",
                "trainer.precision",
            )
        regularizer = regularizer or Regularizer()
        schedule = schedule or Constant()
        self.augmentation = augmentation
        if augmentation is not None and augmentation.crop >= min(stream.shape[1:]):
            raise UserError(f"a border of {augmentation.crop} is too wide for {stream.shape[1:]}", "augmentation.crop")
        check(stream, method, training, regularizer, schedule)
        model.to(torch.float64 if precision.startswith("64") else torch.float32)
        _try(model, stream)
        try:
            method.setup(model, seeds, stream)
        except UserError as error:
            raise error.below("method") from error
        method.active = replace(method.active, smoothing=regularizer.label_smoothing)
        try:
            self.learner = Learner(
                model, method, optimizer, seeds.dropout, rates, regularizer, schedule, training.compile
            )
        except UserError as error:
            raise error if error.key == "rates" else error.below("regularizer") from error
        self.learner.record = self._epoch_ended
        self.progress = Progress(stream.tasks)
        probes = [] if training.evaluate_inside is None else [StabilityGap(training.evaluate_inside, self._inside)]
        self.trainer = make_trainer(trainer, [*(callbacks or []), *probes, _Saving(self)])
        if self.trainer.world_size > 1 and getattr(method, "memory", None) is not None:
            raise UserError("images are replayed in one process only: set it to 1", "trainer.devices")
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
            self.progress.untrained = self._test()[0]
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
        self._same_images(read(last, lambda _: saved["orthotrace"].get("digests", {})))
        self.progress = read(last, lambda _: Progress(**saved["orthotrace"]["progress"]))
        read(last, lambda _: self.learner.load_state_dict(saved["state_dict"]))
        return last

    def _same_images(self, digests: Mapping[str, str]) -> None:
        """Refuse to go on with other images."""
        for what, digest in digests.items():
            if self.digests.get(what, digest) != digest:
                raise UserError(
                    f"the images of {what} are not those that {self.run_folder.folder} began with: put them back, or "
                    "start afresh with overwrite=true",
                    what,
                )

    def _learn(self, resume: Path | None) -> None:
        number = self.progress.task
        method = self.learner.method
        task = method.task(self.stream, number)
        self._batches = self._batches_of(task.train, number)
        method.prepare = self._batches.prepare
        self.learner.validation = self._validation(task, number)
        method.enter(number, self._batches.part)
        if self.progress.epoch == 0:
            method.begin_task()
        self.learner.train()
        self._marked = time.perf_counter()
        self._fit(resume)
        # Statistics of the last step differ between processes.
        broadcast_from_first(*self.learner.model.buffers())
        if not all(value.isfinite().all() for value in self.learner.model.parameters()):
            raise UserError(f"the weights are not finite after task {number + 1}: lower the learning rate", "optimizer")
        device = self.trainer.strategy.root_device
        self.learner.to(device).eval()
        self.learner.settle()
        outcome = method.end_task(self.learner.model, self._batches.part, self.training.batch_size)
        accuracy, by_class = self._test()
        self._mark()
        self.progress.task_ended(accuracy, by_class, outcome)
        self._place()
        # First to the tracker: what is told twice after a kill it drops, what is never told is lost.
        self.tracker.task(self.progress, self.progress.scores(self.stream.shared_head))
        self.save(self.run_folder.checkpoint(self.progress.task), self.run_folder.last)
        self._write()

    def _batches_of(self, part: Images, number: int) -> Batches:
        parameter = next(self.learner.model.parameters())
        like = torch.zeros((), dtype=parameter.dtype, device=self.trainer.strategy.root_device)
        return Batches(
            part,
            self.training.batch_size,
            self.seeds.order,
            number,
            self.augmentation,
            self.seeds.augmentation,
            like,
            self.training.workers,
        )

    def _validation(self, task: Task, number: int) -> list[tuple[Images, range]]:
        """The validation images, grouped by the outputs that count for them."""
        part, readout = task.validation, self.stream.active
        if not len(part):
            return []
        if part.tasks is None or readout.scenario != "task":
            return [(part, readout.for_training(number))]
        return [
            (part.take((part.tasks == one).nonzero().flatten()), readout.by_task[one])
            for one in part.tasks.unique().tolist()
        ]

    def _fit(self, resume: Path | None) -> None:
        self._place()
        steps = -(-len(self._batches) // self.trainer.accumulate_grad_batches)
        self.learner.length = (self.training.max_epochs, steps)
        # The Trainer counts the epochs of all tasks: curves go on, and an early stop takes nothing from the next.
        ended = self.trainer.current_epoch if resume is None else len(self.progress.epochs)
        self.trainer.fit_loop.max_epochs = ended + self.training.max_epochs - self.progress.epoch
        self.trainer.fit(self.learner, self._batches, ckpt_path=resume)

    def _place(self) -> None:
        self.learner.place = (self.progress.task, self.progress.epoch)
        self._batches.epoch = self.progress.epoch

    def _epoch_ended(self, row: dict[str, float]) -> None:
        self._mark()
        self.tracker.epoch(self.progress.epoch_ended(self.trainer.global_step, row), len(self.progress.epochs))
        self._place()
        if self._stops():
            self.trainer.should_stop = True

    def _stops(self) -> bool:
        """Whether the running task has had enough epochs: told from what is recorded, so a resume knows it too."""
        done = self.progress.epoch
        return self.learner.regularizer.stops(self.progress.epochs[len(self.progress.epochs) - done :] if done else [])

    def _inside(self, step: int) -> None:
        """Test inside a task, on all tasks so far."""
        number = self.progress.task
        with self.learner.judged():
            accuracy = self._test(number + 1, number + 1)[0]
        self.progress.inside.append({"task": number + 1, "step": step, "accuracy": accuracy})

    def _mark(self) -> None:
        now = time.perf_counter()
        self.progress.spend(now - self._marked)
        self._marked = now

    def _test(self, after: int | None = None, tasks: int | None = None) -> tuple[list[float], list[float | None]]:
        """Accuracy on each task, and on each class over the images of all tasks so far.

        Args:
            after: tasks that have taught their classes; None for as many as have ended, and the one that is ending.
            tasks: how many are tested; None for all.
        """
        learner, readout = self.learner, self.stream.active
        taught = after if after is not None else self.progress.task + 1 if self.progress.untrained else 0
        found = [
            evaluate(
                learner.method.network(learner.model, index),
                self.stream.test(index),
                readout.for_evaluation(index, taught),
            )
            for index in range(self.stream.tasks if tasks is None else tasks)
        ]
        seen = found[:taught]
        right = sum((one.right for one in seen), torch.zeros(readout.outputs, dtype=torch.int64))
        count = sum((one.count for one in seen), torch.zeros(readout.outputs, dtype=torch.int64))
        by_class = [
            told / images if images else None for told, images in zip(right.tolist(), count.tolist(), strict=True)
        ]
        return [one.accuracy for one in found], by_class

    def save_if_due(self) -> None:
        """A checkpoint within a task, when enough time has passed; its last epoch is saved with the task."""
        due = time.perf_counter() - self._saved >= self.training.save_every
        # One clock for all processes.
        due = self.trainer.strategy.broadcast(due)
        if due and self.progress.epoch < self.training.max_epochs and not self._stops():
            self.save(self.run_folder.last)
            self._write()

    def save(self, first: Path, *others: Path) -> None:
        """Write a checkpoint under one or more names, each whole."""
        if not self.trainer.is_global_zero:
            # Lightning writes in the first process, and all wait for it.
            self.trainer.save_checkpoint(first)
            return
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
        learner = self.learner
        kept = learner.method.kept(learner.model) if self.progress.epoch == 0 else learner.model
        layers = list(concept_layers(learner.model).values())
        return {
            "schema": SCHEMA,
            "progress": self.progress.state(),
            **({} if kept is learner.model else {"network": kept.state_dict()}),
            **({"concepts": list(layers[0].axes.names)} if layers else {}),
            **({"digests": dict(self.digests)} if self.digests else {}),
            "shape": list(self.stream.shape),
            "classes": len(self.stream.classes),
        }

    def _write(self) -> None:
        if not self.trainer.is_global_zero:
            return
        write_csv(self.run_folder.metrics_file, self.progress.epochs)
        if self.progress.inside:
            write_csv(self.run_folder.inside_file, self.progress.inside_rows())
        write_json(self.run_folder.scores_file, self.report())

    def report(self) -> dict[str, Any]:
        """The content of scores.json."""
        progress = self.progress
        scores = progress.scores(self.stream.shared_head)
        rest = progress.tasks - progress.task
        none = dict.fromkeys(field.name for field in fields(Scores))
        lowest = None if scores is None else inside_scores(progress.inside, progress.accuracy)
        return {
            "schema": SCHEMA,
            **self.names,
            "scenario": self.stream.scenario,
            "seeds": self.seeds.as_dict(),
            "accuracy": [*progress.accuracy, *([None] * progress.tasks for _ in range(rest))],
            "digests": dict(self.digests),
            "untrained": progress.untrained,
            "classes": list(self.stream.classes),
            "class_accuracy": [*progress.by_class, *([None] * len(self.stream.classes) for _ in range(rest))],
            **(scores.as_dict() if scores else none),
            "min_acc": lowest.min_acc if lowest else None,
            "wc_acc": lowest.wc_acc if lowest else None,
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


def _try(model: nn.Module, stream: Stream) -> None:
    """Let a network see two images before anything is written.

    Raises:
        UserError: it cannot take them, or has not as many outputs as the stream has classes.
    """
    training = model.training
    model.eval()
    like = next(model.parameters(), torch.zeros(()))
    images = stream.test(0).inputs(torch.arange(2), like)
    try:
        with torch.no_grad():
            logits = model(images)
    # A model of the user's own may raise anything.
    except Exception as error:
        raise UserError(f"fails on images of the shape {stream.shape}: {one_line(error)}", "model") from error
    model.train(training)
    expected = (2, len(stream.classes))
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != expected:
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise UserError(f"gives {got} for two images, where {expected} is needed: an output for each class", "model")


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
