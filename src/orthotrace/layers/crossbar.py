"""Weights as a memristor crossbar holds them: pairs of conductances, few levels, noise and drift."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor as is_transformed

from orthotrace.core.errors import UserError, checked
from orthotrace.core.seeds import generator

Levels = Annotated[int, Field(ge=2)]
Noise = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Times = Annotated[float, Field(ge=1)]
# What is drawn.
WRITING, READING = 0, 1


class Crossbar(nn.Module):
    """A weight as the difference of two conductances, w = s (G+ - G-), each between g_min and 1.

    The device of the sign of a weight is set to g_min + |w| / s, the other to g_min; with levels to the nearest of so
    many, evenly from g_min to 1. What it then has, and what is read of it, is

        written   G0 = G (1 + write_noise e), clipped to [g_min, 1]
        read      G0 time^-drift (1 + read_noise e'),   time = t / t0 since it was written

    with e and e' from N(0, 1). A device is written when the level that it is to have changes, and only then; e' is
    drawn in each forward in training mode, and stays the same in evaluation. The scale s is fixed: beyond reach times
    the largest weight of the start a weight is clipped.

    An optimizer trains the ideal weight, and its gradient is that of the weight that is read: straight through. So a
    projection protects the ideal weight exactly, and what the devices make of its update is what leaks. Under
    torch.func, as for a Fisher information, nothing is written, and reading has no noise.

    Args:
        weight: that is to be held; not zero.
        levels: of a device, at least 2; None for any conductance.
        write_noise: relative standard deviation of a conductance that is written, at least 0.
        read_noise: the same of one that is read.
        drift: exponent nu, at least 0.
        time: at which weights are read, in units of that at which they were written, at least 1.
        g_min: conductance of a device that is off, in [0, 1).
        reach: the largest weight that can be held, over the largest one now, above 0.

    Raises:
        UserError: a value out of its range; a weight of zeros, or one that is not finite.

    Attributes:
        conductances: as they were written, (2, *weight.shape).
        writes, reads: how often was drawn.

    Sources: Burr et al., Advances in Physics: X 2017 (pairs); Le Gallo & Sebastian, J. Phys. D 2020 (drift).

    Example:
        >>> weight = torch.tensor([[0.5, -1.0]])
        >>> Crossbar(weight, levels=3, reach=1.0)(weight)
        tensor([[ 0.5000, -1.0000]])
    """

    # Read by protection: the update of what is trained is the update that the layer gets, but for the hardware.
    passes_updates = True
    scale: Tensor
    seed: Tensor
    wanted: Tensor
    conductances: Tensor
    writes: Tensor
    reads: Tensor

    @checked
    def __init__(
        self,
        weight: Tensor,
        levels: Levels | None = None,
        write_noise: Noise = 0.0,
        read_noise: Noise = 0.0,
        drift: Noise = 0.0,
        time: Times = 1.0,
        g_min: Share = 0.01,
        reach: Annotated[float, Field(gt=0)] = 2.0,
    ) -> None:
        super().__init__()
        weight = weight.detach()
        largest = float(weight.abs().amax())
        if not 0 < largest < float("inf"):
            raise UserError("a weight of zeros, or one that is not finite, has no range of conductances", "weight")
        self.levels = levels
        self.write_noise = write_noise
        self.read_noise = read_noise
        self.drift = drift
        self.time = time
        self.g_min = g_min
        self.register_buffer("scale", weight.new_tensor(reach * largest / (1 - g_min)))
        # No device has what it is to have.
        self.register_buffer("wanted", weight.new_full((2, *weight.shape), -1.0))
        self.register_buffer("conductances", torch.zeros_like(self.wanted))
        self.register_buffer("seed", torch.randint(2**62, (), device="cpu").to(weight.device))
        for name in ("writes", "reads"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64, device=weight.device))
        self.write(weight)

    def target(self, weight: Tensor) -> Tensor:
        """The conductances that devices are to have for a weight, (2, *weight.shape)."""
        span = 1 - self.g_min
        share = torch.stack([weight, -weight]).div(self.scale).clamp(0, span)
        if self.levels is not None:
            step = span / (self.levels - 1)
            share = (share / step).round() * step
        return self.g_min + share

    @torch.no_grad()
    def write(self, weight: Tensor) -> None:
        """Write the devices that are to have another conductance than they were written for."""
        target = self.target(weight)
        changed = target != self.wanted
        if not bool(changed.any()):
            return
        held = target
        if self.write_noise:
            held = (target * (1 + self.write_noise * self._drawn(WRITING, self.writes))).clamp(self.g_min, 1)
        self.conductances.copy_(torch.where(changed, held, self.conductances))
        self.wanted.copy_(target)
        self.writes.add_(1)

    @torch.no_grad()
    def read(self, noise: bool = True) -> Tensor:
        """The weight that the devices give."""
        found = self.conductances * self.time**-self.drift
        if noise and self.read_noise:
            self.reads.add_(int(self.training))
            found = found * (1 + self.read_noise * self._drawn(READING, self.reads))
        return self.scale * (found[0] - found[1])

    def _drawn(self, what: int, count: Tensor) -> Tensor:
        """Of each device a number; the same again wherever and whenever a run goes on."""
        draws = generator(int(self.seed), what, int(count))
        like = self.conductances
        return torch.randn(like.shape, generator=draws, dtype=like.dtype).to(like.device)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight that the layer works with, from the one that is trained."""
        mapped = is_transformed(weight)
        if not mapped:
            self.write(weight)
        return self.read(noise=not mapped).to(weight.dtype) + (weight - weight.detach())

    def right_inverse(self, weight: Tensor) -> Tensor:
        """A weight to train from, of one that is assigned."""
        return weight
