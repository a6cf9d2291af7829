"""Vision transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from orthotrace.core.errors import UserError, checked
from orthotrace.models.convnet import Probability
from orthotrace.models.width import scaled

Number = Annotated[int, Field(ge=1)]


class ViT(nn.Module):
    """A small vision transformer: patches, blocks of attention, the mean over patches, a linear ``head``.

    ``embed`` makes a token of each patch, and ``position`` adds what is learned of its place. Each of block1, block2,
    ... normalises before its attention and before its two linear layers with a GELU. ``norm`` follows the last block;
    there is no token for the class.

    Args:
        shape: of one input, (channels, height, width).
        classes: number of outputs, at least 1.
        patch: side of a patch in pixels, which divides both sides of the images.
        features: width of a token, a multiple of heads.
        depth: number of blocks.
        heads: of the attention.
        ratio: width of the hidden layer of a block, over features.
        dropout: probability inside the blocks.
        width: factor on features, which stay a multiple of heads; above 0.

    Raises:
        UserError: a value out of its range, or patches that do not fit into the images.

    Source: Dosovitskiy et al., An image is worth 16 x 16 words, ICLR 2021; Beyer, Zhai & Kolesnikov, Better plain ViT
    baselines for ImageNet-1k, arXiv:2205.01580, 2022, for the mean in the place of a token.

    Example:
        >>> model = ViT((3, 32, 32), 10, patch=4, features=64, depth=2)
        >>> model(torch.zeros(2, 3, 32, 32)).shape, model.position
        (torch.Size([2, 10]), Embedding(64, 64))
    """

    @checked
    def __init__(
        self,
        shape: Sequence[int],
        classes: Number,
        patch: Number = 4,
        features: Number = 64,
        depth: Number = 4,
        heads: Number = 4,
        ratio: Annotated[float, Field(gt=0)] = 2.0,
        dropout: Probability = 0.0,
        width: Annotated[float, Field(gt=0)] = 1.0,
    ) -> None:
        super().__init__()
        channels, *sides = shape
        if any(side % patch for side in sides):
            fitting = [side for side in range(1, min(sides) + 1) if not any(other % side for other in sides)]
            raise UserError(
                f"images of {' x '.join(map(str, sides))} pixels do not divide into patches of {patch} x {patch}; take "
                f"{' or '.join(map(str, fitting))}",
                "patch",
            )
        if features % heads:
            raise UserError(f"{features} features do not divide into {heads} heads", "features")
        features = scaled(features // heads, width) * heads
        self.depth = depth
        self.embed = nn.Conv2d(channels, features, patch, stride=patch)
        self.position = nn.Embedding(sides[0] // patch * (sides[1] // patch), features)
        nn.init.trunc_normal_(self.position.weight, std=0.02)
        for number in range(1, depth + 1):
            block = nn.TransformerEncoderLayer(
                features, heads, scaled(features, ratio), dropout, nn.GELU(), batch_first=True, norm_first=True
            )
            self.add_module(f"block{number}", block)
        self.norm = nn.LayerNorm(features)
        self.head = nn.Linear(features, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, outputs)."""
        tokens = self.embed(images).flatten(2).transpose(1, 2)
        tokens = tokens + self.position(torch.arange(tokens.shape[1], device=tokens.device))
        for number in range(1, self.depth + 1):
            tokens = getattr(self, f"block{number}")(tokens)
        return self.head(self.norm(tokens).mean(1))
