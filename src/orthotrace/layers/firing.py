"""Spikes of a layer over all steps of time, and how errors go back through them: one autograd function a layer."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

Surrogate = Literal["sigmoid", "atan"]
# The membrane of a type with fewer bits would forget small currents.
HALF = (torch.bfloat16, torch.float16)
SHARPNESS = 4.0


def fire(
    currents: Tensor, before: Tensor | None, level: float, leak: float, least: float, height: float, keep: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes of leaky neurons, u <- leak u + x, s = height where u >= least, u <- u - level where it fired.

    Args:
        currents: x, (steps, ...).
        before: membrane that the last step left, (...); None for a neuron at rest.
        level: what a spike takes from the membrane.
        leak: share of the membrane that stays at a step.
        least: membrane from which on a neuron fires.
        height: of a spike.
        keep: the membranes of all steps, not of the last one alone.

    Returns:
        Spikes (steps, ...), the membrane that is left (...), and the membranes before their resets (steps or 1, ...).

    Example:
        >>> spikes, left, _ = fire(torch.tensor([[0.6], [0.6], [0.6]]), None, 1.0, 1.0, 1.0, 1.0)
        >>> spikes.flatten().tolist(), round(float(left), 4)
        ([0.0, 1.0, 0.0], 0.8)
    """
    kind = torch.float32 if currents.dtype in HALF else currents.dtype
    steps = len(currents)
    membranes = _steps_like(currents, steps if keep else 1, kind)
    spikes = _steps_like(currents, steps, currents.dtype)
    left = torch.zeros_like(membranes[0]) if before is None else before.clone()
    every = membranes.unbind() if keep else membranes.unbind() * steps
    for current, membrane, spike in zip(currents.unbind(), every, spikes.unbind(), strict=True):
        torch.add(current, left, alpha=leak, out=membrane)
        torch.ge(membrane, least, out=spike)
        torch.sub(membrane, spike, alpha=level, out=left)
        if height != 1:
            spike.mul_(height)
    return spikes, left, membranes


def surrogate_spikes(
    currents: Tensor,
    before: Tensor | None,
    threshold: float | Tensor,
    decay: float | Tensor,
    surrogate: Surrogate = "sigmoid",
) -> tuple[Tensor, Tensor]:
    """Spikes whose slope is a surrogate: errors go back through all steps, but not through the reset.

    ds/du is the slope of a smooth step at u - threshold: of a sigmoid of sharpness 4, or of atan, 1 / (1 + (pi u)^2);
    du[t+1]/du[t] = decay.

    Args:
        currents: (steps, ...).
        before: membrane that earlier steps have left, (...); None for neurons at rest.
        threshold: number, or a tensor of one number where it is trained.
        decay: the same.
        surrogate: of the two.

    Returns:
        Spikes (steps, ...), and the membrane that is left (...).

    Source: Neftci, Mostafa & Zenke, Surrogate gradient learning, IEEE Signal Processing Magazine 2019.

    Example:
        >>> currents = torch.ones(1, 1, requires_grad=True)
        >>> surrogate_spikes(currents, None, 1.0, 0.5)[0].sum().backward()
        >>> float(currents.grad)
        1.0
    """
    return _SurrogateSpikes.apply(currents, before, threshold, decay, surrogate)[:2]


