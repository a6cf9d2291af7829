"""A network from a list of blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from orthotrace.core.errors import UserError, checked
from orthotrace.models.block_kinds import make_block
from orthotrace.models.fractal import Fractal
from orthotrace.models.style import BlockStyle, Nonlinearity, Norm, Pooling


class BlockNet(nn.Module):
    """Blocks one after another, the mean of the last maps, and a linear ``head``.

    Each block is a mapping with its ``kind`` and the keys of that kind:

        conv       channels, stride, residual           convolution 3 x 3
        linear     units, residual                      of flattened inputs
        pool       size
        inception  conv1, conv3, conv5, pooled          branches beside each other
        separable  channels, stride                     depthwise 3 x 3, pointwise 1 x 1
        inverted   channels, stride, expand             inverted residual
        fractal    channels, columns, drop_path, global_drop_path

    With freeze_path the columns of fractal blocks are frozen one after another, the shallowest after the first task,
    the deepest never: so later tasks train what is left. The joins still mix all columns, so that outputs on earlier
    tasks do move.

    Args:
        shape: of one input.
        classes: number of outputs, at least 1.
        blocks: at least one.
        nonlinearity: of all blocks.
        pieces: of maxout, at least 2; null for 2. Of other nonlinearities there are none.
        pool: how blocks of the kind pool do it: average, max, stochastic.
        norm: true for batch normalisation, whitening for whitening of the channels of each layer, false for none:
            then initial weights are from N(0, 2 / fan_in).
        bias: whether layers have biases; the head has one.
        width: factor on all channels and units, above 0.
        freeze_path: freeze a column of the fractal blocks after each task.

    Raises:
        UserError: a value out of its range, naming its block; images too small; freeze_path without fractal blocks.

    Source: of each kind see its class; Smith & Topin, Deep Convolutional Neural Network Design Patterns, 2016, freeze
    paths of fractal networks in turn, for steps; here it is for tasks.

    Example:
        >>> net = BlockNet((1, 8, 8), 10, [{"kind": "conv", "channels": 4}, {"kind": "pool"}], nonlinearity="elu")
        >>> net(torch.zeros(2, 1, 8, 8)).shape, [name for name, _ in net.named_children()]
        (torch.Size([2, 10]), ['block1', 'block2', 'pool', 'flatten', 'head'])
    """

    @checked
    def __init__(
        self,
        shape: Sequence[int],
        classes: Annotated[int, Field(ge=1)],
        blocks: Annotated[Sequence[Mapping[str, Any]], Field(min_length=1)],
        nonlinearity: Nonlinearity = "relu",
        pieces: Annotated[int, Field(ge=2)] | None = None,
        pool: Pooling = "average",
        norm: Norm = True,
        bias: bool = False,
        width: Annotated[float, Field(gt=0)] = 1.0,
        freeze_path: bool = False,
    ) -> None:
        super().__init__()
        style = BlockStyle(nonlinearity, pieces, pool, norm, bias, width)
        self.names: list[str] = []
        now = tuple(shape)
        for number, described in enumerate(blocks):
            try:
                block = make_block(described, now, style)
            except UserError as error:
                raise error.below(f"blocks[{number}]") from error
            self.names.append(f"block{number + 1}")
            self.add_module(self.names[-1], block)
            now = block.shape
        if len(now) == 3:
            self.pool = nn.AdaptiveAvgPool2d(1)
            self.flatten = nn.Flatten()
        self.head = nn.Linear(now[0], classes)
        self.freeze_path = freeze_path
        if freeze_path and not any(len(block.columns) > 1 for block in self.fractals()):
            raise UserError("there is no fractal block with several columns: set false", "freeze_path")

    def fractals(self) -> list[Fractal]:
        """The fractal blocks, in order."""
        return [block for block in self.children() if isinstance(block, Fractal)]

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (n, classes) of inputs (n, *shape)."""
        chosen = None
        if self.training and any(block.global_drop_path for block in self.fractals()):
            chosen = torch.rand(2, len(inputs), device=inputs.device)
        values = inputs
        for name in self.names:
            block = self.get_submodule(name)
            values = block(values, chosen) if isinstance(block, Fractal) else block(values)
        if values.ndim == 4:
            values = self.flatten(self.pool(values))
        return self.head(values)

    def freeze(self, tasks: int) -> list[nn.Parameter]:
        """Freeze what so many learned tasks leave frozen, see orthotrace.training.frozen_paths.

        Returns:
            The parameters that must stay as they are.
        """
        frozen = tasks if self.freeze_path else 0
        return [value for block in self.fractals() for value in block.freeze(frozen)]
