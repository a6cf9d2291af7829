"""Gradients of wide layers that are free of what is held from the start: made of projected inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor as is_transformed
from torch.autograd.graph import saved_tensors_hooks

from orthotrace.protection.layers import base_of
from orthotrace.protection.matrices import WeightMatrix
from orthotrace.subspace.base import Subspace

# Multiplications that the projection of a step takes, of a layer for which this is worth it: half a millisecond.
WORTH = 2**25
# Random directions within the rows held along which a weight is looked at.
PROBES = 4
# In units of the type's precision and of the weight's norm: above what rounding makes of W V.
MOVED = 8


class ProjectedInputs:
    """Takes what is held from the inputs of which a gradient is made, in place of from every step.

    The gradient of a Linear layer is G = E^T X, with errors E (n, out) and inputs X (n, features). So

        G - G M^T M = E^T (X - X M^T M),

    at n/out of the cost: the batch is mostly smaller than a wide layer. Where steps are linear in the gradients, as
    those of SGD with momentum are, W then moves along no row that is held. After each step W V - W0 V is looked at, of
    some random directions V within the rows held. If W has moved there, by rounding over many steps or by anything else
    (a penalty, a hand that wrote it), the step is projected as always. So within a task the leak is at most some eight
    units of the type's precision, and at its end as small as without this.

    Works on CPUs: it waits for the result. Gradients are not those of the loss. A backward pass raises
    RuntimeError where what it needs was written to, as autograd does by itself.

    Args:
        part: the whole weight of a Linear layer.
        space: what it holds.
        before: the weight at the task's start, (out, features).
        generator: of the directions.

    Source: gradients lie in the span of the inputs, Saha, Garg & Roy, ICLR 2021, section 4.

    Example:
        >>> from orthotrace.protection.products import matrices
        >>> from orthotrace.subspace import SvdSubspace
        >>> layer, space = nn.Linear(3, 8, bias=False), SvdSubspace(3, rows=1)
        >>> space.observe(torch.tensor([[2.0, 0.0, 0.0]]))
        >>> space.consolidate()
        >>> [part] = matrices("layer", layer)
        >>> made = ProjectedInputs(part, space, layer.weight.detach().clone(), torch.Generator())
        >>> with made.attached():
        ...     loss = layer(torch.ones(2, 3)).sum()
        >>> loss.backward()
        >>> layer.weight.grad[0].round(decimals=4)
        tensor([0., 2., 2.])
    """

    exact = True

    def __init__(self, part: WeightMatrix, space: Subspace, before: Tensor, generator: torch.Generator) -> None:
        self.layer, self.weight, self.space = part.layer, part.parameter, space
        drawn = torch.randn(PROBES, part.features, dtype=before.dtype, generator=generator)
        # Of mean square |dW M^T|^2 over the directions.
        self.probes = (space.inside(drawn).T / PROBES**0.5).contiguous()
        self.start = before @ self.probes
        self.most = MOVED * torch.finfo(before.dtype).eps * float(before.norm())
        # Whether the next step is to be projected anyway; whether a loss is being computed; the block around a call.
        self.due = self._open = False
        self._call: AbstractContextManager[Any] | None = None

    def attached(self) -> ExitStack:
        """Within the block, what the layer saves of its calls is projected by the backward pass that follows."""
        # Functions, which a copy of the layer shares: methods would be copied with what they belong to.
        handles = ExitStack()
        for handle in (
            self.layer.register_forward_pre_hook(lambda *call: self._enter(*call), with_kwargs=True),
            self.layer.register_forward_hook(lambda layer, *_: self._leave(layer), prepend=True, always_call=True),
        ):
            handles.callback(handle.remove)
        self._open = True
        handles.callback(self._close)
        return handles

    def _close(self) -> None:
        self._open = False

    def settle(self) -> None:
        """The next step is projected, whatever it is."""
        self.due = True

    def take_from(self, weight: Tensor, before: Tensor) -> None:
        """Take from a weight, in place, what is held of its update since it was before, if there is any."""
        due, self.due = self.due, False
        # What is not a number is projected, and stays so.
        if due or not float(torch.addmm(self.start, weight, self.probes, beta=-1).norm()) <= self.most:
            self.space.take_from(weight, before)

    def _enter(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # A copy of the layer has its hooks; where torch.func calls it, it has another weight.
        if layer is not self.layer or self.layer.weight is not self.weight or not torch.is_grad_enabled():
            return
        inputs = args[0] if args else kwargs.get("input")
        if not self._can_project(inputs):
            self.due = True
            return
        place, count = inputs.data_ptr(), inputs.numel()

        def pack(saved: Tensor) -> Callable[[], Tensor]:
            version = saved._version

            def unpack() -> Tensor:
                # With hooks torch does not look whether what it has saved was written to.
                if saved._version != version:
                    raise RuntimeError(
                        "one of the variables needed for gradient computation has been modified by an inplace "
                        "operation: the input or the weight of a Linear layer"
                    )
                if saved.data_ptr() != place or saved.numel() != count:
                    return saved
                if self._open:
                    # The network, or its loss, takes a gradient of its own.
                    self.due = True
                    return saved
                return saved - self.space.inside(saved)

            return unpack

        self._call = saved_tensors_hooks(pack, lambda unpack: unpack())
        self._call.__enter__()

    def _can_project(self, inputs: Any) -> TypeGuard[Tensor]:
        """Whether it is known what of a call is projected, and something is gained by it."""
        return (
            isinstance(inputs, Tensor)
            and inputs.layout is torch.strided
            and not is_transformed(inputs)
            and inputs.dtype == self.weight.dtype
            and 2 * inputs.numel() <= self.weight.numel()
            and torch._C._autograd._saved_tensors_hooks_is_enabled()  # pyright: ignore[reportAttributeAccessIssue]
            and not is_read(self.weight)
        )

    def _leave(self, layer: nn.Module) -> None:
        if layer is self.layer:
            call, self._call = self._call, None
            if call is not None:
                call.__exit__(None, None, None)


def all_attached(many: Iterable[ProjectedInputs]) -> ExitStack:
    """Within the block all of them are attached."""
    stack = ExitStack()
    for one in many:
        stack.enter_context(one.attached())
    return stack


def is_worth_it(part: WeightMatrix, space: Subspace) -> bool:
    """Whether gradients of a matrix are to be made of projected inputs: it is a wide Linear layer, on a CPU.

    Example:
        >>> from orthotrace.protection.products import matrices
        >>> from orthotrace.subspace import SvdSubspace
        >>> is_worth_it(matrices("small", nn.Linear(3, 8))[0], SvdSubspace(3, rows=1))
        False
    """
    weight = part.parameter
    return (
        base_of(part.layer) is nn.Linear
        and uses_its_input_once(part.layer)
        and part.is_whole
        and weight is part.layer.weight
        and weight.requires_grad
        and weight.device.type == "cpu"
        and weight.dtype == space.basis.dtype
        and not is_read(weight)
        and space.active
        and space.exact
        and space.by_row
        and weight.numel() * min(2 * space.rank, part.features) >= WORTH
    )


def uses_its_input_once(layer: Any) -> bool:
    """Whether the input of a layer is needed for the gradient of its weight alone.

    A forward that was set on the layer itself may use it otherwise, unless it says ``uses_its_input_once = True``.
    """
    own = vars(layer).get("forward")
    return own is None or getattr(own, "uses_its_input_once", False) is True


def is_read(weight: Tensor) -> bool:
    """Whether somebody looks at the gradient of a weight by a hook."""
    return bool(weight._backward_hooks or weight._post_accumulate_grad_hooks)
