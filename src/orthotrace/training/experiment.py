"""The loop over tasks: one Trainer, one fit for each task."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint

from orthotrace.core.digests import remove
from orthotrace.core.errors import UserError
from orthotrace.core.files import write_json
from orthotrace.core.folders import held
from orthotrace.core.interrupt import deferred, stop_here
from orthotrace.data.batches import Batches
from orthotrace.data.images import Images
from orthotrace.data.streams import Task
from orthotrace.layers.channels_last import take_channels_last
from orthotrace.methods import TaskContext
from orthotrace.methods.nearest_mean import NearestMean
from orthotrace.results.run_folder import Run
from orthotrace.training.activity import Silence, activity
from orthotrace.training.checkpoint import Checkpoints
from orthotrace.training.checks import check, check_network, decomposing, warn_of_statistics
from orthotrace.training.chunks import Chunks
from orthotrace.training.evaluation import Evaluator
from orthotrace.training.learner import Learner
from orthotrace.training.lengthening import lengthened
from orthotrace.training.progress import Progress
from orthotrace.training.provenance import machine
from orthotrace.training.settings import Components, Optimization, Training
from orthotrace.training.stability_gap import StabilityGap
from orthotrace.training.stopping import Stopping
from orthotrace.training.threads import Threads
from orthotrace.training.together import Together, join
from orthotrace.training.tracking import Tracker
from orthotrace.training.trainer import stepped_trainer, without_hints
from orthotrace.training.writer import report, write


class Experiment:
    """Trains a network on a stream of tasks and writes its run's folder.

    Killed at any instant, it continues from the last checkpoint to the same bits.

    Args:
        run: the folder.
        components: what is trained on what.
        optimization: how the weights change.
        training: epochs, batches, threads.
        trainer: further options of pytorch_lightning.Trainer.
        tracker: where scores go beside the folder; None for nowhere.
        callbacks: of the Trainer, such as a progress bar.
        task_ended: called after each task but the last, when all of it is written.

    Raises:
        UserError: choices that do not go together.
    """

    def __init__(
        self,
        run: Run,
        components: Components,
        optimization: Optimization,
        training: Training,
        trainer: Mapping[str, Any] | None = None,
        tracker: Tracker | None = None,
        callbacks: Sequence[Callback] = (),
        task_ended: Callable[["Experiment"], None] | None = None,
    ) -> None:
        options = trainer or {}
        precision = str(options.get("precision", "32-true"))
        check(components, optimization, training, precision)
        model, method, stream = components.model, components.method, components.stream
        model.to(torch.float64 if precision.startswith("64") else torch.float32)
        take_channels_last(model)
        check_network(model, stream)
        warn_of_statistics(model, optimization.regularizer.dropout)
        try:
            method.setup(model, components.seeds, stream)
        except UserError as error:
            raise error.below("method") from error
        self.nearest = _nearest_mean(components, training)
        self.run_folder = run
        self.options = dict(options)
        self.stacked: int | None = None
        self.task_ended = task_ended
        self.stream = stream
        self.components = components
        self.optimization = optimization
        self.training = training
        self.tracker = tracker or Tracker()
        self.progress = Progress(stream.tasks, score=stream.active.score)
        self.outputs = replace(
            stream.active,
            smoothing=optimization.regularizer.label_smoothing,
            bootstrap=optimization.regularizer.bootstrap,
            beta=optimization.regularizer.bootstrap_beta,
            error=training.loss or stream.active.error,
        )
        self.evaluator = Evaluator(model, method, stream, self.nearest)
        self.checkpoints = Checkpoints(run, components, training.save_every, training.checkpoints or ())
        inside = [] if training.evaluate_inside is None else [StabilityGap(training.evaluate_inside, self._inside)]
        self.range_test = None
        if optimization.schedule.tests_rates:
            from orthotrace.training.range_recorder import recorder

            self.range_test = recorder(optimization.schedule, lambda: self.progress.range_test, stream.active.score)
        self.together = Together()
        own = [
            *inside,
            *([self.range_test] if self.range_test else []),
            Threads(training.threads),
            Silence(model),
            Stopping(),
            self.checkpoints,
            EpochEnd(self._epoch_ended, self._started),
        ]
        self.trainer, stepping = stepped_trainer(options, [*callbacks, *own], run.folder, training.batches_at_once)
        try:
            seed = components.seeds.dropout
            self.learner = Learner(model, method, optimization, seed, training.compile, self.nearest, stepping)
        except UserError as error:
            raise error if error.key == "rates" else error.below("regularizer") from error
        if self.trainer.world_size > 1 and getattr(method, "memory", None) is not None:
            raise UserError("images are replayed in one process only: set it to 1", "trainer.devices")
        self._marked = time.perf_counter()

    def run(self) -> Progress:
        """Train what is left to train.

        Raises:
            UserError: all checkpoints are damaged, another process trains in the folder, or it cannot be written to.
        """
        torch.set_num_threads(self.training.threads)
        first = self.trainer.is_global_zero
        with held(self.run_folder.folder) if first else nullcontext(), self.together.watched(self.trainer):
            # The first process has made the folder ready by now.
            join(self.trainer, self.run_folder)
            resume = self.resume()
            # Before a task is made ready: what a method makes of the weights then is where they are trained.
            self.learner.to(self.trainer.strategy.root_device)
            self.measure()
            while not self.progress.finished:
                with decomposing(self.progress.task):
                    self._learn(resume)
                resume = None
                if self.task_ended is not None and not self.progress.finished:
                    self.task_ended(self)
            if first:
                # Of a finished run nothing goes on.
                remove(self.run_folder.previous)
        return self.progress

    def resume(self, task: int | None = None) -> Path | None:
        """Take up what was learned: the file that it is from, None where there is none.

        Args:
            task: at the end of this one, from 1; None for the last checkpoint.
        """
        restored = self.checkpoints.restore(self.learner, self.trainer.global_rank, self._lengthened, task)
        if restored is None:
            return None
        self.progress, path = restored
        self.tracker.resumed(self.progress, self.progress.scores(self.stream.shared_head))
        return path

    def measure(self, stacked: int | None = None) -> None:
        """Measure what is known before anything is learned, and write it.

        Args:
            stacked: networks that are trained together with this one, itself among them; None for one by itself.
        """
        self.stacked = stacked
        if stacked is not None:
            # Another trainer fits it; this one still writes its checkpoints.
            self.trainer.strategy.connect(self.learner)
        if not self.progress.untrained:
            self.progress.untrained = self.evaluator.untrained()
        if not self.progress.chance:
            self.progress.chance, self.progress.test_images = self.evaluator.chances()
        self._write()

    def _lengthened(self, progress: Progress) -> Progress:
        return lengthened(progress, self.learner, self.checkpoints, self.evaluator, self.trainer, self.tracker)

    def report(self) -> dict[str, Any]:
        """The content of scores.json."""
        return report(self.components, self.progress, self._machine(), self.nearest, self.stacked)

    def _learn(self, resume: Path | None) -> None:
        batches: Any = self.begin_task()
        # The Trainer counts the epochs of all tasks: curves go on, and an early stop takes nothing from the next.
        ended = self.trainer.current_epoch if resume is None else len(self.progress.epochs)
        self.trainer.fit_loop.max_epochs = ended + self.training.max_epochs - self.progress.epoch
        # A signal is heard at the end of a batch.
        at_once = self.learner.stepping.at_once
        with deferred(), without_hints():
            given = batches if at_once == 1 else Chunks(batches, at_once)
            self.trainer.fit(self.learner, given, ckpt_path=resume, weights_only=True)
        self.end_task()

    def begin_task(self) -> Batches:
        """Make all ready for what is left of the task that is next; its batches."""
        number, method = self.progress.task, self.learner.method
        task = method.task(self.stream, number)
        parameter, seeds = next(self.learner.model.parameters()), self.components.seeds
        like = torch.zeros((), dtype=parameter.dtype, device=self.trainer.strategy.root_device)
        self._batches = Batches(
            task.train, self.training.batch_size, seeds.order, number, self.optimization.augmentation,
            seeds.augmentation, like, self.training.workers, self.trainer.world_size,
        )  # fmt: skip
        context = TaskContext(
            number,
            self._batches.part,
            self._batches.prepare,
            self.outputs,
            seeds,
            self.training.batch_size,
            self.progress.epoch,
        )
        stepping, rows = self.learner.stepping, self.progress.epochs
        steps = -(-len(self._batches) // stepping.accumulate)
        method.enter(context)
        if self.progress.epoch == 0:
            method.begin_task(context)
        self.learner.begin_task(
            context, (self.training.max_epochs, steps), self._validation(task, number), rows[-1]["step"] if rows else 0
        )
        self.learner.train()
        self._marked = time.perf_counter()
        self._batches.set_epoch(self.progress.epoch)
        return self._batches

    def end_task(self) -> None:
        """End a task that was trained: consolidate, test, write, keep a checkpoint.

        Raises:
            UserError: its weights are not finite.
        """
        number, method = self.progress.task, self.learner.method
        context = self.learner.context
        self.learner.put_back()
        # What comes needs the memory of the gradients and of the optimizer, and neither of them.
        self.learner.zero_grad()
        self.trainer.optimizers = []
        self.learner.to(self.trainer.strategy.root_device).eval()
        self.learner.end_task()
        # Of its last epoch, however often the run was continued.
        context = replace(context, epoch=self.progress.epoch - 1)
        outcome = method.end_task(context)
        if self.nearest is not None:
            self.nearest.update(context)
        accuracy, by_class = self.evaluator(after=number + 1)
        if number + 1 == self.stream.tasks:
            self.progress.validation = self.evaluator.on_validation(after=number + 1)
        self._mark()
        self.progress.task_ended(accuracy, by_class, outcome)
        self.progress.fired(activity(self.learner.model, self.stream.test(number)))
        # First to the tracker: what is reported twice after a kill it drops.
        self.tracker.task(self.progress, self.progress.scores(self.stream.shared_head))
        self.checkpoints.save(self.trainer, self.progress)
        self._write()

    def _validation(self, task: Task, number: int) -> list[tuple[Images, range]]:
        """The validation images, grouped by the outputs that count for them."""
        part, active = task.validation, self.stream.active
        if not len(part):
            return []
        if part.tasks is None or active.scenario != "task":
            return [(part, active.for_training(number))]
        return [
            (part.take((part.tasks == one).nonzero().flatten()), active.by_task[one])
            for one in part.tasks.unique().tolist()
        ]

    def _started(self) -> None:
        """Keep the untrained network, where it is asked for."""
        if self.progress.task == self.progress.epoch == 0:
            self.checkpoints.keep_epoch(self.trainer, self.progress)

    def count_epoch(self) -> None:
        """Note what an epoch came to, and go on to the next."""
        self._mark()
        row = self.progress.epoch_ended(self.learner.step, self.learner.metrics)
        self.tracker.epoch(row, len(self.progress.epochs))
        self._batches.set_epoch(self.progress.epoch)

    def _epoch_ended(self) -> None:
        """Count an epoch; save where it is time, but for a task's last epoch, which is saved with the task."""
        self.count_epoch()
        self.checkpoints.keep_epoch(self.trainer, self.progress)
        # From what is recorded, so that a continued run decides alike.
        rows = self.progress.epochs
        stops = self.learner.regularizer.stops(rows[len(rows) - self.progress.epoch :])
        stops |= self.range_test is not None and self.range_test.diverged
        self.trainer.should_stop |= stops
        if self.checkpoints.due(self.trainer) and self.progress.epoch < self.training.max_epochs and not stops:
            self.checkpoints.save(self.trainer, self.progress)
            self._write()
            stop_here()

    def _inside(self, step: int) -> None:
        """Test inside a task, on all tasks so far."""
        number = self.progress.task
        with self.learner.evaluated():
            if self.nearest is not None:
                self.nearest.update(self.learner.context)
            accuracy = self.evaluator(after=number + 1, tasks=number + 1)[0]
        self.progress.inside.append({"task": number + 1, "step": step, "accuracy": accuracy})

    def _mark(self) -> None:
        now = time.perf_counter()
        self.progress.spend(now - self._marked)
        self._marked = now

    def _write(self) -> None:
        if self.trainer.is_global_zero:
            write(self.run_folder, self.report(), self.progress)
            if (found := self.ranged()) is not None:
                write_json(self.run_folder.range_file, found)

    def ranged(self) -> dict[str, Any] | None:
        """The content of range_test.json; None without such a test, or before its end."""
        rows = self.progress.range_test
        if self.range_test is None or not self.progress.task:
            return None
        return self.range_test.found(rows)

    def _machine(self) -> dict[str, str | int]:
        return machine(self.trainer.strategy.root_device, self.trainer.world_size)


def _nearest_mean(components: Components, training: Training) -> NearestMean | None:
    """What the network is tested by in the place of its readout, where the method or the user wants it."""
    method = components.method
    if not (training.nearest_mean or method.nearest_mean):
        return None
    try:
        return NearestMean(components.model, method, components.stream)
    except UserError as error:
        raise UserError(error.message, "method" if method.nearest_mean else "trainer.nearest_mean") from error


class EpochEnd(Checkpoint):
    """Called where Lightning expects checkpoints to be saved: after all other hooks of an epoch, or of the start."""

    def __init__(self, ended: Callable[[], None], started: Callable[[], None]) -> None:
        self.ended = ended
        self.started = started

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Call one."""
        self.started()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Call the other."""
        self.ended()