class _SurrogateSpikes(torch.autograd.Function):
    @staticmethod
    def forward(currents: Any, before: Any, threshold: Any, decay: Any, surrogate: Any) -> Any:
        level = number(threshold)
        return fire(currents, before, level, number(decay), level, 1.0)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _, before, threshold, decay, ctx.surrogate = inputs
        ctx.mark_non_differentiable(output[2])
        ctx.set_materialize_grads(False)
        ctx.numbers = (isinstance(threshold, Tensor), isinstance(decay, Tensor))
        ctx.level, ctx.leak = number(threshold), number(decay)
        ctx.save_for_backward(output[2], before)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        of_spikes, of_left, _ = gradients
        membranes, before = ctx.saved_tensors
        of_spikes = torch.zeros_like(membranes) if of_spikes is None else of_spikes
        of_left = torch.zeros_like(membranes[0]) if of_left is None else of_left
        errors = _Errors.apply(of_spikes, of_left, membranes, ctx.level, ctx.leak, ctx.surrogate)
        found: list[Any] = [errors, None, None, None, None]
        if ctx.needs_input_grad[1]:
            found[1] = ctx.leak * errors[0]
        if ctx.numbers[0] and ctx.needs_input_grad[2]:
            # Of what reached a membrane through its own spike.
            found[2] = ctx.leak * errors[1:].sum() + of_left.sum() - errors.sum()
        if ctx.numbers[1] and ctx.needs_input_grad[3]:
            left = membranes[:-1] - ctx.level * (membranes[:-1] >= ctx.level).to(membranes.dtype)
            found[3] = (errors[1:] * left).sum()
            if before is not None:
                found[3] = found[3] + (errors[0] * before).sum()
        return tuple(found)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        (currents, before, *rest), dims = args, in_dims
        currents = _second(currents, dims[0], info.batch_size)
        before = before if before is None else _first(before, dims[1], info.batch_size)
        return _SurrogateSpikes.apply(currents, before, *rest), (1, 0, 1)


class _Errors(torch.autograd.Function):
    """What reaches each membrane, step by step from the last: errors of its own spike, and of what it leaves."""

    @staticmethod
    def forward(of_spikes: Any, of_left: Any, membranes: Any, level: Any, leak: Any, surrogate: Any) -> Any:
        errors = _steps_like(membranes, len(of_spikes), of_spikes.dtype)
        later = of_left
        for gradient, membrane, error in zip(
            reversed(of_spikes.unbind()), reversed(membranes.unbind()), reversed(errors.unbind()), strict=True
        ):
            # In place where the types are the same.
            own = error if error.dtype == membrane.dtype else torch.empty_like(membrane)
            if surrogate == "sigmoid":
                step = (membrane - level).mul_(SHARPNESS).sigmoid_()
                torch.ops.aten.sigmoid_backward.grad_input(gradient.to(own.dtype), step, grad_input=own).mul_(SHARPNESS)
            else:
                torch.div(gradient, (membrane - level).mul_(math.pi).square_().add_(1), out=own)
            # Only the last step is not followed by a leak.
            later = own.add_(later, alpha=leak if later is not of_left else 1)
            if own is not error:
                error.copy_(own)
        return errors

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise NotImplementedError("surrogate gradients have no second derivative")

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        (of_spikes, of_left, membranes, *rest), dims, size = args, in_dims, info.batch_size
        of_spikes, membranes = _second(of_spikes, dims[0], size), _second(membranes, dims[2], size)
        return _Errors.apply(of_spikes, _first(of_left, dims[1], size), membranes, *rest), 1


def rate_spikes(currents: Tensor, threshold: float | Tensor, decay: float, fires: float = 1.0) -> tuple[Tensor, Tensor]:
    """Spikes that are differentiated as the weighted rate that they represent (DSR).

    With x the mean of the currents and a that of the spikes, weighted by step_weights, a tends to
    clamp(x, 0, threshold): that is differentiated, and each step gets its share by its weight.

    Args:
        currents: (steps, ...).
        threshold: number, or a tensor of one number where it is trained; spikes are as high.
        decay: in (0, 1].
        fires: share of the threshold from which on a neuron fires.

    Returns:
        Spikes (steps, ...), and the membrane that is left (...).

    Source: Meng et al., Training high-performance low-latency spiking neural networks by differentiation on spike
    representation, CVPR 2022.

    Example:
        >>> currents = torch.full((4, 1), 0.5, requires_grad=True)
        >>> spikes, _ = rate_spikes(currents, 1.0, 1.0)
        >>> spikes.mean().backward()
        >>> spikes.flatten().tolist(), currents.grad.flatten().tolist()
        ([0.0, 1.0, 0.0, 1.0], [0.25, 0.25, 0.25, 0.25])
    """
    return _RateSpikes.apply(currents, threshold, decay, fires)


