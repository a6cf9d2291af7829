"""What methods share that train low-rank adapters within the directions that no earlier task uses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Annotated, Any, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from orthotrace.core.distributed import rank_seed_parts, shard
from orthotrace.core.errors import UserError, checked
from orthotrace.core.seeds import Seeds, derived, generator
from orthotrace.data.streams import Stream
from orthotrace.layers.lora import Adapter, adapters
from orthotrace.layers.normalisation import drifts
from orthotrace.layers.spiking import SpikingNetwork
from orthotrace.linalg import leak
from orthotrace.methods.base import Layer, Method, Outcome
from orthotrace.methods.context import TaskContext
from orthotrace.protection.attention import BLOCKS
from orthotrace.protection.guard import Projector
from orthotrace.protection.layers import weight_matrices
from orthotrace.protection.matrices import Calls, WeightMatrix
from orthotrace.protection.taps import Taps
from orthotrace.subspace import SvdSubspace
from orthotrace.subspace.base import Threshold


class AdapterMethod(Method):
    """Adapters W + s m B A whose A lies outside the rows that a subspace holds, so that dW x = 0 for what they span.

    This needs no projection of steps: whatever an optimizer does to B, the update stays in the free directions. At the
    end of a task the update is added to the weight, the subspaces take up the task's inputs, and the next task begins
    with a new A. Everything but adapters and readout is frozen. In the task-incremental scenario outputs of other tasks
    are held; in the others the readout is protected as gpm protects it.

    Args:
        energy: share of the energy of a weight's inputs to hold, in (0, 1].
        growth: added to the energy with each task, up to 1; at least 0.
        samples: training images drawn at the begin and at the end of each task, at least 1.

    Raises:
        UserError: at setup, a network without adapters, with running statistics, or of which more is trained than
            adapters and readout; when a task begins, a weight that has fewer free directions than its adapter needs.
    """

    trained: tuple[str, ...] = ("up",)
    # By which option fewer directions are held.
    less = "lower method.energy"

    @checked
    def __init__(
        self,
        energy: Threshold = 0.95,
        growth: Annotated[float, Field(ge=0)] = 0.005,
        samples: Annotated[int, Field(ge=1)] = 300,
    ) -> None:
        super().__init__()
        self.energy = energy
        self.growth = growth
        self.samples = samples

    @abstractmethod
    def design(self, adapter: Adapter, space: SvdSubspace, rows: Tensor, draw: torch.Generator) -> None:
        """Begin a task: the adapter's A, within the free directions.

        Args:
            adapter: at zero.
            space: of its weight's inputs.
            rows: inputs of the task to come, (n, features).
            draw: for what is drawn.
        """

    def subspace(self, features: int, **options: Any) -> SvdSubspace:
        """The subspace of a weight's inputs."""
        return SvdSubspace(features, energy=self.energy, growth=self.growth, **options)

    def setup(self, model: nn.Module, seeds: Seeds, stream: Stream) -> None:
        """Make the subspaces."""
        super().setup(model, seeds, stream)
        self.adapters = adapters(model)
        if not self.adapters:
            raise UserError(f"{type(self).__name__} trains adapters, and the network has none: choose weights=lora")
        for name, module in model.named_modules():
            if drifts(module) and any(True for _ in module.buffers()):
                raise UserError(
                    f"layer '{name}' keeps running statistics, which move beside the adapters: take a network without "
                    "(vit, mlp), or another method"
                )
        for adapter in self.adapters:
            adapter.low_rank.train_only(*self.trained)
        layers = _called(model, self.adapters)
        matrices = [part for name, layer in layers.items() for part in weight_matrices(name, layer)]
        # An attention has one weight, and one adapter, for queries, keys and values.
        self._parts: list[list[WeightMatrix]] = [
            [part for part in matrices if part.layer is one.layer and part.weight_name == one.weight]
            for one in self.adapters
        ]
        # A spiking network says itself what its layers learn from.
        observed = model.observed if isinstance(model, SpikingNetwork) else None
        self.taps = Taps(layers, observed=observed, blocks=[one for one in model.modules() if type(one) in BLOCKS])
        self.spaces = nn.ModuleList(
            # Statistics and projections need float32 at least.
            self.subspace(one.base.shape[1], dtype=torch.promote_types(one.base.dtype, torch.float32))
            .named(f"the weight '{one.label}': ")
            .to(one.base.device)
            for one in self.adapters
        )
        self.readout_name, readout = _readout(model)
        _refuse_others(model, self.adapters, readout)
        heads = stream.scenario == "task"
        self.readout = (
            None
            if readout is None
            else Projector(
                readout,
                {} if heads else {"": partial(SvdSubspace, energy=self.energy, growth=self.growth)},
                head="" if heads else None,
            )
        )

    @property
    def pairs(self) -> list[tuple[Adapter, SvdSubspace]]:
        """Adapters with their subspaces."""
        return list(zip(self.adapters, cast(Any, self.spaces), strict=True))

    def enter(self, context: TaskContext) -> None:
        """The outputs of this task are free."""
        if self.readout is not None:
            self.readout.enter(context.number, context.outputs.for_training(context.number))

    def begin_task(self, context: TaskContext) -> None:
        """Make the adapters of the task."""
        if self.readout is not None:
            self.readout.begin()
        rows = [torch.cat(of) for of in zip(*self._rows(context, draw=2), strict=True)]
        for number, (adapter, space) in enumerate(self.pairs):
            rank = len(adapter.low_rank.down)
            if space.free < rank:
                raise UserError(
                    f"the adapter of '{adapter.label}' needs {rank} free directions, and {space.free} of "
                    f"{space.features} are left after {context.number} tasks: lower model.weights.rank, or "
                    f"{self.less}"
                )
            self.design(adapter, space, rows[number], generator(context.seeds.method, 3, context.number, number))

    def attach(self, optimizers: Sequence[Optimizer]) -> Callable[[], None]:
        """The readout is protected after every step."""
        return (lambda: None) if self.readout is None else self.readout.attach(*optimizers)

    def weights_written(self) -> None:
        """What an average rounds must not stay in what is held of the readout."""
        if self.readout is not None:
            self.readout.settle()

    def end_task(self, context: TaskContext) -> Outcome:
        """Add the updates to the weights, and hold what the task uses."""
        leaks = [
            leak(adapter.low_rank.update().detach().double(), space.held().double(), adapter.base.double())
            for adapter, space in self.pairs
        ]
        for adapter in self.adapters:
            adapter.merge()
        for rows in self._rows(context, draw=1, readout=True):
            for (_, space), of in zip(self.pairs, rows, strict=True):
                space.observe(of)
        found = {}
        for (adapter, space), size in zip(self.pairs, leaks, strict=True):
            try:
                space.consolidate()
            except ValueError as error:
                raise UserError(f"the weight '{adapter.label}': {error}") from error
            held = sum(value.nbytes for value in space.state_dict().values())
            found[adapter.label] = Layer(size, space.capacity, held)
        if self.readout is not None:
            of_readout = self.readout.leaks()
            self.readout.consolidate()
            for label, space in self.readout.subspaces.items():
                found[self.readout_name] = Layer(of_readout[label], space.capacity, self.readout.memory_bytes(label))
        return Outcome(found)

    def _rows(self, context: TaskContext, draw: int, readout: bool = False) -> Iterator[list[Tensor]]:
        """Of random training images of the task, batch by batch, the inputs of each adapter's weight."""
        part = context.part
        order = torch.randperm(len(part), generator=generator(context.seeds.method, draw, context.number))
        sample = part.take(shard(order[: self.samples]).to(part.labels.device))
        for index, (batch, _) in enumerate(sample.split(512, next(self.model.parameters()))):
            seed = derived(context.seeds.method, 5, context.number, index, *rank_seed_parts())
            training = self.model.training
            self.model.eval()
            with torch.no_grad(), self.taps.watching(seed) as inputs:
                if readout and self.readout is not None:
                    with self.readout.watching() as own:
                        self.model(batch)
                    self.readout.observe(own)
                else:
                    self.model(batch)
            self.model.train(training)
            yield [_joined(parts, inputs) for parts in self._parts]


