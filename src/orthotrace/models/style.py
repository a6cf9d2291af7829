"""What all blocks of a network have in common: nonlinearity, normalisation, pooling, width."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Literal

from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.layers.maxout import Maxout
from orthotrace.models.width import scaled

Nonlinearity = Literal["relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh", "maxout"]
Pooling = Literal["average", "max", "stochastic"]
# True is batch normalisation.
Norm = bool | Literal["whitening"]
KINDS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "selu": nn.SELU, "gelu": nn.GELU, "silu": nn.SiLU,
    "tanh": nn.Tanh,
}  # fmt: skip


class BlockStyle:
    """Makes the layers of blocks: a layer is a convolution or a linear one, its normalisation and its nonlinearity.

    Under maxout a layer before the nonlinearity has pieces times the outputs. Without normalisation initial weights are
    from N(0, 2 / fan_in).

    Args:
        nonlinearity: after each layer.
        pieces: of maxout, None for 2.
        pool: how blocks of the kind pool do it.
        norm: True for batch normalisation, "whitening" for whitening of the channels of each layer, False for none.
        bias: whether layers have biases.
        width: factor on channels and units, above 0.

    Raises:
        UserError: pieces without maxout; stochastic pooling of activations that may be negative.

    Source: He et al., ICCV 2015, eq. 10, for the initial weights.

    Example:
        >>> BlockStyle("maxout", pieces=3, norm=False).layer(4, 8, 3)
        ActiveLayer(
          (conv): Conv2d(4, 24, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
          (bn): Identity()
          (act): Maxout(pieces=3)
        )
    """

    def __init__(
        self,
        nonlinearity: Nonlinearity = "relu",
        pieces: int | None = None,
        pool: Pooling = "average",
        norm: Norm = True,
        bias: bool = False,
        width: float = 1.0,
    ) -> None:
        if pieces is not None and nonlinearity != "maxout":
            raise UserError(f"are of maxout alone, and the nonlinearity is {nonlinearity}: leave them out", "pieces")
        if pool == "stochastic" and nonlinearity != "relu":
            raise UserError(
                f"stochastic pooling draws by activations that are not negative, and those of {nonlinearity} may be: "
                "take nonlinearity relu, or pool average or max",
                "pool",
            )
        self.nonlinearity: Nonlinearity = nonlinearity
        self.pieces = (pieces or 2) if nonlinearity == "maxout" else 1
        self.pool: Pooling = pool
        self.norm: Norm = norm
        self.bias = bias
        self.width = width

    def scaled(self, units: int) -> int:
        """A number of channels or units, times the width."""
        return scaled(units, self.width)

    def activation(self) -> nn.Module:
        """The nonlinearity."""
        return Maxout(self.pieces) if self.nonlinearity == "maxout" else KINDS[self.nonlinearity]()

    def normalisation(self, units: int, flat: bool = False) -> nn.Module:
        """Of so many channels, or units of a linear layer."""
        if not self.norm:
            return nn.Identity()
        if self.norm == "whitening":
            from orthotrace.layers.whitening import Whitening

            return Whitening(units)
        return nn.BatchNorm1d(units) if flat else nn.BatchNorm2d(units)

    def convolution(self, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
        """A convolution that keeps sides, but for its stride."""
        return self._begun(nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=self.bias))

    def linear(self, before: int, after: int) -> nn.Linear:
        """A linear layer."""
        return self._begun(nn.Linear(before, after, bias=self.bias))

    def layer(self, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> ActiveLayer:
        """A convolution, its normalisation and its nonlinearity."""
        wide = after * self.pieces
        conv = self.convolution(before, wide, kernel, stride, groups)
        return ActiveLayer(OrderedDict(conv=conv, bn=self.normalisation(wide), act=self.activation()))

    def _begun(self, layer: Any) -> Any:
        if not self.norm:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        return layer


class ActiveLayer(nn.Sequential):
    """A layer, its normalisation and its nonlinearity."""


def strided(sides: tuple[int, ...], stride: int) -> tuple[int, ...]:
    """Sides of maps after a convolution that keeps sides, but for its stride.

    Example:
        >>> strided((7, 8), 2)
        (4, 4)
    """
    return tuple(-(-side // stride) for side in sides)
