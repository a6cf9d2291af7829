"""Local response normalisation, as LeNet and AlexNet have it, without torch's detour over three dimensions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class LocalResponseNorm(nn.LocalResponseNorm):
    """Divides by the activity of neighbouring channels, y_c = x_c / (k + alpha / n sum_j x_j^2) ** beta.

    The sum is over the n channels from c - n // 2 on; beyond the first and the last there are zeros. The same as
    torch's own, which pools over three dimensions: here n shifted sums, and a backward pass in closed form,

        dx_c = g_c d_c ** -beta - 2 alpha beta / n x_c sum_i g_i x_i d_i ** (-beta - 1),

    with d the bracket and the sum over the channels whose neighbour c is. Gradients of gradients are torch's own alone.

    Args:
        size: n, channels in a sum, at least 1.
        alpha, beta, k: as above.

    Source: Krizhevsky, Sutskever & Hinton, NIPS 2012, section 3.3.

    Example:
        >>> layer = LocalResponseNorm(3, alpha=3.0, beta=1.0, k=1.0)
        >>> layer(torch.tensor([[[1.0], [2.0], [0.0]]])).flatten().tolist()
        [0.1666..., 0.3333..., 0.0]
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (as torch names it)
        """Normalise maps (n, channels, ...)."""
        # Powers of few bits are not to be had by roots; torch's own computes in 32 under autocast too.
        given = input.float() if input.dtype in (torch.bfloat16, torch.float16) else input
        return _Normalised.apply(given, self.size, self.alpha / self.size, self.beta, self.k)[0]


class _Normalised(torch.autograd.Function):
    # For gradients image by image, such as EWC's.
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, size: int, share: float, beta: float, k: float) -> tuple[Tensor, Tensor, Tensor]:
        divisor = _sums(x.square(), size, size // 2).mul_(share).add_(k)
        scale = _power(divisor, beta)
        return x * scale, divisor, scale

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        x, size, share, beta, _ = inputs
        _, divisor, scale = output
        ctx.mark_non_differentiable(divisor, scale)
        # Else autograd makes zeros of the size of the maps, twice, for the gradients of these two.
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, divisor, scale)
        ctx.options = size, share, beta

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if gradients[0] is None:
            return None, None, None, None, None
        x, divisor, scale = ctx.saved_tensors
        size, share, beta = ctx.options
        scaled = gradients[0] * scale
        # What a channel does to those whose neighbour it is: the window the other way round.
        others = _sums((scaled * x).div_(divisor), size, size - 1 - size // 2)
        return torch.addcmul(scaled, x, others, value=-2 * share * beta), None, None, None, None


def _sums(values: Tensor, size: int, before: int) -> Tensor:
    """Sums over size channels, from so many before each, with zeros beyond the ends."""
    channels = values.shape[1]
    found = values.clone() if before < size else torch.zeros_like(values)
    for shift in range(-before, size - before):
        reach = channels - abs(shift)
        if shift and reach > 0:
            found.narrow(1, max(-shift, 0), reach).add_(values.narrow(1, max(shift, 0), reach))
    return found


def _power(values: Tensor, beta: float) -> Tensor:
    """The power of -beta; by roots where that is the usual .75, which is several times faster."""
    if beta != 0.75:
        return values.pow(-beta)
    root = values.rsqrt()
    return root.sqrt().mul_(root)
