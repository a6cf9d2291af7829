"""Initial weights that are singular: of less than full rank, or of units that repeat each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from orthotrace.core.errors import checked
from orthotrace.layers.chosen import chosen_layers
from orthotrace.layers.orthogonalise import check_plain


@checked
def low_rank_init(
    model: nn.Module, layers: Sequence[str] | None = None, share: Annotated[float, Field(gt=0, le=1)] = 0.5
) -> list[str]:
    """Start weights from the nearest ones of a lower rank, in place; nothing keeps them there.

        W <- c sum_{i <= k} s_i u_i v_i^T,   k = ceil(share * min(out, in * kernel)),   |W| as before

    of the filter matrix of each group of a convolution. c keeps the size of what a layer gives.

    Args:
        model: whose Linear layers and convolutions.
        layers: names of the layers; None for all but the last Linear layer, the readout.
        share: of the singular values that are kept, in (0, 1]; 1 keeps the weights.

    Returns:
        The names of the layers.

    Raises:
        UserError: a layer as for orthogonalise, or a share out of its range.

    Source: the linear dependence singularities of Orhan & Pitkow, Skip Connections Eliminate Singularities, ICLR 2018.

    Example:
        >>> model = nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> low_rank_init(model, share=0.5), int(torch.linalg.matrix_rank(model[0].weight))
        (['0'], 2)
    """

    def lowered(matrices: Tensor) -> Tensor:
        left, sizes, right = torch.linalg.svd(matrices, full_matrices=False)
        kept = math.ceil(share * sizes.shape[-1])
        return left[..., :kept] * sizes[..., None, :kept] @ right[..., :kept, :]

    return _replaced(model, layers, lowered)


@checked
def tied_init(
    model: nn.Module, layers: Sequence[str] | None = None, copies: Annotated[int, Field(ge=1)] = 2
) -> list[str]:
    """Start weights with units that repeat each other, in place; nothing keeps them tied.

    Of so many units that follow each other all have the incoming weights of the first, and its bias. Their gradients
    are the same as long as their outgoing weights are, too.

    Args:
        model: whose Linear layers and convolutions.
        layers: names of the layers; None for all but the last Linear layer, the readout.
        copies: units that begin alike, at least 1; 1 keeps the weights. All of a group of a convolution that has fewer.

    Returns:
        The names of the layers.

    Raises:
        UserError: a layer as for orthogonalise, or a number out of its range.

    Source: the overlap singularities of Orhan & Pitkow, Skip Connections Eliminate Singularities, ICLR 2018.

    Example:
        >>> model = nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> _ = tied_init(model, copies=4)
        >>> bool((model[0].weight == model[0].weight[:1]).all())
        True
    """

    def tied(matrices: Tensor) -> Tensor:
        first = torch.arange(matrices.shape[-2], device=matrices.device) // copies * copies
        return matrices[..., first, :]

    return _replaced(model, layers, tied, bias=True)


def _replaced(model: nn.Module, layers: Sequence[str] | None, change: Any, bias: bool = False) -> list[str]:
    """Put others in the place of the weights of layers, of their norm where that is not 0; of biases where asked."""
    chosen = chosen_layers(model, layers)
    for name, layer in chosen.items():
        check_plain(model, name, layer)
    with torch.no_grad():
        for layer in chosen.values():
            matrices = layer.weight.reshape(getattr(layer, "groups", 1), -1, layer.weight[0].numel()).double()
            found = change(matrices)
            sizes = [torch.linalg.matrix_norm(one, keepdim=True) for one in (matrices, found)]
            found = found * torch.where(sizes[1] > 0, sizes[0] / sizes[1], 1)
            layer.weight.copy_(found.reshape_as(layer.weight))
            if bias and layer.bias is not None:
                layer.bias.copy_(change(layer.bias.reshape(len(matrices), -1, 1)).flatten())
    return list(chosen)
