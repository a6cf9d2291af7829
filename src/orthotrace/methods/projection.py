"""What all projection methods share: subspaces under a guard, and an audit of what they hold."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from orthotrace.core.distributed import all_reduce_sum, rank_seed_parts, shard
from orthotrace.core.errors import UserError, checked
from orthotrace.core.seeds import Seeds, derived
from orthotrace.data.batches import Batches
from orthotrace.data.images import Batch, Images
from orthotrace.data.streams import Stream
from orthotrace.methods.audit import InputEnergy
from orthotrace.methods.base import Layer, Method, Outcome
from orthotrace.methods.context import Forward, TaskContext
from orthotrace.methods.memory import Memory, MemoryOptions
from orthotrace.methods.sizes import Energies, FoundRows, RowCounts, sizes
from orthotrace.protection import protectable
from orthotrace.protection.gradient_rule import project_gradients
from orthotrace.protection.guard import Projector, Rule
from orthotrace.protection.layers import weight_matrices
from orthotrace.protection.matrices import Calls
from orthotrace.protection.normalisation import Mode
from orthotrace.subspace import Subspace
from orthotrace.subspace.counts import PLASTICITY, none_unused


class ProjectionMethod(Method):
    """A subspace for each layer, under one guard that projects what the optimizer applied.

    In the task-incremental scenario the network has outputs for each task: those of the task that is trained are
    free, and those of the others are held.

    Args:
        patches: drawn from the inputs of a convolution, of each batch that is looked at; None for all.
        rule: "applied", or "gradient" as in the papers, see Projector.
        normalisation: "frozen" after the first task, or one for each "task", see Normalisation.
        audit: compare what is held with the exact principal directions, over all training images of a task. Costs
            one pass, and a matrix of width x width for each layer.
        memory: images to replay beside the projection; of size 0 for none.
        hold: share of the component in the rows held that is taken, in [0, 1]. 1 is the method; 0 takes nothing, so
            that layers learn as in plain training; between them the projection is soft, of each step, and leaks. Above
            0 a bias is held whole; normalisation always is.

    Raises:
        UserError: at setup, a subspace that pays no heed to hold, a layer that is never called, normalisation by task
            where nothing says the task, or a memory smaller than the number of classes.

    Attributes:
        watches: whether the subspaces observe the batches of training.
        start_epoch: of each task, from 1: from which epoch on they do.
        more: how to hold more, for whom nothing is held.
        reads_gradients: whether it looks at gradients while a task is trained, so that these must be those of the loss;
            each class says so for itself.
    """

    guard: Projector
    watches: bool = False
    start_epoch: int = 1
    more: str = "let its subspaces hold more"
    reads_gradients: bool = True

    @checked
    def __init__(
        self,
        patches: Annotated[int, Field(ge=1)] | None = 4096,
        rule: Rule = "applied",
        normalisation: Mode = "frozen",
        audit: bool = True,
        memory: MemoryOptions = MemoryOptions(),  # noqa: B008 (immutable)
        hold: Annotated[float, Field(ge=0, le=1)] = 1.0,
    ) -> None:
        super().__init__()
        self.hold = hold
        self.memory_options = memory
        self.memory: Memory | None = None
        self.patches = patches
        self.rule: Rule = rule
        self.normalisation: Mode = normalisation
        self.audit = audit

    @abstractmethod
    def subspace(self, features: int, seed: int, **options: Any) -> Subspace:
        """Make the subspace of a layer; options are those of options, and the type."""

    def options(self, labels: Mapping[str, str], seeds: Seeds) -> dict[str, dict[str, Any]]:
        """Options of each subspace, by label.

        Args:
            labels: label -> name of its layer.
            seeds: of the run.
        """
        return {label: {} for label in labels}

    def setup(self, model: nn.Module, seeds: Seeds, stream: Stream) -> None:
        """Make the subspaces."""
        super().setup(model, seeds, stream)
        self.memory = Memory.of(self.memory_options, model, seeds, stream)
        if self.normalisation == "task" and stream.scenario != "task":
            raise UserError(
                f"in the {stream.scenario}-incremental scenario nothing tells which task's to take: take frozen",
                "normalisation",
            )
        layers = protectable(model)
        head = output_layer(layers, stream.active.outputs) if stream.scenario == "task" else None
        labels = {
            part.label: name for name, layer in layers.items() if name != head for part in weight_matrices(name, layer)
        }
        options = self.options(labels, seeds)
        self.guard = Projector(
            model,
            {
                label: partial(self._made, label, derived(seeds.method, number), options[label])
                for number, label in enumerate(labels)
            },
            head=head,
            rule=self.rule,
            patches=self.patches,
            seed=derived(seeds.method, 4),
            normalisation=self.normalisation,
            tasks=stream.distinct,
        )
        self.distinct = stream.distinct
        self._look(model, stream)

    def _made(self, label: str, seed: int, options: Mapping[str, Any], features: int, **rest: Any) -> Subspace:
        # Subspaces of users' own need not know what nobody asks for.
        share = {} if self.hold == 1 else {"hold": self.hold}
        try:
            space = self.subspace(features, seed, **options, **share, **rest)
        except UserError as error:
            raise UserError(f"layer '{label}': {error.message}", error.key) from error
        if not isinstance(space, Subspace):
            raise UserError(f"{type(self).__name__}.subspace must return a Subspace (got {type(space).__name__})")
        if self.hold < 1 and (space.removes != self.hold or type(space).inside is not Subspace.inside):
            raise UserError(
                f"{type(space).__name__} pays no heed to it: hand the options of {type(self).__name__}.subspace on to "
                "it, and let it override component, not inside",
                "hold",
            )
        return space

    def _look(self, model: nn.Module, stream: Stream) -> None:
        """A layer that is never called would be found out at the end of the first task, which may take a day."""
        like = next(model.parameters())
        training = model.training
        model.eval()
        images = stream.test(0).inputs(torch.arange(2), like)
        self.guard.look(lambda: model(images))
        model.train(training)

    def enter(self, context: TaskContext) -> None:
        """The outputs of this task are free."""
        self.guard.enter(context.number, context.outputs.for_training(context.number))

    def begin_task(self, context: TaskContext) -> None:
        """Remember the weights, make the subspaces ready."""
        if self.normalisation == "task" and context.number >= self.distinct:
            self.guard.norms.put(self.model, context.number % self.distinct)
        self.guard.begin()

    def attach(self, optimizers: Sequence[Optimizer]) -> Callable[[], None]:
        """Project what these optimizers apply."""
        return self.guard.attach(*optimizers)

    def project_inputs(self) -> Callable[[], None]:
        """Of wide layers, where nothing reads gradients."""
        # A class derived from one that reads none may read some.
        read = vars(type(self)).get("reads_gradients", True)
        return super().project_inputs() if read else self.guard.project_inputs()

    def loss(self, network: Forward, batch: Batch, context: TaskContext) -> tuple[Tensor, Tensor]:
        """Loss of the batch, and of one of the memory where there is one, half each."""
        with self.guard.projecting_inputs():
            loss, logits = super().loss(network, batch, context)
            if self.memory is not None:
                loss = self.memory.mixed_loss(loss, logits, network, batch, context)
        return loss, logits

    def training_forward(self, network: Forward, inputs: Tensor, context: TaskContext) -> Tensor:
        """Logits of a batch, whose layer inputs the subspaces observe where they do so."""
        if not self.watches or context.epoch + 1 < self.start_epoch:
            return network(inputs)
        with self.guard.watching() as seen:
            logits = network(inputs)
        self.guard.observe(seen)
        return logits

    def on_step(self, context: TaskContext) -> None:
        """Project the gradients, where that is the rule."""
        if self.rule == "gradient":
            project_gradients(self.guard)

    def weights_written(self) -> None:
        """What an average rounds must not stay in the rows held."""
        self.guard.settle()

    def learn(self, context: TaskContext) -> None:
        """Show the subspaces what they still need of a task that has ended."""

    def end_task(self, context: TaskContext) -> Outcome:
        """Consolidate, and report leak, capacity and captured energy."""
        self.guard.norms.keep(self.model, context.number % self.distinct)
        leaks = self.guard.leaks()
        self.learn(context)
        all_reduce_sum(shown := self.guard.shown.clone())
        if not int(shown):
            raise UserError(
                f"{type(self).__name__} showed its subspaces nothing of task {context.number + 1}: let learn call "
                "self.guard.observe, or set watches = True",
                "method",
            )
        frozen = {label: space.held() for label, space in self.guard.subspaces.items()}
        self.guard.consolidate()
        spaces = self.guard.subspaces.values()
        if any(space.holds_constant for space in spaces) and not any(space.rank for space in spaces):
            warnings.warn(
                f"{type(self).__name__} holds no direction of any layer after task {context.number + 1}: {self.more}",
                stacklevel=2,
            )
        shares = self._shares(context, frozen) if self.audit else {}
        return Outcome(
            {
                label: Layer(leaks[label], space.capacity, self.guard.memory_bytes(label), *shares.get(label, ()))
                for label, space in self.guard.subspaces.items()
            }
        )

    def network(self, model: nn.Module, task: int) -> nn.Module:
        """The network that is tested on a task: with its own normalisation, where each task has one."""
        return self.guard.norms.of(model, task % self.distinct)

    def inputs(
        self, context: TaskContext, part: Images | None = None, draw: int = 5, size: int = 512
    ) -> Iterator[Calls]:
        """Inputs of the protected layers, batch by batch, without gradients.

        Args:
            context: of the task.
            part: whose images; None for the training images of the task.
            draw: number of the draw of patches: an audit draws for itself, so that it changes nothing.
            size: images at once.
        """
        images = context.part if part is None else part
        for index, (batch, _) in enumerate(images.split(size, next(self.model.parameters()))):
            seed = derived(context.seeds.method, draw, context.number, index, *rank_seed_parts())
            with torch.no_grad(), self.guard.taps.watching(seed) as inputs:
                self.model(batch)
            yield inputs

    def batches(self, context: TaskContext) -> Batches:
        """The training images of a task once more, in batches of the size of training."""
        seed, like = derived(context.seeds.method, 1), next(self.model.parameters())
        return Batches(context.part, context.batch_size, seed, context.number, like=like)

    def _shares(self, context: TaskContext, frozen: Mapping[str, Tensor]) -> dict[str, Any]:
        """Captured and exact share of the energy of each layer's inputs."""
        spaces = self.guard.subspaces
        energies = {label: InputEnergy() for label in spaces}
        for inputs in self.inputs(context, own_share(context.part), draw=6):
            for part in self.guard.parts:
                rows = spaces[part.label].taken(part.rows(inputs))
                energies[part.label].add(rows)
        shares: dict[str, Any] = {}
        for label, space in spaces.items():
            before = frozen[label] if space.nested else frozen[label][:0]
            if (found := energies.pop(label).shares(before, space.held())) is not None:
                captured, exact = found
                shares[label] = (captured, exact if space.nested else None)
        return shares


