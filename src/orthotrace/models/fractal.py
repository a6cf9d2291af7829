"""The block of fractal networks: columns of layers of several depths, joined by means."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from orthotrace.core.errors import checked
from orthotrace.models.style import BlockStyle

Units = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class Fractal(nn.Module):
    """A fractal of convolutions 3 x 3, each with normalisation and nonlinearity.

    f_1(z) = conv(z), f_{C+1}(z) = (f_C o f_C)(z) + conv(z), where + is a join: the mean of all that meets there. So
    column c of C has 2^(c-1) layers, each of which spans 2^(C-c) layers of the deepest column.

    In training paths are dropped, for each image by itself. Locally each join leaves out each of its inputs with a
    probability, but never all. Globally one column alone is used, the same in all blocks of a network. Nothing is
    scaled, since a join is a mean; in evaluation all paths are there.

    Args:
        shape: of the input, (channels, height, width).
        style: of the network.
        channels: of all layers.
        columns: C; the deepest has 2^(C-1) layers.
        drop_path: probability that a join leaves out an input, below 1.
        global_drop_path: share of the images for which one column alone is used.

    Attributes:
        shape: of the output.
        frozen: columns, from the shallowest, whose normalisation works in evaluation mode whoever calls train().

    Raises:
        UserError: a value out of its range.

    Source: Larsson, Maire & Shakhnarovich, FractalNet, ICLR 2017, eq. 1 and 2 and sec. 3.1, with drop_path .15 and
    global_drop_path .5.

    Example:
        >>> block = Fractal((3, 8, 8), BlockStyle(), channels=4, columns=3)
        >>> [len(column) for column in block.columns], block(torch.zeros(2, 3, 8, 8)).shape
        ([1, 2, 4], torch.Size([2, 4, 8, 8]))
    """

    @checked
    def __init__(
        self,
        shape: tuple[int, ...],
        style: BlockStyle,
        channels: Units,
        columns: Annotated[int, Field(ge=1, le=8)] = 3,
        drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        global_drop_path: Share = 0.0,
    ) -> None:
        super().__init__()
        before, *sides = shape
        planes = style.scaled(channels)
        self.drop_path = drop_path
        self.global_drop_path = global_drop_path
        self.frozen = 0
        self.columns = nn.ModuleList(
            nn.ModuleList(style.layer(planes if number else before, planes, 3) for number in range(2**column))
            for column in range(columns)
        )
        self.shape = (planes, *sides)

    @property
    def draws(self) -> bool:
        """Whether it draws in training: networks that are trained together would share the draws."""
        return bool(self.drop_path or self.global_drop_path)

    def forward(self, inputs: Tensor, chosen: Tensor | None = None) -> Tensor:
        """Maps (n, *shape) of maps.

        Args:
            inputs: (n, channels, height, width).
            chosen: (2, n), numbers in [0, 1) that a network draws for all its blocks: an image for which the first is
                below global_drop_path uses one column alone, the second times the columns; None to draw them here.
        """
        columns: Any = self.columns
        depth = len(columns[-1])
        alone = None
        if self.training and self.draws:
            chosen = torch.rand(2, len(inputs), device=inputs.device) if chosen is None else chosen
            # -1 for all columns.
            alone = torch.where(chosen[0] < self.global_drop_path, (chosen[1] * len(columns)).long(), -1)
        state = [inputs] * len(columns)
        joined = inputs
        for step in range(1, depth + 1):
            ending = [number for number, column in enumerate(columns) if step % (depth // len(column)) == 0]
            outputs = [columns[number][step * len(columns[number]) // depth - 1](state[number]) for number in ending]
            joined = self._join(outputs, ending, alone)
            for number in ending:
                state[number] = joined
        return joined

    def _join(self, outputs: list[Tensor], columns: list[int], alone: Tensor | None) -> Tensor:
        if len(outputs) == 1:
            return outputs[0]
        if alone is None:
            return torch.stack(outputs).mean(0)
        kept = kept_paths(len(outputs), len(alone), self.drop_path, alone.device)
        own = torch.tensor(columns, device=alone.device)[:, None] == alone
        # What another column's join gives is dropped where it goes, so that any mean does.
        own |= ~own.any(0)
        weights = torch.where(alone < 0, kept, own).to(outputs[0].dtype)
        weights = weights / weights.sum(0)
        return sum(one * weight[:, None, None, None] for one, weight in zip(outputs, weights, strict=True))  # pyright: ignore[reportReturnType]

    def freeze(self, columns: int) -> list[nn.Parameter]:
        """Freeze so many columns, from the shallowest, but never the last, and none else.

        Returns:
            Their parameters, which whoever trains must leave as they are.
        """
        self.frozen = min(columns, len(self.columns) - 1)
        self.train(self.training)
        return [value for column in list(self.columns)[: self.frozen] for value in column.parameters()]

    def train(self, mode: bool = True) -> Fractal:
        """Training or evaluation mode; the normalisation of frozen columns stays in evaluation mode."""
        super().train(mode)
        for column in list(self.columns)[: self.frozen]:
            column.eval()
        return self


def kept_paths(paths: int, images: int, drop: float, device: torch.device | str = "cpu") -> Tensor:
    """Which inputs of a join stay, (paths, images): each is left out with a probability, but never all of an image.

    Where all would be left out one stays, each as likely as another.

    Example:
        >>> kept_paths(2, 1000, 0.9).any(0).all()
        tensor(True)
    """
    kept = torch.rand(paths, images, device=device) >= drop
    one = torch.randint(paths, (images,), device=device)
    return kept | (~kept.any(0) & (torch.arange(paths, device=device)[:, None] == one))
