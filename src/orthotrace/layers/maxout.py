"""Maxout units."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from orthotrace.core.errors import UserError, checked


class Maxout(nn.Module):
    """The largest of some pieces: h_i = max_j z_ij, with z of the layer before, which has pieces times the outputs.

    The pieces of a unit are neighbours: outputs i * pieces to (i + 1) * pieces - 1 of the layer before, along dimension
    1. With linear pieces a unit is any convex function that is made of so many lines.

    Args:
        pieces: of a unit, at least 2.

    Raises:
        UserError: a number of outputs that is no multiple of the pieces.

    Source: Goodfellow et al., Maxout Networks, ICML 2013, sec. 3.

    Example:
        >>> import torch
        >>> Maxout(2)(torch.tensor([[1.0, 3.0, -2.0, -5.0]]))
        tensor([[ 3., -2.]])
    """

    is_nonlinearity = True

    @checked
    def __init__(self, pieces: Annotated[int, Field(ge=2)] = 2) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, inputs: Tensor) -> Tensor:
        """Units (n, outputs / pieces, ...) of outputs (n, outputs, ...) of the layer before."""
        outputs = inputs.shape[1]
        if outputs % self.pieces:
            raise UserError(f"{outputs} outputs are no multiple of {self.pieces} pieces", "pieces")
        return inputs.unflatten(1, (outputs // self.pieces, self.pieces)).amax(2)

    def extra_repr(self) -> str:
        """What a printed network says of it."""
        return f"pieces={self.pieces}"
