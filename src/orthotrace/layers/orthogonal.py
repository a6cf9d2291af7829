"""Weights that stay orthogonal while they are trained: parametrizations of Linear layers and convolutions.

Each sees the weight of every group of a convolution as its filter matrix (out, in * kernel), and is registered by
``torch.nn.utils.parametrize`` or, for a whole model, by ``orthogonalise``. They compute outside autocast, under which
orthogonality would fall to 4e-3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import geotorch
import torch
from pydantic import Field
from torch import Tensor, nn

from orthotrace.core.errors import UserError, checked
from orthotrace.linalg import inverse_sqrt, polar

# A ReLU halves the second moment of what comes in.
RELU = math.sqrt(2)
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Orthogonal(nn.Module):
    """What all have in common: the view of the weight as filter matrices, and the scale.

    Args:
        shape: of the weight, (out, in / groups, *kernel).
        groups: of the convolution.
        scale: of the orthonormal rows or columns, above 0.
        learn_scale: train it, one for each output, from there.
    """

    def __init__(self, shape: Sequence[int], groups: int, scale: float, learn_scale: bool) -> None:
        super().__init__()
        self.groups = groups
        self.rows = shape[0] // groups
        self.width = math.prod(shape[1:])
        self.scale: float | nn.Parameter = nn.Parameter(torch.full((shape[0], 1), scale)) if learn_scale else scale

    def normalise(self, matrices: Tensor) -> Tensor:
        """Orthonormal rows or columns (groups, rows, width) from matrices of this shape."""
        # Every parametrization says how; none but these is made.
        raise NotImplementedError

    def blocks(self, matrices: Tensor) -> list[Tensor]:
        """The parts (..., k, width) of matrices (groups, rows, width) whose rows are made orthonormal."""
        return [matrices if self.rows <= self.width else matrices.mT]

    def forward(self, weight: Tensor) -> Tensor:
        """The weight that the layer works with, from the one that is trained."""
        with torch.autocast(weight.device.type, enabled=False):
            found = self.normalise(weight.reshape(self.groups, self.rows, self.width))
            return (self.scale * found.reshape(len(weight), -1)).reshape_as(weight).to(weight.dtype)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """A weight to train from, of one that is assigned."""
        return weight

    @torch.no_grad()
    def deviation(self, weight: Tensor) -> float:
        """Largest entry of |W W^T - I| within the parts of a weight made by forward, the scale taken out."""
        matrices = (weight.double().flatten(1) / self.scale).reshape(self.groups, self.rows, self.width)
        errors = [
            block @ block.mT - torch.eye(block.shape[-2], dtype=block.dtype, device=block.device)
            for block in self.blocks(matrices)
        ]
        # Of a NaN anywhere the largest is NaN.
        return float(torch.stack([error.abs().amax() for error in errors]).amax())


class OWN(Orthogonal):
    """Orthogonal weight normalisation: rows orthonormal within groups of rows.

    W = scale (V_c V_c^T)^-1/2 V_c with V_c = V - the mean of each row, for each group of rows of the trained V.
    A group has never more rows than its width admits: width - 1 where centred, since centring removes a dimension.
    The rows are divided into as few groups as that takes, of sizes that differ by at most 1. Computed in float64; the
    backward is analytic and finite on equal eigenvalues.

    Args:
        shape: of the weight, (out, in / groups, *kernel).
        groups: of the convolution.
        group: rows of a group at most, at least 1; 1 is weight normalisation.
        centre: take the mean of each row out.
        scale: norm of a row, above 0; the default keeps the size of a signal through ReLUs.
        learn_scale: train it, one for each output.

    Raises:
        UserError: a value out of its range, or filters of a single weight that are to be centred; in the forward,
            weights that are not finite.

    Source: Huang et al., Orthogonal Weight Normalization, AAAI 2018, eqs. 4 and 7, Algorithm 1.

    Example:
        >>> from torch.nn.utils import parametrize
        >>> layer = nn.Conv2d(8, 16, 3)
        >>> own = OWN(layer.weight.shape)
        >>> _ = parametrize.register_parametrization(layer, "weight", own)
        >>> own.deviation(layer.weight) < 1e-5
        True
    """

    @checked
    def __init__(
        self,
        shape: Sequence[int],
        groups: Count = 1,
        group: Count = 64,
        centre: bool = True,
        scale: Positive = RELU,
        learn_scale: bool = False,
    ) -> None:
        super().__init__(shape, groups, scale, learn_scale)
        most = min(group, self.width - centre)
        if not most:
            raise UserError(
                "a filter of a single weight is nothing without its mean; take centre=False, or name other layers"
            )
        self.centre = centre
        self.count = -(-self.rows // most)

    def blocks(self, matrices: Tensor) -> list[Tensor]:
        """The groups of rows, (groups, n, k, width), in at most two sizes."""
        small, more = divmod(self.rows, self.count)
        # One more row in the first groups, where the rows do not divide.
        large = [matrices[:, : more * (small + 1)].unflatten(1, (more, small + 1))] if more else []
        return [*large, matrices[:, more * (small + 1) :].unflatten(1, (self.count - more, small))]

    def normalise(self, matrices: Tensor) -> Tensor:
        """The nearest matrices, of the centred ones, whose groups have orthonormal rows."""
        matrices = matrices.double()
        if self.centre:
            matrices = matrices - matrices.mean(dim=-1, keepdim=True)
        try:
            found = [inverse_sqrt(block @ block.mT) @ block for block in self.blocks(matrices)]
        except torch.linalg.LinAlgError as error:  # pyright: ignore[reportPrivateImportUsage]  # documented there
            raise UserError("weights that are to be orthogonal are not finite: lower the learning rate") from error
        return torch.cat([block.flatten(1, 2) for block in found], dim=1)


class ONI(Orthogonal):
    """Orthogonalisation by Newton's iteration: all singular values approach 1 with the number of iterations.

    S = Z Z^T / |Z Z^T|_F, B <- 1.5 B - 0.5 B^3 S from B = I, W = scale B Z / |Z Z^T|_F^1/2, with Z centred by rows.
    Where there are more rows than columns the same on the transposed matrix: its columns become orthonormal. A square
    matrix that is centred keeps one singular value at 0. Computed in float64, with B S iterated beside B: the same in
    exact arithmetic, and stable however often.

    Args:
        shape: of the weight, (out, in / groups, *kernel).
        groups: of the convolution.
        iterations: 1 to 50; few make nearly orthogonal weights: of 64 x 576 the singular values lie in [.49, .82]
            after 2, [.69, .955] after 3, [.97, 1] after 5.
        centre: take the mean of each row out; of each column, where there are more rows than columns.
        scale: of the singular values, above 0; the default keeps the size of a signal through ReLUs.
        learn_scale: train it, one for each output.

    Raises:
        UserError: a value out of its range.

    Source: Huang et al., Controllable Orthogonalization in Training DNNs, CVPR 2020, eq. 6 and Algorithm 1.

    Example:
        >>> oni = ONI((8, 3, 3, 3), iterations=20)
        >>> oni.deviation(oni(torch.randn(8, 3, 3, 3))) < 1e-5
        True
    """

    @checked
    def __init__(
        self,
        shape: Sequence[int],
        groups: Count = 1,
        iterations: Annotated[int, Field(ge=1, le=50)] = 5,
        centre: bool = True,
        scale: Positive = RELU,
        learn_scale: bool = False,
    ) -> None:
        super().__init__(shape, groups, scale, learn_scale)
        self.iterations = iterations
        self.centre = centre

    def normalise(self, matrices: Tensor) -> Tensor:
        """Matrices whose singular values are nearer to 1."""
        (block,) = self.blocks(matrices.double())
        if self.centre:
            block = block - block.mean(dim=-1, keepdim=True)
        moment = block @ block.mT
        size = torch.linalg.matrix_norm(moment, keepdim=True)
        product = moment / size
        found = identity = torch.eye(product.shape[-1], dtype=product.dtype, device=product.device)
        for _ in range(self.iterations):
            step = 1.5 * identity - 0.5 * found @ product
            found, product = step @ found, product @ step
        unit = found @ block / size.sqrt()
        return unit if self.rows <= self.width else unit.mT


class Stiefel(Orthogonal):
    """Orthonormal rows, or columns where there are more rows, exactly: geotorch's maps onto the Stiefel manifold.

    W = scale (B f(A))[:rows] with A skew-symmetric, built from what is trained, and B orthogonal, where it started.
    A matrix that is assigned is first replaced by the nearest orthogonal one. B is as wide as the longer side: costly
    for wide filters, cheap for what is nearly square.

    Args:
        shape: of the weight, (out, in / groups, *kernel).
        groups: of the convolution.
        map: f: "cayley", (I + A / 2) (I - A / 2)^-1, or "expm", some 5 times slower.
        scale: of the singular values, above 0; the default keeps the size of a signal through ReLUs.
        learn_scale: train it, one for each output.

    Raises:
        UserError: a value out of its range.

    Source: Lezcano-Casado, Trivializations for Gradient-Based Optimization on Manifolds, NeurIPS 2019; geotorch.

    Example:
        >>> layer = nn.Linear(6, 4)
        >>> stiefel = Stiefel(layer.weight.shape)
        >>> _ = torch.nn.utils.parametrize.register_parametrization(layer, "weight", stiefel)
        >>> stiefel.deviation(layer.weight) < 1e-5
        True
    """

    @checked
    def __init__(
        self,
        shape: Sequence[int],
        groups: Count = 1,
        map: Literal["cayley", "expm"] = "cayley",  # noqa: A002
        scale: Positive = RELU,
        learn_scale: bool = False,
    ) -> None:
        super().__init__(shape, groups, scale, learn_scale)
        # geotorch alone would make each kernel orthogonal, not the filter matrix.
        self.manifold = geotorch.Stiefel((self.groups, self.rows, self.width), triv=map)

    def normalise(self, matrices: Tensor) -> Tensor:
        """The point of the manifold."""
        return self.manifold(matrices)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Zeros: the map starts at the nearest orthogonal matrices, in whose place it puts its base."""
        return self.manifold.right_inverse(nearest_orthogonal(weight, self.groups)).reshape_as(weight)


def nearest_orthogonal(weight: Tensor, groups: int = 1) -> Tensor:
    """The nearest filter matrices with orthonormal rows, or columns where there are more rows.

    Args:
        weight: (out, in / groups, *kernel), finite.
        groups: of the convolution.

    Returns:
        (groups, out / groups, in / groups * kernel).

    Example:
        >>> nearest_orthogonal(torch.tensor([[2.0, 0.0], [0.0, 3.0]]))[0].round(decimals=4)
        tensor([[1., 0.],
                [0., 1.]])
    """
    matrices = weight.detach().reshape(groups, len(weight) // groups, -1)
    return polar(matrices) if matrices.shape[1] <= matrices.shape[2] else polar(matrices.mT).mT
