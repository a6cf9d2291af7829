"""Distances in place of products, with the gradients that adder layers learn by."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor as is_transformed

# Numbers that are in memory at once on the way back.
PIECE = 2**20


def negative_distance(rows: Tensor, weights: Tensor) -> Tensor:
    """How near weights are to rows: y_no = -sum_k |x_nk - w_ok|, with gradients that are not its own.

    Those are signs. In their place the errors e of y give

        to w_ok   sum_n e_no (x_nk - w_ok)
        to x_nk   sum_o e_no clip(w_ok - x_nk, -1, 1)

    Args:
        rows: x, (b, n, k).
        weights: w, (b, out, k).

    Returns:
        (b, n, out).

    Source: Chen et al., AdderNet, CVPR 2020, eq. 2 and 5 to 7.

    Example:
        >>> negative_distance(torch.tensor([[[1.0, 3.0]]]), torch.ones(1, 1, 2))
        tensor([[[-2.]]])
    """
    return _Distance.apply(rows, weights)


def rated(weight: Tensor, rate: float | None) -> Tensor:
    """A weight as it is, whose gradient g, of k numbers, goes on as rate sqrt(k) g / |g|.

    Under torch.func, as for a Fisher information, it goes on as it is.

    Args:
        weight: that is trained.
        rate: above 0; None for the gradient as it is.

    Source: Chen et al., AdderNet, CVPR 2020, eq. 12 and 13.

    Example:
        >>> weight = torch.zeros(4, requires_grad=True)
        >>> (1000 * rated(weight, 0.1)).sum().backward()
        >>> weight.grad
        tensor([0.1000, 0.1000, 0.1000, 0.1000])
    """
    return weight if rate is None or is_transformed(weight) else _Rated.apply(weight, rate)


class _Distance(torch.autograd.Function):
    """-sum_k |x_k - w_k| of rows (b, n, k) and weights (b, out, k), with the gradients of AdderNet: (b, n, out)."""

    @staticmethod
    def forward(rows: Any, weights: Any) -> Any:
        return -torch.cdist(rows, weights, p=1)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (errors,) = gradients
        rows, weights = ctx.saved_tensors
        to_rows = to_weights = None
        if ctx.needs_input_grad[0]:
            # Without sums a row, an output and a feature each have a number: in pieces of rows.
            count = max(1, PIECE // max(1, weights.numel()))
            pieces = [
                (some[:, :, None] @ (weights[:, None] - of[:, :, None]).clamp(-1, 1))[:, :, 0]
                for some, of in zip(errors.split(count, 1), rows.split(count, 1), strict=True)
            ]
            to_rows = torch.cat(pieces, 1)
        if ctx.needs_input_grad[1]:
            to_weights = errors.mT @ rows - errors.sum(1)[:, :, None] * weights
        return to_rows, to_weights

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        # torch has no rule for distances of sets of sets: they are one more batch.
        mapped = [
            value.movedim(place, 0) if place is not None else value.expand(info.batch_size, *value.shape)
            for value, place in zip(args, in_dims, strict=True)
        ]
        found = _Distance.apply(*(value.flatten(0, 1) for value in mapped))
        return found.unflatten(0, (info.batch_size, -1)), 0


class _Rated(torch.autograd.Function):
    """A weight as it is, whose gradient g goes on as rate sqrt(k) g / |g|, with k its numbers."""

    @staticmethod
    def forward(ctx: Any, weight: Any, rate: Any) -> Any:
        ctx.rate = rate
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        size = gradient.norm().clamp_min(torch.finfo(gradient.dtype).tiny)
        return gradient * (ctx.rate * math.sqrt(gradient.numel()) / size), None
