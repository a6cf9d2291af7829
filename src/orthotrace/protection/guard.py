"""Projects what an optimizer applied, so that protection is exact under any optimizer."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from orthotrace.core.errors import UserError
from orthotrace.core.precision import full_precision, is_reduced
from orthotrace.core.seeds import derived, generator
from orthotrace.layers.spiking import SpikingNetwork
from orthotrace.linalg import in_blocks, is_finite
from orthotrace.protection import checks
from orthotrace.protection.attention import BLOCKS
from orthotrace.protection.gradient_rule import project_moments
from orthotrace.protection.held import Held
from orthotrace.protection.matrices import Calls, where
from orthotrace.protection.normalisation import Mode, Normalisation
from orthotrace.protection.projected_inputs import ProjectedInputs, all_attached, is_worth_it
from orthotrace.protection.still import Still
from orthotrace.protection.taps import Taps
from orthotrace.subspace.base import NoRowsError, Subspace

Rule = Literal["applied", "gradient"]
# Above what float32 leaves of a protected component over a task.
LEAK = 1e-4


class Projector(Held):
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

    Args, Raises: as for Guard, see plain_loop. Attributes: see Held, and taps.

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
        super().__init__(model, subspace, head, **options)
        if rule not in get_args(Rule):
            raise UserError(f"applied or gradient (got {rule!r})", "rule")
        self._outputs: range | None = None
        self.rule: Rule = rule
        self.seed = seed
        # A spiking network says itself what its layers learn from.
        observed = model.observed if isinstance(model, SpikingNetwork) else None
        self.taps = Taps(self.layers, patches, observed, [one for one in model.modules() if type(one) in BLOCKS])
        self.norms = Normalisation(model, normalisation, tasks)
        # Forward passes watched, and batches of the running task that the subspaces observed.
        for name in ("watched", "shown"):
            self.register_buffer(name, torch.zeros_like(self.started))
        # Of each matrix of a soft projection, what it was after the last step.
        self._last: list[Any] = [None] * len(self.parts)
        self._steps: list[Any] | None = None
        # By the place of a matrix, of those whose gradients are made of projected inputs.
        self._inputs: dict[int, ProjectedInputs] = {}
        # The loss of a training batch is computed within its block: one that does nothing where there are none.
        self.projecting_inputs: Callable[[], AbstractContextManager[object]] = nullcontext
        # Whether a task has ended before the one that is trained, and whether its passes were looked at as a whole.
        self._later = self._looked = False
        # Of the task that is trained, once another has ended: what else must not move; whether a step was checked.
        self._still: Still | None = None
        self._stepped = True
        # Whether products are shortened, which is not asked in every step.
        self._short = False

    def _add_transposed(self, number: int) -> None:
        super()._add_transposed(number)
        self._note()

    @property
    def outputs(self) -> range | None:
        """The active outputs of the head, such as ``range(2, 4)``; None for all."""
        return self._outputs

    @outputs.setter
    def outputs(self, outputs: range | None) -> None:
        if self.head is not None:
            self._outputs = self.head.checked(outputs)

    @torch.no_grad()
    def begin(self) -> None:
        """Start a task: remember the weights, let the subspaces make ready.

        Raises:
            UserError: the model is no longer the one that the guard was made for.
        """
        self.check_layers()
        for number, (part, space) in enumerate(self._pairs):
            start = self.start(number)
            for rows in in_blocks(*start.shape):
                start[rows] = part.joined(rows)
            with full_precision(start.device.type):
                space.begin()
        for seen in self.embeddings.values():
            seen.begin()
        if self.head is not None:
            self.head.begin()
        self._note()
        self._short = is_reduced(self.started.device.type)
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
        """A step was applied: take back what moved along the rows held (a hook's arguments are not needed).

        Raises:
            UserError: after the first step of a later task, see Still.
        """
        self._project(whole=False)
        if not self._stepped:
            self._stepped = True
            if self._still is not None:
                self._still.check()

    @torch.no_grad()
    def settle(self) -> None:
        """Something else has written the weights, such as an average: take back what exact projections hold."""
        for one in self._inputs.values():
            one.settle()
        self._project(whole=True)
        # For a soft projection it was no step.
        self._note()

    def _project(self, whole: bool) -> None:
        if self.head is not None:
            self.head.hold(self._outputs)
        if self.norms.held:
            self.norms.hold()
        if self.rule == "gradient":
            return
        device = self.watched.device.type
        with full_precision(device) if self._short or torch.is_autocast_enabled(device) else nullcontext():
            # In every step, so by the shortest way.
            for weight, bias, part, before, constant, space in self._steps or self._moving():
                if whole and not space.exact:
                    continue
                if part is None:
                    space.take_from(weight, before)
                else:
                    part.take_from(weight, space.inside(part.of(weight) - before))
                if bias is not None:
                    bias.copy_(constant)
                if not space.exact:
                    before.copy_(weight if part is None else part.of(weight))
        for seen in self.embeddings.values():
            if seen.exact or not whole:
                seen.hold()
        if self._transposed and not whole:
            # What one side took is no step for the other.
            self._note_soft()

    def _moving(self) -> list[Any]:
        """What a step needs of each matrix with rows held; kept once all have some, until a task begins or ends."""
        found = []
        for number, (part, space) in enumerate(self._pairs):
            start, bias = self.start(number), part.bias
            if space.active:
                before = start[:, : part.features] if space.exact else self._last[number]
                whole = None if part.is_whole else part
                by = self._inputs.get(number, space)
                found.append((part.parameter, bias, whole, before, start[:: part.repeats, -1], by))
            elif bias is not None and self._later and space.holds_constant and int(space.tasks):
                bias.copy_(start[:: part.repeats, -1])
        self._steps = found if len(found) == len(self.parts) else None
        return found

    def _note(self) -> None:
        """Remember the weights of which a soft projection takes its share of the next step."""
        self._last = [None if space.exact else part.weight.clone() for part, space in self._pairs]
        self._steps = None
        for seen in self.embeddings.values():
            seen.note()

    def _note_soft(self) -> None:
        for (part, _), last in zip(self._pairs, self._last, strict=True):
            if last is not None:
                last.copy_(part.weight)

    @torch.no_grad()
    def project_inputs(self) -> Callable[[], None]:
        """Of wide layers take what is held from the inputs of which gradients are made; the function returned ends it.

        For steps that are linear in gradients that nobody else looks at, see ProjectedInputs; after attach.
        """
        # Where products are shortened, only what is projected after the step is exact.
        exact = self.rule == "applied" and not is_reduced(self.started.device.type)
        for number, (part, space) in enumerate(self._pairs if exact else ()):
            if number not in self._transposed and is_worth_it(part, space):
                start, draw = self.start(number)[:, : part.features], generator(self.seed, 2, number, int(self.started))
                self._inputs[number] = ProjectedInputs(part, space, start, draw)
        if self._inputs:
            self.projecting_inputs = partial(all_attached, list(self._inputs.values()))
        self._steps = None

        def end() -> None:
            self.settle()
            self._part_from_inputs()

        return end

    def _part_from_inputs(self) -> None:
        self._inputs, self.projecting_inputs, self._steps = {}, nullcontext, None

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
            project_moments(self, optimizers)
        self._part_from_inputs()
        self._note()
        self._short = is_reduced(self.started.device.type)
        self._later = int(self.started) > 1
        thaw = self.norms.attach()
        self._still = Still(self._model[0], self.held_layers().values(), self.norms.trainable) if self._later else None
        self._stepped = False

        def detach(check: bool = True) -> None:
            for handle in handles:
                handle.remove()
            thaw()
            still, self._still = self._still, None
            if check:
                if still is not None:
                    still.check()
                self._check(", ".join(type(optimizer).__name__ for optimizer in optimizers))

        return detach

    def _check(self, optimizers: str) -> None:
        """Never a silent loss of protection."""
        if not all(is_finite(part.weight) for part in self.parts):
            # Training has diverged: that is what is to be reported.
            return
        leaks = self.exact_leaks()
        if self.rule == "applied":
            # Soft projections leak by definition; what counts is a step that they did not see.
            for (part, space), last in zip(self._pairs, self._last, strict=True):
                if last is not None and space.active:
                    leaks[part.label] = float((part.weight - last).norm() / part.weight.norm().clamp_min(1e-30))
        if self.rule == "applied" and self.head is not None and self.head.moved(self._outputs):
            leaks["the head"] = 1.0
        checks.report_leak(leaks, LEAK, self.rule == "applied", optimizers)

    def watching(self) -> AbstractContextManager[dict[str, list[Sequence[Tensor]]]]:
        """Collect the inputs of the protected layers within the block, see Taps."""
        self.watched.add_(1)
        # The first pass is looked at as a whole: for uses of weights that no layer is called for.
        whole, self._looked = not self._looked, True
        return self.taps.watching(derived(self.seed, int(self.watched)) if self.taps.draws else 0, whole)

    def rows_of(self, calls: Mapping[str, Sequence[Tensor]]) -> Calls:
        """What observe takes of a pass that somebody else has watched: of several networks at once, by torch.func.

        Args:
            calls: layer -> what it was given in each of its calls.
        """
        self.watched.add_(1)
        return self.taps.rows_of(calls, derived(self.seed, int(self.watched)) if self.taps.draws else 0)

    def look(self, forward: Callable[[], object]) -> None:
        """Look at a forward pass before anything is trained, which is where a guard learns how weights are used.

        Args:
            forward: calls the model.

        Raises:
            UserError: a layer is not called, or a weight is used in a way that is not known, see Uses.
        """
        with torch.no_grad(), self.taps.watching(whole=True) as inputs:
            forward()
        self._looked = True
        self._find_transposed(inputs)
        for part in self.parts:
            part.rows(inputs)

    @torch.no_grad()
    def observe(self, inputs: Calls, see: Callable[..., None] | None = None) -> None:
        """Hand inputs, as taps collect them, to the subspaces.

        Args:
            inputs: layer -> rows of its calls.
            see: called with (subspace, rows); by default the subspace observes them.

        Raises:
            UserError: a layer that is trained was never called, or one saw NaN or infinite inputs.
        """
        self.shown.add_(1)
        if self.taps.used_elsewhere:
            self._find_transposed(inputs)
        for name, seen in self.embeddings.items():
            seen.observe([tokens for (tokens,) in inputs.get(name, ())])
        device = self.shown.device.type
        with full_precision(device) if self._short or torch.is_autocast_enabled(device) else nullcontext():
            for part, space in self._pairs:
                calls = inputs.get(part.name, ())
                rows = calls[0][part.group] if len(calls) == 1 else part.rows(inputs)
                if not calls:
                    continue
                try:
                    space.observe(rows) if see is None else see(space, rows)
                except ValueError as error:
                    raise UserError(f"{where(part.label)}: {error}") from error

    @torch.no_grad()
    def consolidate(self) -> None:
        """End a task: every subspace takes up what it saw.

        Raises:
            UserError: a subspace cannot, is not what it says that it is, or differs between processes.
        """
        self.shown.zero_()
        self._steps = None
        full = []
        with full_precision(self.shown.device.type):
            for part, space in self._pairs:
                free = space.free
                try:
                    space.consolidate()
                except ValueError as error:
                    if isinstance(error, NoRowsError) and part.is_frozen and not self.update(part.label).any():
                        continue
                    raise UserError(f"{where(part.label)}: {error}") from error
                outputs = len(part.weight)
                checks.projects(part.label, space, outputs)
                checks.same_everywhere(part.label, space, outputs)
                if free and not space.free and space.exact:
                    full.append(part)
        for seen in self.embeddings.values():
            seen.consolidate()
        checks.warn_of_full(full)