def own_share(part: Images) -> Images:
    """The images that this process looks at, in a distributed run."""
    return part.take(shard(torch.arange(len(part), device=part.labels.device)))


class CountedProjection(ProjectionMethod):
    """A projection method whose layers hold so many directions of each task.

    Args:
        energy: share of the energy of a layer's inputs to hold, in (0, 1]: one, one for each layer, or by name.
        growth: added to the energy with each task, up to 1; at least 0.
        rows: or a fixed number of rows for each task: one, one for each layer, or by name (there also over tasks).
        rows_from: or the rows that another run found, see orthotrace.results.found_rows.
        rank: or "optimum", in place of the energy: of each layer the number that weighs forgetting against learning,
            see orthotrace.subspace.counts.optimum_count.
        plasticity: of the optimum, above 0; the larger, the fewer are held.
        **options: as for ProjectionMethod.

    Raises:
        UserError: rank beside rows; growth beside either; plasticity without rank; see sizes, and ProjectionMethod.
    """

    more = "a higher energy, more rows or a smaller plasticity hold more"

    @checked
    def __init__(
        self,
        energy: Energies | None = 0.97,
        growth: Annotated[float, Field(ge=0)] = 0.0,
        rows: RowCounts | None = None,
        rows_from: FoundRows | None = None,
        rank: Literal["optimum"] | None = None,
        plasticity: Annotated[float, Field(gt=0)] = PLASTICITY,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        counted = rows is not None or rows_from is not None
        if rank is not None and counted:
            raise UserError("give rank or rows, not both", "rank")
        none_unused(counted, rank is not None, growth, plasticity)
        self.rank = rank
        self.plasticity = plasticity
        self.energy = energy
        self.growth = growth
        self.rows = rows
        self.rows_from = rows_from

    def options(self, labels: Mapping[str, str], seeds: Seeds) -> dict[str, dict[str, Any]]:
        """Energy, rows or optimum of each subspace, by label."""
        if self.rank is not None:
            return {label: {"rank": self.rank, "plasticity": self.plasticity} for label in labels}
        found = sizes(labels, self.energy, self.rows, self.rows_from)
        return {label: {"growth": self.growth, **of} for label, of in found.items()}


def output_layer(layers: Mapping[str, nn.Module], outputs: int) -> str:
    """The name of the layer that gives a network's outputs: the last Linear layer with so many.

    Where there is none, as in an all-convolutional network, a last convolution with so many maps.

    Raises:
        UserError: there is none.
    """
    found = [name for name, layer in layers.items() if isinstance(layer, nn.Linear) and layer.out_features == outputs]
    last = list(layers)[-1] if layers else None
    if not found and last is not None and isinstance(layers[last], nn.Conv2d) and layers[last].out_channels == outputs:
        found = [last]
    if not found:
        raise UserError(
            f"no Linear layer has {outputs} outputs: the heads of a task-incremental stream cannot be told from the "
            "rest of the model"
        )
    return found[-1]
