"""Hard attention to the task: masks on units."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from orthotrace.core.errors import checked
from orthotrace.core.seeds import Seeds, derived, generator
from orthotrace.data.batches import count_of
from orthotrace.data.images import Batch
from orthotrace.data.streams import Stream
from orthotrace.methods.base import Layer, Method, Outcome, after_steps
from orthotrace.methods.chain import chain_of
from orthotrace.methods.context import Forward, TaskContext
from orthotrace.methods.task_weights import TaskParameters
from orthotrace.protection.layers import protectable
from orthotrace.protection.normalisation import Normalisation
from orthotrace.subspace import Capacity

# Of an embedding, and of what is put into cosh: float32 holds no more.
LARGEST, STEEPEST = 6.0, 50.0


class HAT(Method):
    """Each task learns which units of each hidden layer it uses; weights between units that earlier tasks use stay.

    The inputs that layer l + 1 gets of the units of layer l are multiplied by a mask, with an embedding e of the task,

        a = sigmoid(s e),   s from 1 / s_max to s_max over the batches of each epoch,

    and s = s_max at the test. With u the elementwise maximum of the masks of all earlier tasks, each step keeps

        dW_ij <- (1 - min(u_i, u_j)) dW_ij     between unit j and unit i; of the first layer, and of a bias, (1 - u_i),

    of what the optimizer applied: the paper's rule for the gradient, for any optimizer. The loss has
    strength * sum a (1 - u) / sum (1 - u) beside it, so that tasks use few units that are free. The gradient of e is
    divided by what annealing makes of it. Statistics and affine of normalisation are frozen after the first task.

    The network must be a chain. A test must know which task an image is of, in every scenario: compare it in the
    domain- and class-incremental ones with methods that know it.

    Args:
        strength: of the sparsity of masks (the paper's c), at least 0.
        steepness: s_max, at least 1.
        rate: learning rate of the embeddings, over that of the network; above 0.

    Raises:
        UserError: an argument out of its range; at setup, a network that is no chain.

    Source: Serra, Suris, Miron & Karatzoglou, Overcoming Catastrophic Forgetting with Hard Attention to the Task, ICML
    2018, eqs. 1 to 6.
    """

    batches: Tensor
    counted_epoch: Tensor

    @checked
    def __init__(
        self,
        strength: Annotated[float, Field(ge=0)] = 0.75,
        steepness: Annotated[float, Field(ge=1)] = 400.0,
        rate: Annotated[float, Field(gt=0)] = 1.0,
    ) -> None:
        super().__init__()
        self.strength = strength
        self.steepness = steepness
        self.rate = rate
        # By (task, layer, 0).
        self.embeddings = TaskParameters()
        # Batches of the running epoch.
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self.register_buffer("counted_epoch", torch.zeros((), dtype=torch.int64))
        self._masks: list[Tensor] = []
        self._slope = 1.0

    def setup(self, model: nn.Module, seeds: Seeds, stream: Stream) -> None:
        """See that the network is a chain, and make room for what tasks use."""
        super().setup(model, seeds, stream)
        self.names = chain_of(model, stream.test(0).inputs(torch.arange(2), next(model.parameters())))
        self.norms = Normalisation(model, "frozen", 0)
        for number, layer in enumerate(self._layers(model)):
            self.register_buffer(f"used_{number}", layer.weight.detach().new_zeros(len(layer.weight)))
            self.register_buffer(f"start_{number}", layer.weight.detach().clone())
        self._last: list[tuple[Tensor, Tensor | None]] = []

    def _layers(self, model: nn.Module) -> list[Any]:
        """The layers of the chain."""
        layers = protectable(model)
        return [layers[name] for name in self.names]

    def used(self, number: int) -> Tensor:
        """How much earlier tasks use each unit of a layer, by its place in the chain, in [0, 1]."""
        return getattr(self, f"used_{number}")

    def masks(self, task: int, slope: float) -> list[Tensor]:
        """Of each hidden layer; none of a task that was not begun."""
        found = {number: value for (of, number, _), value in self.embeddings.items() if of == task}
        return [torch.sigmoid(slope * found[number]) for number in sorted(found)]

    def enter(self, context: TaskContext) -> None:
        """Later tasks have frozen normalisation, and embeddings of their own."""
        self.norms.enter(context.number)
        for (task, _, _), value in self.embeddings.items():
            value.requires_grad_(task == context.number)

    @torch.no_grad()
    def begin_task(self, context: TaskContext) -> None:
        """Draw the embeddings of the task, whose masks begin as flat as those of the first one."""
        self.counted_epoch.fill_(-1)
        for number, layer in enumerate(self._layers(self.model)):
            getattr(self, f"start_{number}").copy_(layer.weight)
            if number < len(self.names) - 1:
                seed = derived(context.seeds.method, 7, context.number)
                drawn = torch.randn(len(layer.weight), generator=generator(seed, number))
                self.embeddings.add((context.number, number, 0), drawn.to(layer.weight))

    def task_parameters(self, context: TaskContext) -> list[nn.Parameter]:
        """The embeddings of the running task."""
        return [value for (task, _, _), value in self.embeddings.items() if task == context.number]

    def attach(self, optimizers: Sequence[Optimizer]) -> Callable[[], None]:
        """Follow the steps of these optimizers."""
        self._note()
        with ExitStack() as handles:
            handles.callback(self.norms.attach())
            handles.callback(after_steps(optimizers, self._stepped))
            return handles.pop_all().close

    def training_forward(self, network: Forward, inputs: Tensor, context: TaskContext) -> Tensor:
        """Logits of a batch through the masks of the task, as steep as the epoch has come."""
        if int(self.counted_epoch) != context.epoch:
            self.counted_epoch.fill_(context.epoch)
            self.batches.zero_()
        last = max(1, count_of(len(context.part), context.batch_size) - 1)
        progress = min(1.0, int(self.batches) / last)
        self._slope = 1 / self.steepness + (self.steepness - 1 / self.steepness) * progress
        self.batches += 1
        self._masks = self.masks(context.number, self._slope)
        with ExitStack() as handles:
            for layer, mask in zip(self._layers(self.model)[1:], self._masks, strict=True):
                handles.callback(layer.register_forward_pre_hook(_masking(mask)).remove)
            return network(inputs)

    def loss(self, network: Forward, batch: Batch, context: TaskContext) -> tuple[Tensor, Tensor]:
        """Loss of the batch, and the share of free units that the task uses."""
        loss, logits = super().loss(network, batch, context)
        taken = sum((mask * (1 - self.used(number))).sum() for number, mask in enumerate(self._masks))
        free = sum(float((1 - self.used(number)).sum()) for number in range(len(self._masks)))
        return (loss + self.strength * taken / free if free else loss), logits

    @torch.no_grad()
    def on_gradients(self, context: TaskContext) -> None:
        """Undo what annealing makes of the gradients of the embeddings (eq. 5)."""
        for value in self.task_parameters(context):
            if value.grad is not None:
                steep = (self._slope * value).clamp(-STEEPEST, STEEPEST).cosh() + 1
                value.grad.mul_(self.steepness / self._slope * steep / (value.cosh() + 1))

    @torch.no_grad()
    def _stepped(self) -> None:
        for _, value in self.embeddings.items():
            if value.requires_grad:
                value.clamp_(-LARGEST, LARGEST)
        self.norms.hold()
        for number, (layer, (weight, bias)) in enumerate(zip(self._layers(self.model), self._last, strict=True)):
            layer.weight.copy_(torch.lerp(layer.weight, weight, self.kept_share(number, layer)))
            if bias is not None:
                layer.bias.copy_(torch.lerp(layer.bias, bias, self.used(number)))
        self._note()

    def kept_share(self, number: int, layer: Any) -> Tensor:
        """min(u_i, u_j) of each weight of a layer, in a shape that fits its weights."""
        out = self.used(number).view(-1, *[1] * (layer.weight.ndim - 1))
        if not number:
            return out
        return torch.minimum(out, _across(self.used(number - 1), layer.weight.shape[1], layer.weight.ndim))

    def _note(self) -> None:
        """Remember the weights of which the next step keeps its share."""
        self._last = [
            (layer.weight.detach().clone(), None if layer.bias is None else layer.bias.detach().clone())
            for layer in self._layers(self.model)
        ]

    @torch.no_grad()
    def end_task(self, context: TaskContext) -> Outcome:
        """Add what the task uses, and report how much moved of what earlier tasks use, and the units in use."""
        layers, found = self._layers(self.model), {}
        masks = self.masks(context.number, self.steepness)
        outputs = context.outputs.for_training(context.number)
        for number, (name, layer) in enumerate(zip(self.names, layers, strict=True)):
            start, used = getattr(self, f"start_{number}"), self.used(number)
            moved = layer.weight - start
            size = max(float(moved.norm()), float(layer.weight.norm()))
            leak = float((moved * self.kept_share(number, layer)).norm()) / size if size else 0.0
            found[name] = (leak, sum(value.numel() * value.element_size() for value in (start, used)))
        reports = {}
        for number, name in enumerate(self.names):
            used = self.used(number)
            if number < len(masks):
                used.copy_(torch.maximum(used, masks[number]))
            else:
                used[slice(None) if outputs is None else slice(outputs.start, outputs.stop)] = 1
            capacity = Capacity(int((used > 0.5).sum()), len(used))
            reports[name] = Layer(round(found[name][0], 15), capacity, found[name][1])
        return Outcome(reports)

    @torch.no_grad()
    def network(self, model: nn.Module, task: int) -> nn.Module:
        """The network with the masks of a task in its weights."""
        masks = self.masks(task, self.steepness)
        if not masks:
            return model
        copied = copy.deepcopy(model)
        for layer, mask in zip(self._layers(copied)[1:], masks, strict=True):
            layer.weight.mul_(_across(mask, layer.weight.shape[1], layer.weight.ndim))
        return copied

    def validated(self, model: nn.Module, context: TaskContext) -> nn.Module:
        """The network with the masks of the running task: a batch alone puts them on, as steep as it has come."""
        return self.network(model, context.number)

    def kept(self, model: nn.Module, number: int) -> nn.Module:
        """The network as the task that has just ended is tested with."""
        return self.network(model, number)


def _across(values: Tensor, features: int, dimensions: int) -> Tensor:
    """A value of each unit at the inputs of the next layer: of maps that were flattened at each of their places.

    Example:
        >>> _across(torch.tensor([1.0, 2.0]), 4, 2)
        tensor([[1., 1., 2., 2.]])
    """
    return values.repeat_interleave(features // len(values)).view(1, -1, *[1] * (dimensions - 2))


def _masking(mask: Tensor) -> Callable[..., Any]:
    """A hook that multiplies the inputs of a layer by a mask."""

    def hook(layer: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        flat = isinstance(layer, nn.Linear)
        wide = _across(mask, layer.weight.shape[1], 2 if flat else layer.weight.ndim)
        # Linear layers take any number of dimensions before the features.
        return (inputs[0] * (wide[0] if flat else wide), *inputs[1:])

    return hook
