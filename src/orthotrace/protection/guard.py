"""Projects what an optimizer applied, so that protection is exact under any optimizer."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from orthotrace.core.errors import UserError, nearest
from orthotrace.core.seeds import derived
from orthotrace.layers.spiking import SpikingNetwork
from orthotrace.linalg import leak
from orthotrace.protection import checks
from orthotrace.protection.head import Head
from orthotrace.protection.layers import WeightMatrix, protectable, weight_matrices
from orthotrace.protection.normalisation import Mode, Normalisation
from orthotrace.protection.taps import Taps
from orthotrace.subspace.base import Subspace

Rule = Literal["applied", "gradient"]
# Above what float32 leaves of a protected component over a task.
LEAK = 1e-4
# What optimizers keep that has the direction of a step.
DIRECTIONS = ("momentum_buffer", "exp_avg", "prev")


class Projector(nn.Module):
    """Keeps the weights of layers from moving along the rows that their subspaces hold.

    After every step of the optimizer the component of W - W0 in the rows held is taken from W, with W0 the weight at
    the task's start. This is exact whatever the optimizer did (momentum, adaptive rates, weight decay, clipping), and
    what rounding leaves is taken at the next step instead of adding up. A subspace with a soft projection (SGP, OWM)
    takes a share of each step instead. Where nothing is held, nothing is done.

    The rule "gradient" projects the gradient, as the papers do: exact for plain SGD, and for momentum with a fresh
    buffer, but not under weight decay, adaptive rates or clipping by value. The leak is measured, with a warning.

    A convolution is protected in its weight, as the matrix that is multiplied with its patches, with a subspace for
    each group. A bias is the weight of a constant input, which is the same in every sample of every task. Its direction
    is held as soon as a layer holds anything, and counts for no threshold: it hides none of the data's own directions,
    and the bias stays as it was learned. (Appending the constant to the rows, scaled to their size, and letting its
    direction be learned like theirs leaves a part of it free, which moves most when the scales of inputs and biases
    differ; see the table in docs/decisions.md.)

    Statistics and affine of normalisation layers are frozen after the first task, see Normalisation.

    Args, Raises: as for Guard, see plain_loop.

    Attributes:
        layers: the protected layers by name.
        parts: their matrices, one of each layer, or of each group of a convolution.
        labels: of the matrices.
        subspaces: of each matrix, by label.

    Example:
        >>> from orthotrace.subspace import SvdSubspace
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> projector = Projector(layer, SvdSubspace, rows=1)
        >>> with projector.watching() as inputs:
        ...     _ = layer(torch.tensor([[3.0, 0.0]]))
        >>> projector.observe(inputs)
        >>> projector.consolidate()
        >>> projector.begin()
        >>> _ = nn.init.ones_(layer.weight)
        >>> projector.enforce()
        >>> projector.update("")[:, 0].abs() < 1e-6
        tensor([True])
    """

    watched: Tensor
    started: Tensor
    shown: Tensor

    def __init__(
        self,
        model: nn.Module,
        subspace: Callable[..., Subspace] | Mapping[str, Callable[..., Subspace]],
        head: str | None = None,
        rule: Rule = "applied",
        patches: int | None = None,
        seed: int = 0,
        normalisation: Mode = "frozen",
        tasks: int = 0,
        **options: Any,
    ) -> None:
        super().__init__()
        if rule not in get_args(Rule):
            raise UserError(f"applied or gradient (got {rule!r})", "rule")
        if isinstance(subspace, nn.Module):
            raise UserError(
                "give the class, such as Guard(model, SvdSubspace, energy=0.97), not an instance", "subspace"
            )
        checks.one_value_for_all(options)
        # In plain containers: model and layers are not part of the projector's state.
        self._model = (model,)
        self.layers = protectable(model)
        if head is not None and not isinstance(self.layers.get(head), (nn.Linear, nn.Conv2d)):
            raise UserError(f"there is no Linear or Conv2d layer '{head}'; {nearest(head, self.layers)}", "head")
        self.head_name = head or ""
        self.head = None if head is None else Head(self.layers.pop(head))
        self._outputs: range | None = None
        self.parts = [part for name, layer in self.layers.items() for part in weight_matrices(name, layer)]
        self.rule: Rule = rule
        self.seed = seed
        # A spiking network says itself what its layers learn from.
        self.taps = Taps(self.layers, patches, model.observed if isinstance(model, SpikingNetwork) else None)
        self.labels = [part.label for part in self.parts]
        makers = subspace if isinstance(subspace, Mapping) else dict.fromkeys(self.labels, subspace)
        checks.one_for_each(makers, self.labels)
        self._spaces = nn.ModuleList()
        for number, part in enumerate(self.parts):
            # Statistics and projections need float32 at least.
            dtype = torch.promote_types(part.weight.dtype, torch.float32)
            space = makers[part.label](part.features, dtype=dtype, **options)
            self._spaces.append(space.named(f"layer '{part.label}': ").to(part.weight.device))
            self.register_buffer(f"start_{number}", part.joined())
        self.subspaces: dict[str, Any] = dict(zip(self.labels, self._spaces, strict=True))
        self._pairs: list[tuple[WeightMatrix, Any]] = list(zip(self.parts, self._spaces, strict=True))
        self.norms = Normalisation(model, normalisation, tasks)
        device = next(iter(model.parameters())).device
        # Forward passes watched, tasks started, and batches of the running task that the subspaces observed.
        for name in ("watched", "started", "shown"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64, device=device))
        # Of each matrix of a soft projection, what it was after the last step.
        self._last: list[Any] = [None] * len(self.parts)
        self._steps: list[Any] | None = None
        # Whether a task has ended before the one that is trained.
        self._later = False

    @property
    def outputs(self) -> range | None:
        """The active outputs of the head, such as ``range(2, 4)``; None for all."""
        return self._outputs

    @outputs.setter
    def outputs(self, outputs: range | None) -> None:
        if self.head is not None:
            self._outputs = self.head.checked(outputs)

    def start(self, number: int) -> Tensor:
        """A matrix at the task's start, by its place, with the biases as its last column if there are any."""
        return getattr(self, f"start_{number}")

    def update(self, label: str) -> Tensor:
        """What a matrix, with the biases as its last column, has moved since the task's start."""
        number = self.labels.index(label)
        return self.parts[number].joined() - self.start(number)

    @torch.no_grad()
    def begin(self) -> None:
        """Start a task: remember the weights, let the subspaces make ready.

        Raises:
            UserError: the model is no longer the one that the guard was made for.
        """
        heads = {} if self.head is None else {self.head_name: self.head.layer}
        checks.same_layers(protectable(self._model[0]), self.layers | heads)
        for number, (part, space) in enumerate(self._pairs):
            self.start(number).copy_(part.joined())
            space.begin()
        if self.head is not None:
            self.head.begin()
        self._note()
        self.started += 1

    def enter(self, number: int, outputs: range | None = None) -> None:
        """A task is about to be trained, or to be continued.

        Args:
            number: of the task, from 0.
            outputs: the active ones of the head; None for all.

        Raises:
            UserError: no such outputs.
        """
        self.outputs = outputs
        self.norms.enter(number)

    @torch.no_grad()
    def enforce(self, *hook: object) -> None:
        """A step was applied: take back what moved along the rows held (a hook's arguments are not needed)."""
        self._project(whole=False)

    @torch.no_grad()
    def settle(self) -> None:
        """Something else has written the weights, such as an average: take back what exact projections hold."""
        self._project(whole=True)
        # For a soft projection it was no step.
        self._note()

    def _project(self, whole: bool) -> None:
        device = self.watched.device.type
        if torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                self._project(whole)
            return
        if self.head is not None:
            self.head.hold(self._outputs)
        if self.norms.held:
            self.norms.hold()
        if self.rule == "gradient":
            return
        # In every step, so by the shortest way.
        for weight, bias, outputs, before, constant, space in self._steps or self._moving():
            if whole and not space.exact:
                continue
            if outputs is None:
                weight.sub_(space.inside(weight - before))
            else:
                weight = weight[outputs]
                weight.sub_(space.inside(weight.flatten(1) - before).view_as(weight))
            if bias is not None:
                bias.copy_(constant)
            if not space.exact:
                before.copy_(weight.flatten(1))

    def _moving(self) -> list[Any]:
        """What a step needs of each matrix with rows held; kept once all have some, until a task begins or ends."""
        found = []
        for number, (part, space) in enumerate(self._pairs):
            start, weight, bias = self.start(number), part.layer.weight, part.bias
            if space.active:
                outputs = None if weight.ndim == 2 else part.outputs
                before = start[:, : part.features] if space.exact else self._last[number]
                found.append((weight, bias, outputs, before, start[:, -1], space))
            elif self._later and space.holds_constant and bias is not None:
                bias.copy_(start[:, -1])
        self._steps = found if len(found) == len(self.parts) else None
        return found

    def _note(self) -> None:
        """Remember the weights of which a soft projection takes its share of the next step."""
        self._last = [None if space.exact else part.weight.clone() for part, space in self._pairs]
        self._steps = None

    @torch.no_grad()
    def project_gradients(self) -> None:
        """The rule "gradient": take the component in the rows held from each gradient."""
        for part, space in self._pairs:
            weight, bias = part.layer.weight.grad, None if part.layer.bias is None else part.layer.bias.grad
            part.project_out(space, weight, bias if self._constant(space) else None)

    @torch.no_grad()
    def project_moments(self, *optimizers: Optimizer) -> None:
        """The rule "gradient": what an optimizer carries over from an earlier task must not undo it."""
        for optimizer in optimizers:
            for part, space in self._pairs:
                weight, bias = (optimizer.state.get(value, {}) for value in (part.layer.weight, part.layer.bias))
                for name in DIRECTIONS:
                    part.project_out(space, weight.get(name), bias.get(name) if self._constant(space) else None)

    def attach(self, *optimizers: Optimizer) -> Callable[..., None]:
        """Enforce after every step of the optimizers.

        Returns:
            A function that ends it, and checks that the steps were seen, unless it is called with check=False.

        Raises:
            UserError: an optimizer has no hooks; at the end, none of them ever called the guard though weights moved.
        """
        handles = []
        for optimizer in optimizers:
            checks.has_hooks(optimizer)
            handles.append(optimizer.register_step_post_hook(self.enforce))
        if self.rule == "gradient":
            self.project_moments(*optimizers)
        self._note()
        self._later = int(self.started) > 1
        thaw = self.norms.attach()

        def detach(check: bool = True) -> None:
            for handle in handles:
                handle.remove()
            thaw()
            if check:
                self._check(", ".join(type(optimizer).__name__ for optimizer in optimizers))

        return detach

    def _check(self, optimizers: str) -> None:
        """Never a silent loss of protection."""
        if not all(part.weight.isfinite().all() for part in self.parts):
            # Training has diverged: that is what is to be reported.
            return
        leaks = self.leaks([label for label, space in self.subspaces.items() if space.exact])
        if self.rule == "applied":
            # Soft projections leak by definition; what counts is a step that they did not see.
            for (part, space), last in zip(self._pairs, self._last, strict=True):
                if last is not None and space.active:
                    leaks[part.label] = float((part.weight - last).norm() / part.weight.norm().clamp_min(1e-30))
        if self.rule == "applied" and self.head is not None and self.head.moved(self._outputs):
            leaks["the head"] = 1.0
        checks.report_leak(leaks, LEAK, self.rule == "applied", optimizers)

    def watching(self) -> AbstractContextManager[dict[str, list[Tensor]]]:
        """Collect the inputs of the protected layers within the block, see Taps."""
        self.watched.add_(1)
        return self.taps.watching(derived(self.seed, int(self.watched)) if self.taps.draws else 0)

    @torch.no_grad()
    def observe(self, inputs: Mapping[str, list[Tensor]], see: Callable[..., None] | None = None) -> None:
        """Hand inputs, as taps collect them, to the subspaces.

        Args:
            inputs: layer -> rows of its calls.
            see: called with (subspace, rows); by default the subspace observes them.

        Raises:
            UserError: a layer was never called, or saw NaN or infinite inputs.
        """
        self.shown.add_(1)
        with torch.autocast(self.shown.device.type, enabled=False):
            for part, space in self._pairs:
                calls = inputs.get(part.name, ())
                rows = calls[0][part.group] if len(calls) == 1 else part.rows(inputs)
                try:
                    space.observe(rows) if see is None else see(space, rows)
                except ValueError as error:
                    raise UserError(f"layer '{part.label}': {error}") from error

    @torch.no_grad()
    def consolidate(self) -> None:
        """End a task: every subspace takes up what it saw.

        Raises:
            UserError: a subspace cannot, is not what it says that it is, or differs between processes.
        """
        self.shown.zero_()
        self._steps = None
        full = []
        for part, space in self._pairs:
            free = space.free
            try:
                space.consolidate()
            except ValueError as error:
                raise UserError(f"layer '{part.label}': {error}") from error
            checks.projects(part.label, space)
            checks.same_everywhere(part.label, space)
            if free and not space.free and space.exact:
                full.append(part)
        checks.warn_of_full(full)

    def leaks(self, labels: list[str] | None = None) -> dict[str, float]:
        """Of each matrix |dW M^T| / max(|dW|, |W|) since the task's start, the bias as the weight of a constant.

        M are the rows held now: before a task is remembered those of earlier tasks, afterwards its own too.

        Args:
            labels: of the matrices; None for all.
        """
        found = {}
        for label, part in zip(self.labels, self.parts, strict=True):
            if labels is None or label in labels:
                found[label] = leak(self.update(label), self._held(label, part), part.joined())
        return found

    def memory_bytes(self, label: str) -> int:
        """What is kept for a matrix beside the network: its subspace, and its weights at the task's start."""
        number = self.labels.index(label)
        kept = [self.start(number), *self._spaces[number].state_dict().values()]
        return sum(value.numel() * value.element_size() for value in kept)

    def _held(self, label: str, part: WeightMatrix) -> Tensor:
        """The rows held, with the constant's direction where there is a bias."""
        space = self.subspaces[label]
        basis = space.held()
        if part.bias is None:
            return basis
        constant = torch.ones(int(self._constant(space)), 1).to(basis)
        return torch.block_diag(basis, constant) if len(constant) else basis.new_zeros(0, basis.shape[1] + 1)

    def _constant(self, space: Subspace) -> bool:
        """Whether the constant input of a bias is held."""
        return space.active or (space.holds_constant and int(self.started) > 1)
