"""What a method knows of the task that is trained."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from orthotrace.core.seeds import Seeds
from orthotrace.data.active_outputs import ActiveOutputs
from orthotrace.data.images import Images

Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class TaskContext:
    """The task that is trained, as every hook of a method gets it.

    Attributes:
        number: of the task, from 0.
        part: its training images.
        prepare: stored pixels to inputs, augmented as the training images are.
        outputs: which outputs count for which task, and the loss over them.
        seeds: of the run.
        batch_size: images in a batch.
        epoch: of the task, from 0.
    """

    number: int
    part: Images
    prepare: Forward
    outputs: ActiveOutputs
    seeds: Seeds
    batch_size: int = 64
    epoch: int = 0
