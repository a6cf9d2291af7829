"""The hooks of a method."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from orthotrace.core.seeds import Seeds
from orthotrace.data.images import Batch
from orthotrace.data.streams import Stream, Task
from orthotrace.methods.context import Forward, TaskContext
from orthotrace.subspace import Capacity


@dataclass(frozen=True)
class Layer:
    """What a method reports of a protected layer at the end of a task.

    Attributes:
        leak: |dW M^T| / max(|dW|, |W|) over the task, with M the rows held while it was trained.
        capacity: rows held now, and directions there are.
        memory_bytes: what is kept for it beside the network.
        captured: share of the energy of the layer's inputs, over the task's training images, that is held.
        exact: the share that the exact principal directions would hold, at the same rank; None where rows once held
            may be let go.
    """

    leak: float
    capacity: Capacity
    memory_bytes: int
    captured: float | None = None
    exact: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What a method reports at the end of a task: its protected layers by label, empty where it protects none."""

    layers: dict[str, Layer] = field(default_factory=dict)


class Method(nn.Module):
    """How a network learns one task after another: few hooks, state in buffers.

    Every hook has a default, so a method states only what it does differently, and gets the context of the task that
    is trained. Whatever a method must remember is in buffers or submodules: state_dict saves it, and a run continues
    from it.

    Attributes:
        looks_again: whether a task is trained on once more after its epochs, which no online stream allows.
        epochs_needed: of each task, at least.
        rate: learning rate of task_parameters, over that of the network; None: 1 - momentum of the optimizer.
        restarts: whether every task begins with the initial network.
        cross_entropy: whether images of classes are learned by the cross-entropy over the outputs that count.
        nearest_mean: whether it is tested by the nearest class mean of the images of its memory.
    """

    looks_again: bool = False
    epochs_needed: int = 1
    rate: float | None = 1.0
    restarts: bool = False
    cross_entropy: bool = True
    nearest_mean: bool = False

    def setup(self, model: nn.Module, seeds: Seeds, stream: Stream) -> None:
        """Meet the network and the stream, once, before anything else."""
        # Held out of the module tree: the network is not part of the method's state.
        self._model = (model,)

    @property
    def model(self) -> nn.Module:
        """The network."""
        return self._model[0]

    def task(self, stream: Stream, number: int) -> Task:
        """What is trained on as a task of the stream."""
        return stream.task(number)

    def fresh(self, number: int) -> bool:
        """Whether a task begins with the initial network, not with that of the task before."""
        return number == 0

    def enter(self, context: TaskContext) -> None:
        """Training of a task is about to start or to continue."""

    def begin_task(self, context: TaskContext) -> None:
        """Before a task; not called when a run continues within it."""

    def attach(self, optimizers: Sequence[Optimizer]) -> Callable[[], None]:
        """Meet the optimizers of a task; the function returned parts from them."""
        return lambda: None

    def project_inputs(self) -> Callable[[], None]:
        """The steps of this task are linear in the gradients, and nobody else looks at these; called after attach.

        A method may make gradients of wide layers of projected inputs, see ProjectedInputs; the function returned ends
        it.
        """
        return lambda: None

    def task_parameters(self, context: TaskContext) -> list[nn.Parameter]:
        """What is trained beside the network, in the running task alone."""
        return []

    def task_counts(self, context: TaskContext) -> Sequence[Tensor]:
        """What is added up in the running task along the way of its weights, and is put back with them."""
        return ()

    def training_forward(self, network: Forward, inputs: Tensor, context: TaskContext) -> Tensor:
        """Logits of a training batch."""
        return network(inputs)

    def loss(self, network: Forward, batch: Batch, context: TaskContext) -> tuple[Tensor, Tensor]:
        """Loss of a training batch, and its logits.

        Args:
            network: inputs to logits, regularized.
            batch: of the task.
            context: of the task.
        """
        logits = self.training_forward(network, batch.inputs, context)
        return context.outputs.loss(logits, batch.labels, context.number, batch.tasks), logits

    def on_gradients(self, context: TaskContext) -> None:
        """Change the gradients of a step, before clipping and the optimizer."""

    def on_step(self, context: TaskContext) -> None:
        """Change the gradients last, after penalties on the weights were added."""

    def weights_written(self) -> None:
        """Something other than the optimizer has written the weights."""

    def end_task(self, context: TaskContext) -> Outcome:
        """After a task, with the network in evaluation mode."""
        return Outcome()

    def network(self, model: nn.Module, task: int) -> nn.Module:
        """The network that is tested on a task, where the scenario says which task it is."""
        return model

    def validated(self, model: nn.Module, context: TaskContext) -> nn.Module:
        """The network that is validated while a task is trained; layers may work with the task's weights already."""
        return model

    def kept(self, model: nn.Module, number: int) -> nn.Module:
        """The network as it is kept after a task."""
        return model

    @property
    def extra_memory_bytes(self) -> int:
        """What is kept beside the network."""
        return sum(value.numel() * value.element_size() for value in self.state_dict().values())


class Slots(nn.Module):
    """A buffer of zeros for each trainable parameter of a model, in their order.

    Example:
        >>> slots = Slots(nn.Linear(3, 2))
        >>> [tuple(buffer.shape) for buffer in slots], sorted(slots.state_dict())
        ([(2, 3), (2,)], ['0', '1'])
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        for number, parameter in enumerate(trainable(model)):
            self.register_buffer(str(number), torch.zeros_like(parameter.detach()))

    def __iter__(self):
        return self.buffers()


def after_steps(optimizers: Sequence[Optimizer], call: Callable[[], None]) -> Callable[[], None]:
    """Call a function after every step of the optimizers; the function returned ends it."""
    with ExitStack() as handles:
        for optimizer in optimizers:
            handle = optimizer.register_step_post_hook(lambda optimizer, args, kwargs: call())
            handles.callback(handle.remove)
        return handles.pop_all().close


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """The trainable parameters of a model, in order."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
