"""How tasks are trained: what a user sets, what goes together, and Lightning's Trainer for it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pydantic import Field
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.strategies import DDPStrategy

from orthotrace.core.errors import UserError, checked, nearest
from orthotrace.data.streams import Stream
from orthotrace.methods import Method
from orthotrace.training.regularizer import Regularizer
from orthotrace.training.schedules import Constant


@dataclass(frozen=True)
class Training:
    """How each task is trained.

    Attributes:
        max_epochs: epochs of one task.
        batch_size: images in a batch.
        threads: of the CPU; another number gives other bits.
        save_every: seconds between checkpoints within a task, at the end of an epoch; 0 for every epoch.
        workers: processes that read images which lie on disk.
        evaluate_inside: test inside tasks too: every so many steps, or at these steps of each task; None for never.
        compile: train the network as torch.compile makes it.
    """

    max_epochs: int
    batch_size: int
    threads: int
    save_every: float
    workers: int = 2
    evaluate_inside: int | tuple[int, ...] | None = None
    compile: bool = False

    @classmethod
    @checked
    def of(
        cls,
        max_epochs: Annotated[int, Field(ge=1)],
        batch_size: Annotated[int, Field(ge=1)] = 64,
        threads: Annotated[int, Field(ge=1)] = 1,
        save_every: Annotated[float, Field(ge=0)] = 30.0,
        workers: Annotated[int, Field(ge=0)] = 2,
        evaluate_inside: Annotated[int, Field(ge=1)] | list[Annotated[int, Field(ge=1)]] | None = None,
        compile: bool = False,  # noqa: A002
    ) -> Training:
        """From a user's input.

        Raises:
            UserError: a number out of its range.
        """
        inside = tuple(evaluate_inside) if isinstance(evaluate_inside, list) else evaluate_inside
        return cls(max_epochs, batch_size, threads, save_every, workers, inside, compile)


def check(stream: Stream, method: Method, training: Training, regularizer: Regularizer, schedule: Constant) -> None:
    """Refuse choices that do not go together.

    Raises:
        UserError: names the first.
    """
    if stream.online and training.max_epochs != 1:
        raise UserError(
            f"an online stream is seen once: set trainer.max_epochs=1 (it is {training.max_epochs})", "stream.online"
        )
    if stream.online and method.looks_again:
        raise UserError("an online stream is seen once: there is no closing pass over it", "method.closing_pass")
    if method.epochs_needed > training.max_epochs:
        raise UserError(
            f"begins to learn in epoch {method.epochs_needed} of a task, which has {training.max_epochs}",
            "method.start_epoch",
        )
    try:
        schedule.scheduler(torch.optim.SGD([torch.zeros(1)], lr=1.0), training.max_epochs, 1)
    except UserError as error:
        raise error.below("scheduler") from error
    judges = {"regularizer.early_stopping": regularizer.early_stopping, "scheduler": schedule.monitor}
    for key, judge in judges.items():
        if judge is not None and not stream.held:
            raise UserError(
                "judges by the validation part, which is empty: set stream.validation above 0, or higher", key
            )


def make_trainer(options: Mapping[str, Any], callbacks: list[Callback]) -> pl.Trainer:
    """Lightning's Trainer for one fit after another.

    Args:
        options: further ones of the user.
        callbacks: of the fits.

    Raises:
        UserError: an option that does not exist, that orthotrace sets itself, or a value that Lightning refuses.
    """
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
        _check_processes(trainer)
    return trainer


def _check_processes(trainer: pl.Trainer) -> None:
    """Several processes work together by DDP, each started by Lightning as the same command.

    Raises:
        UserError: another strategy, a launcher that does not run the command, or layers that Lightning would replace.
    """
    strategy = trainer.strategy
    if type(strategy) is not DDPStrategy or strategy._start_method != "popen":
        raise UserError("several devices work together by ddp alone: set trainer.strategy=ddp", "trainer.strategy")
    if "TORCHELASTIC_RUN_ID" in os.environ:
        raise UserError("start it without torchrun: trainer.devices starts the processes", "trainer.devices")
    if strategy._layer_sync is not None:
        raise UserError("replaces layers that are protected by name: set it to false", "trainer.sync_batchnorm")
