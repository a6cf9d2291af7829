"""The guard: projects what an optimizer applied, so that protection is exact under any optimizer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from orthotrace.core.errors import UserError, nearest
from orthotrace.core.seeds import derived
from orthotrace.linalg import leak
from orthotrace.protection import checks
from orthotrace.protection.head import Head
from orthotrace.protection.layers import Part, parts, protectable
from orthotrace.protection.normalisation import Mode, Normalisation
from orthotrace.protection.taps import Taps
from orthotrace.subspace.base import Subspace

Rule = Literal["applied", "gradient"]
# Above what float32 leaves of a protected component over a task.
LEAK = 1e-4
# What optimizers keep that has the direction of a step.
DIRECTIONS = ("momentum_buffer", "exp_avg", "prev")


class Guard(nn.Module):
    """Keeps the weights of layers from moving along the rows that their subspaces hold.

    After every step of the optimizer the component of W - W0 in the rows held is taken from W, with W0 the weight at
    the task's start: exact whatever the optimizer did (momentum, adaptive rates, weight decay, clipping), and what
    rounding leaves is taken at the next step instead of adding up. A subspace that holds by degrees (SGP, OWM) takes
    its share of each step instead. Where nothing is held, nothing is done.

    The rule "gradient" projects the gradient, as the papers do: exact for plain SGD, and for momentum with a fresh
    buffer, but not under weight decay, adaptive rates or clipping by value. It measures what leaks, and warns.

    A convolution is protected in its weight, as the matrix that is multiplied with its patches, a subspace for each
    group. A bias is the weight of a constant input, which is the same in every sample of every task. Its direction is
    held whole as soon as a layer holds anything, and counts for no threshold: it hides none of the data's own
    directions, and the bias stays as it was learned. (Appending the constant to the rows, scaled to their size, and
    letting its direction be learned like theirs leaves a part of it free, which moves most when the scales of inputs
    and biases differ; see the table in docs/decisions.md.)

    Statistics and affine of normalisation layers are frozen after the first task, see Normalisation.

    Args:
        model: its Linear layers and convolutions are protected, biases included.
        subspace: makes the subspace of a layer or group, called as subspace(features, dtype=...); or one for each, by
            label.
        head: name of a Linear layer whose outputs belong to tasks: all but the outputs in use, which ``outputs`` says
            before each task, are held as they are, and no subspace is needed.
        rule: of the two.
        patches: of a convolution's inputs so many are drawn in each call, at most; None for all.
        seed: of that draw.
        normalisation: see Normalisation.
        tasks: how many there are, where normalisation is kept by task.
        **options: handed to subspace: ``energy=0.97`` or ``rows=20``; of rows a list says those of each task.

    Raises:
        UserError: the model has trainable parameters that cannot be protected, a name matches no layer, or a value is
            out of its range.

    Attributes:
        outputs: of the head, the range in use, such as ``range(2, 4)``; None for all.

    Example:
        >>> from orthotrace.subspace import SvdSubspace
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> x, old = torch.rand(2, 20, 4), torch.rand(1, 4)
        >>> guard = Guard(model, SvdSubspace, energy=1.0)
        >>> guard.remember(model, old)
        >>> before = model(old)
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> with guard.protecting(optimizer):
        ...     for batch in x:
        ...         model(batch).square().sum().backward()
        ...         optimizer.step()
        >>> torch.allclose(model(old), before, atol=1e-6)
        True
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
        checks.one_value_for_all(options)
        layers = protectable(model)
        # In a tuple: the model is not part of the guard.
        self._model = (model,)
        if head is not None and not isinstance(layers.get(head), nn.Linear):
            raise UserError(f"there is no Linear layer '{head}'; {nearest(head, layers)}", "head")
        self.head_name = head or ""
        self.head = None if head is None else Head(layers.pop(head))
        # Held out of the module tree: the layers belong to the model, the taps have no state.
        self._layers = (layers,)
        self._parts = ([part for name, layer in layers.items() for part in parts(name, layer)],)
        self.rule: Rule = rule
        self.seed = seed
        self.taps = Taps(layers, patches)
        self.labels = [part.label for part in self.parts]
        makers = subspace if isinstance(subspace, Mapping) else dict.fromkeys(self.labels, subspace)
        checks.one_for_each(makers, self.labels)
        self._spaces = nn.ModuleList()
        for number, part in enumerate(self.parts):
            # Statistics and projections need float32 at least.
            dtype = torch.promote_types(part.weight.dtype, torch.float32)
            space = makers[part.label](part.features, dtype=dtype, **options)
            space.label = f"layer '{part.label}': "
            self._spaces.append(space.to(part.weight.device))
            self.register_buffer(f"start_{number}", part.joined())
        self.norms = Normalisation(model, normalisation, tasks)
        device = next(iter(model.parameters())).device
        self.register_buffer("watched", torch.zeros((), dtype=torch.int64, device=device))
        self.register_buffer("started", torch.zeros((), dtype=torch.int64, device=device))
        # Batches of the running task that the subspaces were shown.
        self.register_buffer("shown", torch.zeros((), dtype=torch.int64, device=device))
        self._last: list[Any] = []
        self._steps = 0
        # Whether a task has ended before the one that is trained.
        self._later = False
        self._judged = True
        # In a plain loop: a task that was begun and not ended; weights at the last end, and whether steps were guarded
        # since.
        self._open = self._guarded = False
        self._ended: list[float] | None = None

    @property
    def layers(self) -> dict[str, Any]:
        """The protected layers by name."""
        return self._layers[0]

    @property
    def parts(self) -> list[Part]:
        """Their matrices: one of each layer, or of each group of a convolution."""
        return self._parts[0]

    def _pairs(self) -> Iterator[tuple[Part, Any]]:
        return zip(self._parts[0], self._spaces, strict=True)

    @property
    def subspaces(self) -> dict[str, Any]:
        """The subspace of each matrix by label."""
        return dict(zip(self.labels, self._spaces, strict=True))

    @property
    def outputs(self) -> range | None:
        """Of the head, those in use."""
        return None if self.head is None else self.head.outputs

    @outputs.setter
    def outputs(self, outputs: range | None) -> None:
        if self.head is None:
            return
        there = self.head.layer.out_features
        if outputs is not None and not (
            isinstance(outputs, range) and outputs.step == 1 and 0 <= outputs.start < outputs.stop <= there
        ):
            raise UserError(f"a range within the {there} outputs of the head (got {outputs!r})", "outputs")
        self.head.outputs = outputs

    def start(self, number: int) -> Tensor:
        """A matrix at the task's start, by its place, with the biases as its last column if there are any."""
        start = self._buffers[f"start_{number}"]
        assert start is not None
        return start

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
        for number, (part, space) in enumerate(self._pairs()):
            self.start(number).copy_(part.joined())
            space.begin()
        if self.head is not None:
            self.head.begin()
        self._note()
        self.started += 1

    def enter(self) -> None:
        """A task that has begun is about to be trained, or to be continued."""
        self.norms.enter(int(self.started) - 1)

    @torch.no_grad()
    def enforce(self) -> None:
        """A step was applied: take back what has moved along the rows held."""
        self._steps += 1
        self._take_back(whole=False)

    @torch.no_grad()
    def settle(self) -> None:
        """Something else has written the weights, such as an average: take back what subspaces hold whole."""
        self._take_back(whole=True)
        # Of the others it is no step.
        self._note()

    def _take_back(self, whole: bool) -> None:
        device = self.watched.device.type
        if torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                self._project(whole)
        else:
            self._project(whole)

    def _project(self, whole: bool) -> None:
        if self.head is not None:
            self.head.hold()
        self.norms.hold()
        if self.rule == "gradient":
            return
        for number, (part, space) in enumerate(self._pairs()):
            if not space.active:
                if self._later and space.holds_constant and part.layer.bias is not None:
                    part.layer.bias[part.outputs] = self.start(number)[:, -1]
                continue
            if whole and not space.exact:
                continue
            # In every step: the common case by the shortest way.
            start, layer = self.start(number), part.layer
            before = start[:, : part.features] if space.exact else self._last[number]
            if part.is_whole:
                layer.weight.sub_(space.inside(layer.weight - before))
                if layer.bias is not None:
                    layer.bias.copy_(start[:, -1])
            else:
                layer.weight[part.outputs].sub_(part.shaped(space.inside(part.weight - before)))
                if layer.bias is not None:
                    layer.bias[part.outputs] = start[:, -1]
            if not space.exact:
                self._last[number].copy_(part.weight)

    @torch.no_grad()
    def project_gradients(self) -> None:
        """Under the rule "gradient": take the component in the rows held from each gradient."""
        if self.rule != "gradient":
            return
        for part, space in self._pairs():
            gradient = part.gradient
            bias = part.layer.bias
            if bias is not None and bias.grad is not None and self._constant(space):
                bias.grad[part.outputs] = 0
            if space.active and gradient is not None:
                part.layer.weight.grad[part.outputs] -= part.shaped(space.inside(gradient))

    @torch.no_grad()
    def project_moments(self, *optimizers: Optimizer) -> None:
        """Under the rule "gradient": what an optimizer carries over from an earlier task must not undo it."""
        for optimizer in optimizers:
            for part, space in self._pairs():
                layer = part.layer
                for name in DIRECTIONS:
                    kept = optimizer.state.get(layer.weight, {}).get(name)
                    if space.active and kept is not None:
                        kept[part.outputs] -= part.shaped(space.inside(kept[part.outputs].flatten(1)))
                    kept = optimizer.state.get(layer.bias, {}).get(name)
                    if self._constant(space) and kept is not None:
                        kept[part.outputs] = 0

    def attach(self, *optimizers: Optimizer) -> Callable[[], None]:
        """Enforce after every step of the optimizers; the function returned ends it.

        Raises:
            UserError: an optimizer has no hooks; at the end, none of them ever called the guard though weights moved.
        """
        handles = []
        for optimizer in optimizers:
            checks.has_hooks(optimizer)
            handles.append(optimizer.register_step_post_hook(lambda optimizer, args, kwargs: self.enforce()))
        if self.rule == "gradient":
            self.project_moments(*optimizers)
        self._note()
        self._steps = 0
        self._judged = True
        self._guarded = True
        self._later = int(self.started) > 1
        thaw = self.norms.attach()

        def detach() -> None:
            for handle in handles:
                handle.remove()
            thaw()
            if self._judged:
                self._check(", ".join(type(optimizer).__name__ for optimizer in optimizers))

        return detach

    def _note(self) -> None:
        """Remember what a subspace that holds by degrees takes its share of: the step since the last time."""
        self._last = [None if space.exact else part.weight.clone() for part, space in self._pairs()]

    def _check(self, optimizers: str) -> None:
        """Never a silent loss of protection."""
        if not all(part.weight.isfinite().all() for part in self.parts):
            # Training has diverged: that is what is to be told.
            return
        leaks = self.leaks([label for label, space in self.subspaces.items() if space.exact])
        if self.rule == "applied":
            # Those that hold by degrees leak by what they are; what counts is a step that they did not see.
            for (label, space), last, part in zip(self.subspaces.items(), self._last, self.parts, strict=True):
                if last is not None and space.active:
                    leaks[label] = float((part.weight - last).norm() / part.weight.norm().clamp_min(1e-30))
        if self.rule == "applied" and self.head is not None and self.head.moved():
            leaks["the head"] = 1.0
        worst = max(leaks, key=leaks.__getitem__, default=None)
        if worst is None or leaks[worst] <= LEAK:
            return
        if self.rule == "gradient":
            warnings.warn(
                f"the projected gradient of layer '{worst}' leaked {leaks[worst]:.2g} of its change under "
                f"{optimizers}: rule 'applied' is exact",
                stacklevel=2,
            )
            return
        raise UserError(
            f"layer '{worst}' was changed by steps that called no hook of {optimizers}, so it was not protected; give "
            "the guard every optimizer, call the optimizer's own step(), or guard.enforce() after each step"
        )

    @contextmanager
    def protecting(self, *optimizers: Optimizer) -> Iterator[None]:
        """A task in a plain loop: begin, and enforce after every step within the block.

        Warns where no task before was remembered: nothing is held; and where the weights moved since the last one.

        Raises:
            UserError: no optimizer trains a protected layer, the model has changed, the outputs of a head were not
                said, or, at the end, steps were not seen.
        """
        if self.head is not None and self.outputs is None:
            raise UserError(
                f"say which outputs of '{self.head_name}' the task uses, such as guard.outputs = range(0, 2)", "head"
            )
        checks.trains_some(optimizers, [*self.layers.values(), *([] if self.head is None else [self.head.layer])])
        if self._open and not any(space.active for space in self._spaces):
            warnings.warn(
                "the last task was not remembered, so nothing is held: call guard.remember(model, inputs) at its end",
                stacklevel=3,
            )
        self.begin()
        self._warn_of_free_steps(stacklevel=4)
        self._open = True
        self.enter()
        # Here gradients are clipped before the step: what is projected last is what is applied. (A closure computes its
        # gradient later: what leaks then is told at the end.)
        before = [
            optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: self.project_gradients())
            for optimizer in (optimizers if self.rule == "gradient" else ())
        ]
        detach = self.attach(*optimizers)
        try:
            yield
        except BaseException:
            # The error that ended the block is the one to be told.
            self._judged = False
            raise
        finally:
            for handle in before:
                handle.remove()
            detach()

    def _warn_of_free_steps(self, stacklevel: int) -> None:
        """Weights that moved since a task was remembered, though no step was guarded, are told."""
        if self._ended is not None and not self._guarded and self._ended != self._sums():
            warnings.warn(
                "the weights have moved since the last task, but no optimizer was guarded: what was held is not safe; "
                "train within guard.protecting(optimizer)",
                stacklevel=stacklevel,
            )

    @contextmanager
    def watching(self) -> Iterator[dict[str, list[Tensor]]]:
        """Collect the inputs of the protected layers within the block, see Taps."""
        self.watched += 1
        seed = 0 if self.taps.patches is None else derived(self.seed, int(self.watched))
        with self.taps.watching(seed) as inputs:
            yield inputs

    def observe(self, inputs: Mapping[str, list[Tensor]], see: Callable[..., None] | None = None) -> None:
        """Hand inputs, as taps collect them, to the subspaces.

        Args:
            inputs: layer -> rows of its calls.
            see: called with (subspace, rows); by default the subspace observes them.

        Raises:
            UserError: a layer was never called, or saw NaN or infinite inputs.
        """
        see = see or type(self)._observe
        self.shown += 1
        device = self.watched.device.type
        with torch.no_grad(), torch.autocast(device, enabled=False):
            for part, space in self._pairs():
                try:
                    see(space, self.rows(part, inputs))
                except ValueError as error:
                    raise UserError(f"layer '{part.label}': {error}") from error

    @staticmethod
    def rows(part: Part, inputs: Mapping[str, list[Tensor]]) -> Tensor:
        """What a matrix was multiplied with in all calls of its layer, (n, features).

        Raises:
            UserError: the layer was never called.
        """
        calls = inputs.get(part.name)
        if not calls:
            raise UserError(
                f"the protected layer '{part.name}' was not called: it would lose its protection; call it in every "
                "forward pass, in evaluation too, or take it out of the model"
            )
        return calls[0][part.group] if len(calls) == 1 else torch.cat([call[part.group] for call in calls])

    @staticmethod
    def _observe(space: Subspace, rows: Tensor) -> None:
        space.observe(rows)

    def remember(self, model: nn.Module, *batches: Tensor | tuple[Tensor, ...]) -> None:
        """End a task in a plain loop: observe these inputs of the model and consolidate.

        Args:
            model: the model, called in evaluation mode.
            *batches: inputs of the task, as the model takes them; a tuple for a model of several.

        Warns where the weights have moved since the last task though no optimizer was guarded.

        Raises:
            UserError: another model, no batch, one that is no tensor, or a layer that was not called.
        """
        checks.are_inputs(batches)
        checks.has_layers(model, self.layers.values())
        self._warn_of_free_steps(stacklevel=3)
        training = model.training
        model.eval()
        try:
            for batch in batches:
                with torch.no_grad(), self.watching() as inputs:
                    model(*batch) if isinstance(batch, tuple) else model(batch)
                self.observe(inputs)
        finally:
            model.train(training)
        if not int(self.started):
            # The task ran before the guard was asked to protect anything: the first one.
            self.started += 1
        self.consolidate()

    @torch.no_grad()
    def consolidate(self) -> None:
        """End a task: every subspace takes up what it saw.

        Raises:
            UserError: a subspace cannot, is not what it says that it is, or differs between processes.
        """
        self.shown.zero_()
        full = []
        for part, space in self._pairs():
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
        self._open = self._guarded = False
        self._ended = self._sums()

    def _sums(self) -> list[float]:
        """What tells whether the weights are still the same."""
        return [float(part.weight.detach().double().sum()) for part in self.parts]

    def leaks(self, labels: list[str] | None = None) -> dict[str, float]:
        """Of each matrix |dW M^T| / max(|dW|, |W|) since the task's start, the bias as the weight of a constant.

        Args:
            labels: of some; None for all.
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

    def _held(self, label: str, part: Part) -> Tensor:
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
