"""What an experiment is made of: what is trained on what, how the weights change, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

from pydantic import Field
from torch import nn
from torch.optim import Optimizer

from orthotrace.core.errors import checked
from orthotrace.core.seeds import Seeds
from orthotrace.data.active_outputs import Loss
from orthotrace.data.augment import Augmentation
from orthotrace.data.streams import Stream
from orthotrace.methods import Method
from orthotrace.training.regularizer import Regularizer
from orthotrace.training.schedules import Constant


@dataclass(frozen=True)
class Components:
    """What is trained on what.

    Attributes:
        stream: the tasks.
        model: the network, inputs to logits.
        method: how it learns one task after another; not yet set up.
        seeds: of every randomness.
        names: of method and stream, for scores.json.
        digests: key of the configuration -> what shows whether its images are still the same.
    """

    stream: Stream
    model: nn.Module
    method: Method
    seeds: Seeds = field(default_factory=Seeds)
    names: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Optimization:
    """How the weights change.

    Attributes:
        optimizer: makes an optimizer from parameters; a fresh one for each task.
        rates: learning rates of single layers or parameters by name, in place of the optimizer's.
        regularizer: of training.
        schedule: of the learning rate, begun anew with each task.
        augmentation: of the training images; None for none.
    """

    optimizer: Callable[..., Optimizer]
    rates: Mapping[str, float] = field(default_factory=dict)
    regularizer: Regularizer = field(default_factory=Regularizer)
    schedule: Constant = field(default_factory=Constant)
    augmentation: Augmentation | None = None


@checked
@dataclass(frozen=True)
class Training:
    """How each task is trained.

    Attributes:
        max_epochs: epochs of one task.
        batch_size: images in a batch.
        threads: of the CPU; another number gives other bits.
        save_every: seconds between checkpoints within a task, at the end of an epoch; 0 for every epoch.
        workers: processes that read images which lie on disk.
        checkpoints: epochs of each task after which the network is kept, beside those after the tasks, for an analysis
            along the training; 0 for the untrained one, once. A run of one task that keeps its last epoch can be given
            more epochs. None for none.
        evaluate_inside: test inside tasks too: every so many steps, or at these steps of each task; None for never.
        compile: train the network as torch.compile makes it.
        loss: "cross_entropy" for classes; "mse", "l1" or "huber" for the targets of a regression; None for
            cross_entropy or mse, as the data set is.
        nearest_mean: test by the nearest class mean of the features before the readout, see NearestMean.
        batches_at_once: in a step of Lightning's loop; the bits are the same for any number. "auto" for 1 where a
            callback, or what else the trainer is to do, must see each, see Stepping, and else for 64.

    Raises:
        UserError: a number out of its range.
    """

    max_epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)] = 64
    threads: Annotated[int, Field(ge=1, le=4096)] = 1
    save_every: Annotated[float, Field(ge=0)] = 30.0
    workers: Annotated[int, Field(ge=0, le=4096)] = 2
    checkpoints: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    evaluate_inside: Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=1)], ...] | None = None
    compile: bool = False
    loss: Loss | None = None
    nearest_mean: bool = False
    batches_at_once: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"

    @classmethod
    def of(cls, *given: Any, **options: Any) -> Self:
        """From a user's input."""
        return cls(*given, **options)
