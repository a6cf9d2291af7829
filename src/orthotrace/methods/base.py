"""The hooks of a method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.optim import Optimizer

from orthotrace.data.sources import Images
from orthotrace.seeds import Seeds
from orthotrace.subspace import Capacity


@dataclass(frozen=True)
class Layer:
    """What a method tells of a protected layer at the end of a task.

    Attributes:
        leak: |dW M^T| / max(|dW|, |W|) over the task, with M the rows held while it was trained.
        capacity: rows held now, and directions there are.
        captured: share of the energy of the layer's inputs, over the task's training images, that is held.
        exact: the share that the exact principal directions would hold, at the same rank.
    """

    leak: float
    capacity: Capacity
    captured: float | None = None
    exact: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What a method tells at the end of a task: its protected layers by name, empty where it protects none."""

    layers: dict[str, Layer] = field(default_factory=dict)


class Method(nn.Module):
    """How a network learns one task after another: few hooks, state in buffers.

    Every hook has a default, so a method states only what it does differently. Whatever it must remember is in
    buffers or submodules: state_dict saves it, and a run continues from it.
    """

    def setup(self, model: nn.Module, seeds: Seeds) -> None:
        """Meet the network, once, before anything else."""

    def begin_task(self) -> None:
        """Before a task; not called when a run continues within it."""

    def attach(self, optimizers: Sequence[Optimizer]) -> Callable[[], None]:
        """Meet the optimizers of a task; the function returned parts from them."""
        return lambda: None

    def training_forward(self, model: nn.Module, images: Tensor) -> Tensor:
        """Logits of a training batch."""
        return model(images)

    def end_task(self, model: nn.Module, train: Images, batch_size: int) -> Outcome:
        """After a task, with its training part and the network in evaluation mode."""
        return Outcome()

    @property
    def extra_memory_bytes(self) -> int:
        """What is kept beside the network."""
        return sum(value.numel() * value.element_size() for value in self.state_dict().values())
