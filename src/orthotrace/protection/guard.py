"""The guard: projects what an optimizer applied, so that protection is exact under any optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from orthotrace.errors import UserError
from orthotrace.linalg import leak
from orthotrace.protection.taps import Taps, protectable
from orthotrace.subspace.base import Subspace


class Guard(nn.Module):
    """Keeps the weights of layers from moving along the rows that their subspaces hold.

    After every step of the optimizer the component of W - W0 in the rows held is taken from W, with W0 the weight at
    the task's start: exact whatever the optimizer did (momentum, adaptive rates, weight decay, clipping), and what
    rounding leaves is taken at the next step instead of adding up. Where nothing is held, nothing is done.

    A bias is the weight of a constant input, which is the same in every sample of every task. Its direction is held
    whole as soon as a layer holds anything, and counts for no threshold: it hides none of the data's own directions,
    and the bias stays as it was learned. (Appending the constant to the rows, scaled to their size, and letting its
    direction be learned like theirs leaves a part of it free, which moves most when the scales of inputs and biases
    differ; see the table in docs/decisions.md.)

    Args:
        model: its Linear layers are protected, biases included.
        subspace: makes a layer's subspace, called as subspace(features, dtype=...); or one for each layer, by name.
        head: name of a layer whose outputs belong to tasks: all but the outputs in use are held as they are, and no
            subspace is needed.
        **options: handed to subspace: ``energy=0.97`` or ``rows=20``.

    Raises:
        UserError: the model has trainable parameters that cannot be protected.

    Attributes:
        outputs: of the head that are in use.

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

    start_head: Tensor

    def __init__(
        self,
        model: nn.Module,
        subspace: Callable[..., Subspace] | Mapping[str, Callable[..., Subspace]],
        head: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        # Held out of the module tree: the layers belong to the model, the taps have no state.
        layers = protectable(model)
        self._head = (layers.pop(head) if head is not None else None,)
        self._layers = (layers,)
        self.outputs: range | None = None
        if self._head[0] is not None:
            self.register_buffer("start_head", self._joined(self._head[0]))
        self.taps = Taps(self.layers)
        makers = subspace if isinstance(subspace, Mapping) else dict.fromkeys(self.layers, subspace)
        self.names = list(self.layers)
        self._spaces = nn.ModuleList()
        for name, layer in self.layers.items():
            # Statistics and projections need float32 at least.
            dtype = torch.promote_types(layer.weight.dtype, torch.float32)
            space = makers[name](layer.in_features, dtype=dtype, **options)
            self._spaces.append(space.to(layer.weight.device))
            self.register_buffer(self._key(name), self._joined(layer))

    @property
    def layers(self) -> dict[str, nn.Linear]:
        """The protected layers by name."""
        return self._layers[0]

    @property
    def _device(self) -> torch.device:
        return next(value for value in self._buffers.values() if value is not None).device

    @property
    def head(self) -> nn.Linear | None:
        """The layer whose outputs belong to tasks."""
        return self._head[0]

    @property
    def subspaces(self) -> dict[str, Any]:
        """The subspace of each layer by name."""
        return dict(zip(self.names, self._spaces, strict=True))

    def _key(self, name: str) -> str:
        return f"start_{self.names.index(name)}"

    @staticmethod
    def _joined(layer: nn.Linear) -> Tensor:
        """A copy of the weight, with the bias as its last column if there is one."""
        weight = layer.weight.detach()
        return weight.clone() if layer.bias is None else torch.cat([weight, layer.bias.detach()[:, None]], dim=1)

    def update(self, name: str) -> Tensor:
        """What a layer's weight, with its bias as the last column, has moved since the task's start."""
        return self._joined(self.layers[name]) - getattr(self, self._key(name))

    @torch.no_grad()
    def begin(self) -> None:
        """Start a task: remember the weights, let the subspaces make ready."""
        for name, layer in self.layers.items():
            getattr(self, self._key(name)).copy_(self._joined(layer))
            self.subspaces[name].begin()
        if self.head is not None:
            self.start_head.copy_(self._joined(self.head))

    @torch.no_grad()
    def enforce(self) -> None:
        """Take back what has moved along the rows held. Whatever writes a protected weight calls this."""
        device = self._device.type
        if torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                self._enforce()
        else:
            self._enforce()

    def _enforce(self) -> None:
        if self.head is not None and self.outputs is not None:
            self._hold_outputs(self.head, self.outputs)
        for number, (layer, space) in enumerate(zip(self.layers.values(), self.subspaces.values(), strict=True)):
            if not space.rank:
                continue
            start = self._buffers[f"start_{number}"]
            assert start is not None
            layer.weight.sub_(space.inside(layer.weight - start[:, : layer.in_features]))
            if layer.bias is not None:
                layer.bias.copy_(start[:, -1])

    def _hold_outputs(self, head: nn.Linear, free: range) -> None:
        """Put the weights of all other outputs back."""
        for other in (slice(0, free.start), slice(free.stop, None)):
            head.weight[other] = self.start_head[other, : head.in_features]
            if head.bias is not None:
                head.bias[other] = self.start_head[other, -1]

    def attach(self, *optimizers: Optimizer) -> Callable[[], None]:
        """Enforce after every step of the optimizers; the function returned ends it."""
        handles = [
            optimizer.register_step_post_hook(lambda optimizer, args, kwargs: self.enforce())
            for optimizer in optimizers
        ]

        def detach() -> None:
            for handle in handles:
                handle.remove()

        return detach

    @contextmanager
    def protecting(self, *optimizers: Optimizer) -> Iterator[None]:
        """A task in a plain loop: begin, and enforce after every step within the block."""
        self.begin()
        detach = self.attach(*optimizers)
        try:
            yield
        finally:
            detach()

    def observe(self, inputs: Mapping[str, list[Tensor]], see: Callable[..., None] | None = None) -> None:
        """Hand inputs, as taps collect them, to the subspaces.

        Args:
            inputs: layer -> rows of its calls.
            see: called with (subspace, rows); by default the subspace observes them.

        Raises:
            UserError: a layer was never called, or saw NaN or infinite inputs.
        """
        see = see or type(self)._observe
        device = self._device.type
        with torch.no_grad(), torch.autocast(device, enabled=False):
            for name, space in zip(self.names, self._spaces, strict=True):
                calls = inputs.get(name)
                if not calls:
                    raise UserError(f"the protected layer '{name}' was not called: it would lose its protection")
                rows = calls[0] if len(calls) == 1 else torch.cat(calls)
                try:
                    see(space, rows)
                except ValueError as error:
                    raise UserError(f"layer '{name}': {error}") from error

    @staticmethod
    def _observe(space: Subspace, rows: Tensor) -> None:
        space.observe(rows)

    def remember(self, model: nn.Module, *batches: Tensor) -> None:
        """End a task in a plain loop: observe these inputs of the model and consolidate.

        Args:
            model: the model, called in evaluation mode.
            *batches: inputs of the task, as the model takes them.
        """
        training = model.training
        model.eval()
        try:
            for batch in batches:
                with torch.no_grad(), self.taps.watching() as inputs:
                    model(batch)
                self.observe(inputs)
        finally:
            model.train(training)
        self.consolidate()

    def consolidate(self) -> None:
        """End a task: every subspace takes up what it saw."""
        for name, space in self.subspaces.items():
            try:
                space.consolidate()
            except ValueError as error:
                raise UserError(f"layer '{name}': {error}") from error

    def leaks(self) -> dict[str, float]:
        """Of each layer |dW M^T| / max(|dW|, |W|) since the task's start, the bias as the weight of a constant."""
        return {name: leak(self.update(name), self._held(name), self._joined(self.layers[name])) for name in self.names}

    def _held(self, name: str) -> Tensor:
        """The rows held, with the constant's direction where there is a bias."""
        basis = self.subspaces[name].basis
        if self.layers[name].bias is None:
            return basis
        if not len(basis):
            return basis.new_zeros(0, basis.shape[1] + 1)
        return torch.block_diag(basis, torch.ones(1, 1).to(basis))
