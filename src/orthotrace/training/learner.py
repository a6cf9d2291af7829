"""The LightningModule: forward, loss, metrics of an epoch."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from orthotrace.core.distributed import all_reduce_sum, broadcast_from_first, rank_and_world_size, rank_seed_parts
from orthotrace.core.errors import UserError
from orthotrace.core.seeds import derived, seed_draws
from orthotrace.data.images import Batch, Images
from orthotrace.linalg import is_finite
from orthotrace.methods import Method, TaskContext
from orthotrace.methods.nearest_mean import NearestMean
from orthotrace.training.averaging import Average
from orthotrace.training.best import Best
from orthotrace.training.chunks import Chunk, Stepping, overridden
from orthotrace.training.evaluation import evaluate
from orthotrace.training.parameter_groups import parameter_groups
from orthotrace.training.settings import Optimization


class Learner(pl.LightningModule):
    """Trains a network by a method, on whichever task it is at.

    Args:
        model: the network, inputs to logits.
        method: how it learns one task after another; already set up with the model.
        optimization: how the weights change.
        seed: of what is drawn within a step.
        compiled: train the network as torch.compile makes it.
        nearest: the means that it is tested by, kept with its state; None for none.
        stepping: what is done around a step; with several batches at once the learner does it, not Lightning.

    Raises:
        UserError: a rate for a name that matches no parameter, or that is not positive.

    Attributes:
        context: of the task that is trained.
        length: (epochs of a task, steps of the optimizer in an epoch).
        step: steps of the optimizer so far, over all tasks.
        metrics: of the last epoch.
    """

    model: nn.Module
    method: Method
    average: Average | None
    best: Best | None
    start: Any
    context: TaskContext

    # Lightning notes the running hook some forty times a step; torch's own way is a tenth of a small step. What has a
    # state is added by add_module: begin_task refuses a module that was assigned.
    __setattr__ = object.__setattr__  # pyright: ignore[reportAssignmentType] (torch's takes fewer types)

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        optimization: Optimization,
        seed: int = 0,
        compiled: bool = False,
        nearest: NearestMean | None = None,
        stepping: Stepping = Stepping(),  # noqa: B008 (immutable)
    ) -> None:
        super().__init__()
        self.stepping = stepping
        self.automatic_optimization = stepping.at_once == 1
        self.groups = parameter_groups(model, optimization.rates)
        self.add_module("model", model)
        self.add_module("method", method)
        self.add_module("nearest", nearest)
        self.make_optimizer = optimization.optimizer
        self.seed = seed
        self.regularizer = optimization.regularizer
        # In a tuple: the network must not become a submodule twice.
        network = self.regularizer.setup(model)
        self._trained = (torch.compile(network) if compiled else network,)
        # Whether steps may be linear in the gradients, and torch's own autograd makes these.
        self._plain = not compiled and self.regularizer.is_linear
        decay = self.regularizer.average
        self.add_module("average", None if decay is None else Average(model, decay))
        self.add_module("best", Best(model, self.regularizer.monitor) if self.regularizer.restore_best else None)
        self.schedule = optimization.schedule
        start = None
        if self.schedule.tests_rates:
            from orthotrace.training.range_recorder import Start

            start = Start(model)
        self.add_module("start", start)
        hooks = [
            (method.on_gradients, type(method).on_gradients is not Method.on_gradients),
            (lambda context: self.regularizer.on_gradients(), self.regularizer.penalises),
            (method.on_step, type(method).on_step is not Method.on_step),
        ]
        # In every step: what does nothing is not called.
        self._gradient_hooks = [hook for hook, acts in hooks if acts]
        self.length = (1, 1)
        self.step = 0
        self.metrics: dict[str, float] = {}
        self._validation: Sequence[tuple[Images, range]] = ()
        # Between tasks there is no optimizer whose state matters.
        self._between = True
        self._detach: list[Callable[[], None]] = []
        self._plateau: ReduceLROnPlateau | None = None
        self._plateau_state: dict[str, Any] | None = None

    def begin_task(
        self,
        context: TaskContext,
        length: tuple[int, int],
        validation: Sequence[tuple[Images, range]] = (),
        step: int = 0,
    ) -> None:
        """A task is about to be trained, or to be continued."""
        lost = [name for name, value in vars(self).items() if isinstance(value, (nn.Module, nn.Parameter))]
        if lost:
            raise TypeError(f"'{lost[0]}' was assigned to the learner, so no checkpoint would have it: use add_module")
        self.context = context
        self.length = length
        self.step = step
        self._validation = validation
        self._between = False

    def put_back(self) -> None:
        """After a range test: the network as it was before."""
        if self.start is not None:
            self.start.put_back()
            self.method.weights_written()

    def end_task(self) -> None:
        """A task has been trained: the network is from now on what is tested of it.

        Raises:
            UserError: its weights are not finite.
        """
        self._between = True
        if self.average is not None:
            self.average.settle()
        if self.best is not None:
            # What a method protects holds for these weights too: a step of the task has led to them.
            self.best.put_back()
        if not all(map(is_finite, self.model.parameters())):
            raise UserError(
                f"the weights are not finite after task {self.context.number + 1}: lower the learning rate, or "
                "strengths and noise",
                "optimizer",
            )
        if self.average is not None:
            self.method.weights_written()

    @property
    def _ddp_params_and_buffers_to_ignore(self) -> list[str]:
        """What torch's DDP must leave alone: it would put the first process's statistics in the place of all."""
        return [name for name, _ in self.named_buffers() if not name.startswith("model.")]

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (n, outputs)."""
        return self.model(inputs)

    def configure_optimizers(self) -> Any:
        """A fresh optimizer, with its schedule."""
        # Copies: an optimizer writes into its groups, and a task must not inherit the rate of the one before.
        groups = [dict(group) for group in self.groups]
        if extra := self.method.task_parameters(self.context):
            groups.append({"params": extra, "weight_decay": 0.0})
        optimizer = self.make_optimizer(groups)
        if not isinstance(optimizer, Optimizer):
            raise UserError(
                f"{type(optimizer).__name__} is no torch.optim.Optimizer, so nobody could see its steps: derive it "
                "from that class",
                "optimizer",
            )
        if extra:
            group, rate = optimizer.param_groups[-1], self.method.rate
            group["lr"] *= 1 - group.get("momentum", 0) if rate is None else rate
        scheduler = self.schedule.scheduler(optimizer, *self.length)
        self._plateau = None
        if isinstance(scheduler, ReduceLROnPlateau):
            # Lightning would want the score logged; it is stepped here instead.
            self._plateau = scheduler
        elif scheduler is not None:
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
        return optimizer

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Batches come on the device."""
        return batch

    def on_train_start(self) -> None:
        """The method meets the task's optimizers, after the regularizer: its guard has the last word."""
        self._before_step = overridden(self.trainer, "before_step")
        self._after_batch = overridden(self.trainer, "after_batch")
        optimizers = self.optimizers(use_pl_optimizer=False)
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        # In the initial network there is nothing to keep.
        learned = 0 if self.method.fresh(self.context.number) else self.context.number
        self._detach = [
            self.regularizer.attach(optimizers),
            self._freeze(learned, optimizers),
            self.method.attach(optimizers),
        ]
        if self._plain and self.stepping.are_linear(optimizers):
            # It ends before the method parts from the optimizers.
            self._detach.insert(0, self.method.project_inputs())
        if self.average is not None:
            if self.context.epoch == 0:
                self.average.restart()
            self._detach.append(self.average.attach(optimizers))
        if self.best is not None:
            method, context = self.method, self.context
            self.best.begin(lambda: [*method.task_parameters(context), *method.task_counts(context)])
        if self._plateau is not None and self._plateau_state is not None:
            self._plateau.load_state_dict(self._plateau_state)
        self._plateau_state = None

    def _freeze(self, tasks: int, optimizers: Sequence[Optimizer]) -> Callable[[], None]:
        """Parts of the network that so many learned tasks leave frozen stay as they are, where it has such."""
        if not hasattr(self.model, "freeze_path"):
            return lambda: None
        from orthotrace.training.frozen_paths import freeze_paths

        return freeze_paths(self.model, tasks, optimizers)

    def on_train_end(self) -> None:
        """All part from the optimizers."""
        for detach in self._detach:
            detach()

    def evaluated(self) -> AbstractContextManager[None]:
        """Within the block the network is what would be tested of it."""
        return nullcontext() if self.average is None else self.average.shown()

    def on_train_epoch_start(self) -> None:
        """What an epoch draws depends on its place alone: a run that continues here draws the same."""
        seed_draws(derived(self.seed, 1, self.context.number, self.context.epoch, *rank_seed_parts()), self.device)
        self._batches: list[tuple[Tensor, Tensor, Tensor]] = []

    def training_step(self, batch: Batch | Chunk, index: int) -> Tensor | None:
        """Loss of a batch; of several at once none, but a step of the optimizer for each."""
        return self._loss(batch) if isinstance(batch, Batch) else self._train(batch)

    def _train(self, chunk: Chunk) -> None:
        """What Lightning does with one batch after another, in the same order and to the same bits."""
        accumulate = self.stepping.accumulate
        optimizer: Any = self.trainer.optimizers[0]
        schedules: list[Any] = [config.scheduler for config in self.trainer.lr_scheduler_configs]
        parameters = [value for group in optimizer.param_groups for value in group["params"]]
        counted = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        for number, batch in chunk:
            done = number + 1
            gradients = partial(self._gradients, batch, () if number % accumulate else parameters)
            if done % accumulate and done < chunk.of:
                gradients()
            else:
                counted.increment_ready()
                optimizer.step(partial(self._closure, optimizer, gradients))
                counted.increment_completed()
                for schedule in schedules:
                    schedule.step()
            self._batch_ended(done, chunk.of)
            if self.trainer.should_stop:
                # Lightning's loop leaves after this chunk, as it would after this batch.
                break

    def _gradients(self, batch: Batch, cleared: Iterable[Tensor]) -> Tensor:
        """Loss of a batch, whose gradient is added to that of the batches before it in a step."""
        # Some optimizers call their closure without gradients.
        with torch.enable_grad():
            loss = self._loss(batch)
            for value in cleared:
                value.grad = None
            (loss if self.stepping.accumulate == 1 else loss / self.stepping.accumulate).backward()
        return loss.detach()

    def _closure(self, optimizer: Optimizer, gradients: Callable[[], Tensor]) -> Tensor:
        """What the optimizer calls for the gradients of a step, once or more often."""
        loss = gradients()
        self.on_before_optimizer_step(optimizer)
        if self.stepping.clip is not None:
            self.clip_gradients(optimizer, self.stepping.clip, self.stepping.algorithm)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch | Chunk, batch_idx: int) -> None:
        """Tell who hears of every batch."""
        if isinstance(batch, Batch):
            self._batch_ended(batch_idx + 1, int(self.trainer.num_training_batches))

    def _batch_ended(self, done: int, of: int) -> None:
        accumulate = self.trainer.accumulate_grad_batches if self.automatic_optimization else self.stepping.accumulate
        self.step += done % accumulate == 0 or done == of
        for call in self._after_batch:
            call(self.trainer, self, done, of)

    def _loss(self, batch: Batch) -> Tensor:
        context = self.context
        loss, logits = self.method.loss(self._trained[0], batch, context)
        found = context.outputs.predicted(logits.detach(), context.number, batch.tasks)
        # Added up once an epoch: arithmetic on single numbers costs as much as on a small batch.
        self._batches.append((loss.detach(), found, batch.labels))
        return loss if batch.weight == 1 else loss * batch.weight

    def saw(self, batches: Sequence[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Take in an epoch whose steps were taken by another: loss, predictions and labels of each batch."""
        self._batches = list(batches)
        self.step += len(batches)

    def recent(self, batches: int = 20) -> tuple[float, float]:
        """Mean loss and score of the last batches of the epoch, in this process. It waits for the device."""
        losses, predicted, labels = zip(*self._batches[-batches:], strict=True)
        score = self.context.outputs.score_of(torch.cat(predicted), torch.cat(labels))
        return float(torch.stack(losses).float().mean()), score

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Callbacks, method and regularizer change the gradients, before they are clipped."""
        for call in self._before_step:
            call(self.trainer, self)
        for hook in self._gradient_hooks:
            hook(self.context)

    def on_train_epoch_end(self) -> None:
        """Sum up the epoch: its metrics, and the plateau."""
        # Statistics of the last batch, and averages of them, differ between processes; what follows must not.
        broadcast_from_first(*self.model.buffers(), *(() if self.average is None else self.average.buffers()))
        losses, predicted, labels = zip(*self._batches, strict=True)
        weights = torch.tensor([len(part) for part in labels], dtype=torch.float64)
        sums = torch.stack([torch.stack(losses).double().cpu() @ weights, weights.sum()]).to(self.device)
        all_reduce_sum(sums)
        loss, total = sums.tolist()
        outputs = self.context.outputs
        score = outputs.score_of(torch.cat(predicted), torch.cat(labels), all_reduce_sum)
        row = {"train_loss": loss / total, f"train_{outputs.score}": score}
        if self._validation:
            row["validation_loss"], row[f"validation_{outputs.score}"] = self._validate()
        if self.best is not None:
            with self.evaluated():
                self.best.look(row[f"validation_{self.regularizer.monitor}"])
        if self._plateau is not None:
            self._plateau.step(row[f"validation_{self.schedule.monitor}"])
        self.metrics = row
        self.context = replace(self.context, epoch=self.context.epoch + 1)

    def _validate(self) -> tuple[float, float]:
        with self.evaluated():
            error, network = self.context.outputs.error, self.method.validated(self.model, self.context)
            found = [
                (evaluate(network, part, outputs, loss=True, error=error), len(part))
                for part, outputs in self._validation
            ]
        total = sum(count for _, count in found)
        return (
            sum((one.loss or 0.0) * count for one, count in found) / total,
            sum(one.accuracy * count for one, count in found) / total,
        )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A task that has not begun in the checkpoint has begun here: of the checkpoint only the counters count."""
        if self.context.epoch == 0:
            checkpoint["state_dict"] = self.state_dict()
        else:
            checkpoint["state_dict"] = state_of(checkpoint, rank_and_world_size()[0])
            self._plateau_state = checkpoint.get("plateau")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The plateau's state within a task; between tasks none of an optimizer."""
        if self._between:
            checkpoint["optimizer_states"], checkpoint["lr_schedulers"] = [], []
        elif self._plateau is not None:
            checkpoint["plateau"] = self._plateau.state_dict()


def state_of(checkpoint: Mapping[str, Any], rank: int) -> dict[str, Tensor]:
    """The learner's state in a checkpoint, as one process had it.

    Example:
        >>> saved = {"state_dict": {"shared": 1, "own": 2}, "orthotrace": {"others": [{"own": 3}]}}
        >>> state_of(saved, 0), state_of(saved, 1)
        ({'shared': 1, 'own': 2}, {'shared': 1, 'own': 3})
    """
    others = checkpoint["orthotrace"].get("others", []) if rank else []
    return {**checkpoint["state_dict"], **(others[rank - 1] if len(others) >= rank > 0 else {})}