def _joined(parts: Sequence[WeightMatrix], inputs: Calls) -> Tensor:
    return torch.cat([part.rows(inputs) for part in parts])


def _called(model: nn.Module, found: Sequence[Adapter]) -> dict[str, nn.Module]:
    """The layers that are called with what the weights are multiplied with, by name."""
    layers: dict[str, nn.Module] = {}
    for one in found:
        owner, _, last = one.name.rpartition(".")
        # An attention uses the weight of its last product, and does not call it.
        inner = last == "out_proj" and isinstance(model.get_submodule(owner), nn.MultiheadAttention)
        name = owner if inner else one.name
        layers[name] = model.get_submodule(name)
    return layers


def _readout(model: nn.Module) -> tuple[str, nn.Linear | None]:
    """The last Linear layer that is trained itself, if there is one."""
    found = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and any(value.requires_grad for value in module.parameters(recurse=False))
    ]
    return found[-1] if found else ("", None)


def _refuse_others(model: nn.Module, found: Sequence[Adapter], readout: nn.Module | None) -> None:
    """Whatever else is trained would change what the network does, and nothing would hold it."""
    owners = [*(one.low_rank for one in found), *([] if readout is None else [readout])]
    known = {id(value) for owner in owners for value in owner.parameters()}
    for name, value in model.named_parameters():
        if value.requires_grad and id(value) not in known:
            raise UserError(
                f"the parameter {name} is trained beside the adapters, and nothing protects it: freeze it "
                "(requires_grad_(False)), or use another method"
            )
