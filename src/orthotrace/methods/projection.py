"""What all projection methods share: subspaces under a guard, and an audit of what they hold."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from orthotrace.data.images import Images
from orthotrace.data.streams import Stream
from orthotrace.errors import UserError, checked
from orthotrace.linalg import energy_shares
from orthotrace.methods.base import Layer, Outcome
from orthotrace.methods.memory import MemoryOptions
from orthotrace.methods.replay import Replay
from orthotrace.methods.sizes import Energies, RowCounts, sizes
from orthotrace.protection import Guard, protectable
from orthotrace.seeds import Seeds, derived
from orthotrace.subspace import Subspace


class ProjectionMethod(Replay):
    """A subspace for each layer, under one guard that projects what the optimizer applied.

    In the task-incremental scenario the readout has outputs for each task: those of the task that is trained are
    free, and those of the others are held.

    Args:
        energy: share of the energy of a layer's inputs to hold, in (0, 1]: one, one for each layer, or by name.
        rows: or a fixed number of rows for each task: one, one for each layer, or by name (there also over tasks).
        rows_from: or the rows that another run found: its folder, or a folder with one run of the same seeds.
        audit: compare what is held with the exact principal directions, over all training images of a task. Costs
            one pass, and a matrix of width x width for each layer.
        memory: images to replay beside the projection; of size 0 for none.

    Raises:
        UserError: see sizes.
    """

    guard: Guard

    @checked
    def __init__(
        self,
        energy: Energies | None = None,
        rows: RowCounts | None = None,
        rows_from: str | None = None,
        audit: bool = True,
        memory: MemoryOptions = MemoryOptions(),  # noqa: B008 (immutable)
    ) -> None:
        super().__init__(memory)
        self.energy = energy
        self.rows = rows
        self.rows_from = rows_from
        self.audit = audit

    @abstractmethod
    def subspace(self, features: int, seed: int, **options: Any) -> Subspace:
        """Make the subspace of a layer; options are those of Subspace."""

    def setup(self, model: nn.Module, seeds: Seeds, stream: Stream) -> None:
        """Make the subspaces."""
        super().setup(model, seeds, stream)
        layers = protectable(model)
        head = readout_layer(layers, self.readout.outputs) if stream.scenario == "task" else None
        names = [name for name in layers if name != head]
        options = sizes(names, self.energy, self.rows, self.rows_from, seeds)

        def maker(number: int, name: str) -> Callable[..., Subspace]:
            def make(features: int, **rest: Any) -> Subspace:
                try:
                    return self.subspace(features, derived(seeds.method, number), **options[name], **rest)
                except UserError as error:
                    raise UserError(f"layer '{name}': {error.message}", error.key) from error

            return make

        self.guard = Guard(model, {name: maker(number, name) for number, name in enumerate(names)}, head=head)

    def enter(self, number: int, part: Images) -> None:
        """The outputs of this task are free."""
        super().enter(number, part)
        self.guard.outputs = self.readout.trained(number)

    def begin_task(self) -> None:
        """Remember the weights, make the subspaces ready."""
        self.guard.begin()

    def attach(self, optimizers: Sequence[Optimizer]) -> Callable[[], None]:
        """Project what these optimizers apply."""
        return self.guard.attach(*optimizers)

    def learn(self, model: nn.Module, train: Images, batch_size: int) -> None:
        """Show the subspaces what they still need of a task that has ended."""

    def end_task(self, model: nn.Module, train: Images, batch_size: int) -> Outcome:
        """Consolidate, and tell leak, capacity and captured energy."""
        leaks = self.guard.leaks()
        self.learn(model, train, batch_size)
        frozen = {name: space.basis for name, space in self.guard.subspaces.items()}
        self.guard.consolidate()
        shares = self._shares(model, train, frozen) if self.audit else {}
        return Outcome(
            {
                name: Layer(leaks[name], space.capacity, *shares.get(name, ()))
                for name, space in self.guard.subspaces.items()
            }
        )

    def inputs(self, model: nn.Module, part: Images, size: int = 512) -> Iterator[Mapping[str, list[Tensor]]]:
        """Inputs of the protected layers, batch by batch, without gradients."""
        for batch, _ in part.split(size, next(model.parameters())):
            with torch.no_grad(), self.guard.taps.watching() as inputs:
                model(batch)
            yield inputs

    def _shares(self, model: nn.Module, train: Images, frozen: Mapping[str, Tensor]) -> dict[str, tuple[float, float]]:
        """Captured and exact share of the energy of each layer's inputs."""
        spaces = self.guard.subspaces
        moments = {name: torch.zeros(space.features, space.features).double() for name, space in spaces.items()}
        for inputs in self.inputs(model, train):
            for name, space in spaces.items():
                rows = space.taken(torch.cat(inputs[name]))
                # The sum over batches in float64; the products of one batch need no more than float32.
                moments[name] = moments[name].to(rows.device) + rows.T @ rows
        shares = {}
        for name, space in spaces.items():
            held = len(frozen[name])
            if moments[name].any():
                shares[name] = energy_shares(moments[name], frozen[name].double(), space.basis[held:].double())
        return shares


def readout_layer(layers: Mapping[str, nn.Module], outputs: int) -> str:
    """The name of the layer that gives a network's outputs: the last Linear layer with so many.

    Raises:
        UserError: there is none.
    """
    found = [name for name, layer in layers.items() if isinstance(layer, nn.Linear) and layer.out_features == outputs]
    if not found:
        raise UserError(
            f"no Linear layer has {outputs} outputs: the heads of a task-incremental stream cannot be told from the "
            "rest of the model"
        )
    return found[-1]
