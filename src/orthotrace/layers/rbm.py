"""Restricted Boltzmann machines: what is in images, learned without labels by contrastive divergence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from orthotrace.core.errors import UserError, checked
from orthotrace.core.seeds import generator

Units = Literal["binary", "gaussian"]
# Standard deviation of the first weights, as in Hinton's guide.
SMALL = 0.01


class RBM(nn.Module):
    """A restricted Boltzmann machine: binary hidden units h, and binary or Gaussian visible ones v.

        p(v, h) = exp(-E(v, h)) / Z
        E(v, h) = - v b - h c - h W v                 binary
        E(v, h) = |v - b|^2 / 2 - h c - h W v         Gaussian, of variance 1
        p(h_j = 1 | v) = sigmoid(c_j + W_j v)
        p(v_i = 1 | h) = sigmoid(b_i + h W^i), or v_i normal about b_i + h W^i with variance 1
        F(v) = -log sum_h exp(-E(v, h)), so that p(v) is proportional to exp(-F(v))

    Args:
        visible: units, at least 1.
        hidden: units, at least 1.
        units: what the visible ones are, "binary" or "gaussian". Numbers between 0 and 1 may stand for probabilities
            of binary ones.
        seed: of the first weights, which are normal with deviation .01; biases are 0.

    Raises:
        UserError: a number of units below 1, or unknown units.

    Attributes:
        weight: W, (hidden, visible), as of a Linear layer.
        visible_bias: b.
        hidden_bias: c.

    Source: Smolensky, in Parallel Distributed Processing 1986; Hinton, Training Products of Experts by Minimizing
    Contrastive Divergence, Neural Computation 2002; Hinton, A Practical Guide to Training Restricted Boltzmann
    Machines, 2012, section 13.2 for Gaussian units.

    Example:
        >>> machine = RBM(4, 2)
        >>> stripes = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]] * 20)
        >>> before = float(machine.reconstruction_error(stripes))
        >>> machine.fit(stripes, epochs=50, lr=0.5, batch_size=10)
        >>> float(machine.reconstruction_error(stripes)) < before / 2
        True
    """

    @checked
    def __init__(
        self,
        visible: Annotated[int, Field(ge=1)],
        hidden: Annotated[int, Field(ge=1)],
        units: Units = "binary",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.units: Units = units
        drawn = torch.randn(hidden, visible, generator=generator(seed, 1), dtype=torch.float64)
        self.weight = nn.Parameter((SMALL * drawn).to(torch.get_default_dtype()))
        self.visible_bias = nn.Parameter(torch.zeros(visible))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))

    def energy(self, visible: Tensor, hidden: Tensor) -> Tensor:
        """E(v, h) of states (n, visible) and (n, hidden), as (n,)."""
        return self._alone(visible) - hidden @ self.hidden_bias - (hidden * linear(visible, self.weight)).sum(1)

    def free_energy(self, visible: Tensor) -> Tensor:
        """F(v), (n,): that of v alone less sum_j log(1 + exp(c_j + W_j v))."""
        return self._alone(visible) - softplus(linear(visible, self.weight, self.hidden_bias)).sum(1)

    def _alone(self, visible: Tensor) -> Tensor:
        """The part of the energy in which no hidden unit has a part."""
        if self.units == "binary":
            return -(visible @ self.visible_bias)
        return (visible - self.visible_bias).square().sum(1) / 2

    def forward(self, visible: Tensor) -> Tensor:
        """p(h = 1 | v), (n, hidden): what a next machine is given."""
        return linear(visible, self.weight, self.hidden_bias).sigmoid()

    def visible_mean(self, hidden: Tensor) -> Tensor:
        """The mean of v where the hidden units are in these states, (n, visible)."""
        found = linear(hidden, self.weight.T, self.visible_bias)
        return found.sigmoid() if self.units == "binary" else found

    @torch.no_grad()
    def sample(self, visible: Tensor, steps: int = 1, draws: torch.Generator | None = None) -> Tensor:
        """Visible states after steps of Gibbs sampling: all hidden units, then all visible ones.

        Args:
            visible: states to begin at, (n, visible).
            steps: at least 1; the more, the nearer the states are to p(v).
            draws: on the CPU; None for torch's own.
        """
        for _ in range(steps):
            mean = self.visible_mean(_drawn(self(visible), draws))
            visible = _drawn(mean, draws) if self.units == "binary" else mean + _like(torch.randn, mean, draws)
        return visible

    def contrastive_divergence(
        self, images: Tensor, steps: int = 1, chain: Tensor | None = None, draws: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """A number whose gradient is that of CD-k, and the states that the sampling came to.

            mean F(v) - mean F(v_k),  v_k after k steps from v, held

        Its gradient is the exact one of -log p(v) as v_k comes to be drawn from p(v). The number itself is no
        likelihood.

        Args:
            images: v, (n, visible).
            steps: k, at least 1.
            chain: states to begin at in the place of the images, those that the step before came to: persistent
                contrastive divergence (Tieleman, ICML 2008).
            draws: as for sample.
        """
        states = self.sample(images if chain is None else chain, steps, draws)
        return self.free_energy(images).mean() - self.free_energy(states).mean(), states

    @torch.no_grad()
    def reconstruction_error(self, images: Tensor) -> Tensor:
        """Mean square of what one step up and down, without draws, makes of images otherwise."""
        return (self.visible_mean(self(images)) - images).square().mean()

    @checked
    def fit(
        self,
        images: Tensor,
        steps: Annotated[int, Field(ge=1)] = 1,
        epochs: Annotated[int, Field(ge=1)] = 5,
        lr: Annotated[float, Field(gt=0)] = 0.05,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        batch_size: Annotated[int, Field(ge=1)] = 64,
        persistent: bool = False,
        seed: int = 0,
    ) -> None:
        """Learn from images by contrastive divergence and plain steps with momentum.

        Args:
            images: (n, visible).
            steps: of Gibbs sampling, k.
            epochs: over the images.
            lr: learning rate, above 0; Gaussian units need a tenth of that of binary ones, or less.
            momentum: of the steps, in [0, 1).
            batch_size: images of a step.
            persistent: the chains go on from step to step, as many as a batch has images.
            seed: of the order and of the draws.

        Raises:
            UserError: an argument out of its range, or weights that are no longer finite.
        """
        draws = generator(seed, 2)
        self._begin_at_mean(images)
        optimizer = torch.optim.SGD(self.parameters(), lr, momentum)
        chain = None
        for _ in range(epochs):
            order = torch.randperm(len(images), generator=draws).to(images.device)
            for places in order.split(batch_size):
                loss, states = self.contrastive_divergence(images[places], steps, chain, draws)
                # The first batch is whole wherever one is: so many chains there are.
                chain = states if persistent else None
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        if not all(value.isfinite().all() for value in self.parameters()):
            raise UserError("the machine's weights are no longer finite: lower it", "lr")

    @torch.no_grad()
    def _begin_at_mean(self, images: Tensor) -> None:
        """Visible biases by which the mean is right while the hidden units say nothing, as in Hinton's guide, 8.1."""
        mean = images.mean(0)
        # A unit that is never on has its share of one image.
        edge = 1 / (len(images) + 1)
        self.visible_bias.copy_(mean.clamp(edge, 1 - edge).logit() if self.units == "binary" else mean)


def _drawn(probability: Tensor, draws: torch.Generator | None) -> Tensor:
    """0 or 1, with these probabilities of 1."""
    return (_like(torch.rand, probability, draws) < probability).to(probability.dtype)


def _like(draw: Callable[..., Tensor], values: Tensor, draws: torch.Generator | None) -> Tensor:
    """Drawn numbers of the shape, type and device of values, the same on every device."""
    return draw(values.shape, generator=draws, dtype=values.dtype).to(values.device)
