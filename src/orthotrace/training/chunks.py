"""Several batches in one step of Lightning's loop, which costs as much as training on a small batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import (
    Callback,
    GradientAccumulationScheduler,
    LambdaCallback,
    StochasticWeightAveraging,
)
from pytorch_lightning.plugins.precision import Precision
from pytorch_lightning.profilers import PassThroughProfiler
from torch.optim import SGD, Optimizer

from orthotrace.core.errors import UserError

# As many cost a sixty-fourth each.
AT_ONCE = 64
# What Lightning calls for every batch or backward pass that it knows of.
HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)


class BatchCallback(Callback):
    """A callback that hears of every batch, whether or not Lightning's loop has several in a step."""

    def before_step(self, trainer: pl.Trainer, learner: Any) -> None:
        """Gradients are there; method and regularizer change them next, then they are clipped.

        Args:
            trainer: of the run.
            learner: the Learner.
        """

    def after_batch(self, trainer: pl.Trainer, learner: Any, done: int, of: int) -> None:
        """A batch was trained on.

        Args:
            trainer: of the run.
            learner: the Learner; its ``step`` counts the steps of the optimizer, over all tasks.
            done: batches of this epoch so far, with this one.
            of: batches of an epoch.
        """


def overridden(trainer: Any, hook: str) -> list[Callable[..., None]]:
    """A hook of all callbacks of a trainer that have it, in their order."""
    hearing = [one for one in trainer.callbacks if isinstance(one, BatchCallback)]
    return [
        getattr(one, hook)
        for one in hearing
        if hook in vars(one) or getattr(type(one), hook) is not getattr(BatchCallback, hook)
    ]


@dataclass(frozen=True)
class Chunk:
    """Some batches of an epoch, one after another.

    Attributes:
        first: number of the first one in its epoch, from 0.
        of: batches of the epoch.
        batches: made when they are asked for.
    """

    first: int
    of: int
    batches: Iterator[Any]

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return enumerate(self.batches, self.first)


class Chunks:
    """The batches of an epoch, so many at once.

    Args:
        batches: the batches, or those of several networks.
        size: how many are a chunk; the last one may have fewer.

    Example:
        >>> import torch
        >>> from orthotrace.data.batches import Batches
        >>> from orthotrace.data.images import Images
        >>> part = Images(torch.zeros(10, 1, 2, 2), torch.arange(10))
        >>> chunks = Chunks(Batches(part, size=2, seed=0, task=0), size=3)
        >>> [[number for number, batch in chunk] for chunk in chunks], len(chunks)
        ([[0, 1, 2], [3, 4]], 2)
    """

    def __init__(self, batches: Sized, size: int) -> None:
        self.batches = batches
        self.size = size

    def __len__(self) -> int:
        return -(-len(self.batches) // self.size)

    def __iter__(self) -> Iterator[Chunk]:
        source: Any = self.batches
        of, batches = len(source), iter(source)
        for first in range(0, of, self.size):
            yield Chunk(first, of, islice(batches, self.size))


@dataclass(frozen=True)
class Stepping:
    """What Lightning does around a step of the optimizer, and the learner where Lightning's loop has several at once.

    Attributes:
        at_once: batches in a step of Lightning's loop.
        accumulate: batches in a step of the optimizer.
        clip: largest norm, or value, of the gradients; None for any.
        algorithm: what is clipped, "norm" or "value".
        unseen: whether no callback can look at gradients.
    """

    at_once: int = 1
    accumulate: int = 1
    clip: float | None = None
    algorithm: str | None = None
    unseen: bool = False

    @classmethod
    def of(cls, trainer: pl.Trainer, asked: int | None) -> Stepping:
        """As many batches at once as a trainer allows.

        Args:
            trainer: as the user configured it.
            asked: how many the user wants; None for the choice made here.

        Raises:
            UserError: several are asked for, and the trainer needs to see each.
        """
        reason = obstacle(trainer)
        if reason is not None and asked is not None and asked > 1:
            raise UserError(f"{reason} needs one batch at a time: leave it at auto", "trainer.batches_at_once")
        at_once = 1 if reason is not None else asked or AT_ONCE
        clip, algorithm = trainer.gradient_clip_val, trainer.gradient_clip_algorithm
        unseen = reason is None and not are_gradients_seen(trainer)
        return cls(at_once, trainer.accumulate_grad_batches, clip, algorithm and str(algorithm.value), unseen)

    def are_linear(self, optimizers: Sequence[Optimizer]) -> bool:
        """Whether what the optimizers apply is linear in the gradients, which nobody looks at.

        SGD with any momentum is; weight decay and clipping are not, nor are adaptive rates.

        Example:
            >>> import torch
            >>> weight = [torch.nn.Parameter(torch.ones(1))]
            >>> stepping = Stepping(unseen=True)
            >>> [stepping.are_linear([kind(weight, lr=0.1)]) for kind in (torch.optim.SGD, torch.optim.Adam)]
            [True, False]
        """
        groups = [group for one in optimizers for group in one.param_groups]
        return (
            self.unseen
            and self.clip is None
            and all(type(one) is SGD for one in optimizers)
            and not any(group["weight_decay"] for group in groups)
        )


def are_gradients_seen(trainer: Any) -> bool:
    """Whether a callback may look at gradients: a user's, or one of ours that changes them.

    Example:
        >>> from pathlib import Path
        >>> from orthotrace.training.trainer import make_trainer
        >>> options = {"accelerator": "cpu", "enable_checkpointing": False}
        >>> [are_gradients_seen(make_trainer(options, of, Path("runs/new"))) for of in ([], [LambdaCallback()])]
        [False, True]
    """

    def may(callback: Callback) -> bool:
        kind = type(callback)
        known = kind.__module__.startswith(("orthotrace.", "pytorch_lightning.")) and kind is not LambdaCallback
        return not known or getattr(kind, "before_step", None) not in (None, BatchCallback.before_step)

    return any(may(one) for one in trainer.callbacks)


def obstacle(trainer: Any) -> str | None:
    """What needs to see every batch of a trainer by itself; None for nothing.

    Example:
        >>> from pathlib import Path
        >>> from orthotrace.training.trainer import make_trainer
        >>> options = {"accelerator": "cpu", "max_steps": 3, "enable_checkpointing": False}
        >>> obstacle(make_trainer(options, [], Path("runs/new")))
        'trainer.max_steps'
    """
    for callback in trainer.callbacks:
        # They change what the learner does by itself where it has several batches.
        if isinstance(callback, (GradientAccumulationScheduler, StochasticWeightAveraging)):
            return type(callback).__name__
        for hook in HOOKS:
            # Also one that was set on the callback itself, as LambdaCallback does.
            if hook in vars(callback) or getattr(type(callback), hook) is not getattr(Callback, hook):
                return f"{type(callback).__name__}.{hook}"
    needs = {
        "a run in several processes": trainer.world_size > 1,
        # The others change what is computed within a step of Lightning's loop, which then has the backward pass too.
        "trainer.precision": type(trainer.precision_plugin) is not Precision,
        "trainer.profiler": type(trainer.profiler) is not PassThroughProfiler,
        # As an integer 1 is one batch, not all.
        "trainer.limit_train_batches": trainer.limit_train_batches != 1.0
        or isinstance(trainer.limit_train_batches, int),
        "trainer.val_check_interval": trainer.val_check_interval != 1.0 or isinstance(trainer.val_check_interval, int),
        "trainer.max_steps": trainer.max_steps != -1,
        "trainer.min_steps": trainer.min_steps is not None,
    }
    return next((name for name, needed in needs.items() if needed), None)
