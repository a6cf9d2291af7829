"""Choices with which networks are not trained together, refused before anything is written."""

from __future__ import annotations

from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import optim

from orthotrace.core.errors import UserError
from orthotrace.data.streams import Stream
from orthotrace.layers.stack import Stack
from orthotrace.methods.stacked import check_stackable_method
from orthotrace.training.chunks import AT_ONCE, obstacle
from orthotrace.training.experiment import Experiment
from orthotrace.training.regularizer import Regularizer
from orthotrace.training.settings import Training
from orthotrace.training.trainer import make_trainer

# Optimizers that change each number by what is known of it alone.
ELEMENTWISE = (
    optim.SGD, optim.Adam, optim.AdamW, optim.NAdam, optim.RAdam, optim.Adamax, optim.Adagrad, optim.Adadelta,
    optim.RMSprop,
)  # fmt: skip
# Options that must be as they are where nothing is said.
KEPT = ("checkpoints", "evaluate_inside", "compile")
REGULARIZERS = (
    "l1", "l2", "max_norm", "dropout", "dropconnect", "input_noise", "average", "early_stopping", "restore_best",
)  # fmt: skip
ALONE = "is not done for networks that are trained together: leave it out, or leave seeds_at_once at 1"


def check_stacked(experiments: Sequence[Experiment]) -> None:
    """Refuse experiments whose networks cannot be trained together.

    Raises:
        UserError: names the first reason.
    """
    for one in experiments:
        _check_options(one)
        check_stackable_method(one.learner.method)
    first = experiments[0]
    for other in experiments[1:]:
        alike = [
            (one.training, type(one.learner.method), _of_stream(one.stream), one.learner.stepping)
            for one in (first, other)
        ]
        if alike[0] != alike[1]:
            raise UserError(
                "networks that are trained together differ in their seeds alone, and have as many tasks, classes and "
                "epochs",
                "seeds_at_once",
            )
    inputs = [one.stream.test(0).inputs(torch.arange(2), next(one.learner.model.parameters())) for one in experiments]
    try:
        Stack([one.learner.model for one in experiments]).check(torch.stack(inputs))
    except UserError as error:
        raise UserError(f"{error.message}: train such networks one by one, seeds_at_once=1", "model") from error


def stacked_trainer(first: Experiment, callbacks: Sequence[Callback]) -> tuple[pl.Trainer, int]:
    """The Trainer that fits all networks, and the batches in a step of its loop.

    Raises:
        UserError: it is to do what needs to see each batch of one network.
    """
    trainer = make_trainer(first.options, list(callbacks), first.run_folder.folder)
    if (reason := obstacle(trainer)) is not None:
        raise UserError(ALONE, reason)
    asked = first.training.batches_at_once
    return trainer, AT_ONCE if asked == "auto" else asked


def _check_options(one: Experiment) -> None:
    optimization, training, stepping = one.optimization, one.training, one.learner.stepping
    plain = Training(1)
    refused = {
        "trainer.gradient_clip_val": stepping.clip is not None,
        "trainer.accumulate_grad_batches": stepping.accumulate != 1,
        "trainer.devices": one.trainer.world_size > 1,
        "scheduler": optimization.schedule.monitor is not None or optimization.schedule.tests_rates,
        "pruning": one.task_ended is not None,
        "trainer.loss": one.stream.regression,
        **{f"trainer.{name}": getattr(training, name) != getattr(plain, name) for name in KEPT},
        "trainer.nearest_mean": one.nearest is not None,
        "model.freeze_path": getattr(one.learner.model, "freeze_path", False) is True,
        **{
            f"regularizer.{name}": getattr(optimization.regularizer, name) != getattr(Regularizer(), name)
            for name in REGULARIZERS
        },
    }
    for key, given in refused.items():
        if given:
            raise UserError(ALONE, key)
    made = optimization.optimizer([torch.zeros(1, requires_grad=True)])
    if type(made) not in ELEMENTWISE:
        names = ", ".join(kind.__name__ for kind in ELEMENTWISE)
        raise UserError(
            f"{type(made).__name__} may look at all numbers of a weight, and those of several networks are in one: "
            f"take one of {names}, or leave seeds_at_once at 1",
            "optimizer",
        )


def _of_stream(stream: Stream) -> tuple[object, ...]:
    return stream.tasks, stream.scenario, stream.active, stream.shape