class _RateSpikes(torch.autograd.Function):
    @staticmethod
    def forward(currents: Any, threshold: Any, decay: Any, fires: Any) -> Any:
        level = number(threshold)
        spikes, left, _ = fire(currents, None, level, decay, fires * level, level, keep=False)
        return spikes, left

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        currents, threshold, ctx.decay, _ = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        level = number(threshold)
        ctx.trained = isinstance(threshold, Tensor)
        mean = weighted_mean(currents, ctx.decay)
        ctx.save_for_backward((mean > 0) & (mean < level), mean >= level if ctx.trained else None)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        inside, above = ctx.saved_tensors
        if gradients[0] is None:
            return None, None, None, None
        total = _summed(gradients[0], [1.0] * len(gradients[0]))
        weights = step_weights(len(gradients[0]), ctx.decay, like=total)
        errors = _each(weights, total * inside)
        of_threshold = (total * above).sum() if ctx.trained and ctx.needs_input_grad[1] else None
        return errors, of_threshold, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        return _RateSpikes.apply(_second(args[0], in_dims[0], info.batch_size), *args[1:]), (1, 0)


def step_weights(steps: int, decay: float, like: Tensor) -> Tensor:
    """Weights of the steps in a mean in which later ones count more, decay^(steps - t) over their sum, (steps,).

    Example:
        >>> step_weights(2, 0.5, like=torch.zeros(()))
        tensor([0.3333, 0.6667])
    """
    return torch.tensor(_shares(steps, decay), device=like.device, dtype=like.dtype)


def _shares(steps: int, decay: float) -> list[float]:
    powers = [decay**power for power in reversed(range(steps))]
    total = sum(powers)
    return [power / total for power in powers]


def weighted_mean(values: Tensor, decay: float) -> Tensor:
    """The mean of (steps, ...) over the steps, weighted by step_weights."""
    return _summed(values, _shares(len(values), decay))


def _summed(values: Tensor, weights: list[float]) -> Tensor:
    """Steps times their weights, summed one by one: a reduction would lay the sum out anew where channels are last."""
    if not len(values):
        return values.new_zeros(values.shape[1:])
    # In a type of few bits what many steps add would be lost.
    kind = torch.float32 if values.dtype in HALF else values.dtype
    total = values[0].to(kind) * weights[0]
    for value, weight in zip(values[1:].unbind(), weights[1:], strict=True):
        total = total.add_(value, alpha=weight)
    return total.to(values.dtype)


def number(value: float | Tensor) -> float:
    """A number, also of a tensor that is trained.

    Example:
        >>> number(torch.tensor(0.5, requires_grad=True))
        0.5
    """
    return float(value.detach()) if isinstance(value, Tensor) else value


def _each(weights: Tensor, one: Tensor) -> Tensor:
    """The same for each step, by its weight: (steps,) and (...) to (steps, ...), laid out as by _steps_like."""
    last = one.ndim == 4 and one.stride(1) == 1
    one = one.movedim(1, -1) if last else one
    every = weights.view(-1, *[1] * one.ndim) * one
    return every.movedim(-1, 2) if last else every


def _steps_like(every: Tensor, steps: int, kind: torch.dtype) -> Tensor:
    """Room for steps, each laid out in memory as the first one given is: where channels are last they stay last."""
    like = torch.empty_like(every[0], dtype=kind) if len(every) else every.new_empty(every.shape[1:], dtype=kind)
    return like.new_empty_strided((steps, *like.shape), (like.numel(), *like.stride()))


def _first(value: Tensor, place: int | None, size: int) -> Tensor:
    return value.expand(size, *value.shape) if place is None else value.movedim(place, 0)


def _second(value: Tensor, place: int | None, size: int) -> Tensor:
    if place is None:
        return value.unsqueeze(1).expand(value.shape[0], size, *value.shape[1:])
    return value.movedim(place, 1)
