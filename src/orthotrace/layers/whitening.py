"""Whitening: channels without correlations, of variance one."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.autograd import Function

from orthotrace.core.distributed import differentiable_all_reduce_sum, rank_and_world_size
from orthotrace.core.errors import UserError, checked
from orthotrace.layers.copies import copied_apart
from orthotrace.linalg import inverse_sqrt, newton_schulz

Solver = Literal["eigh", "newton"]


class Whitening(nn.Module):
    """Zero-phase whitening (ZCA) of channels: z = W (x - mu) with W = (S + s I)^-1/2.

    S is the covariance of the channels over samples and positions, in training of the batch, in evaluation the running
    mean of the covariances (not of their roots). The shrinkage s is ``eps`` tr(S) / d; with fewer samples than channels
    S has no inverse, and the oracle approximating shrinkage (1 - r) S + r tr(S) / d I is taken, with a warning.

    Everything is computed in float32 at least, outside autocast, and differentiable twice; equal eigenvalues do not
    break a gradient. In evaluation the layer is one affine map, kept until the statistics change. Statistics are those
    of all processes of a distributed run.

    Args:
        channels: d.
        groups: into which the channels are divided, each whitened by itself; divides ``channels``.
        eps: of the shrinkage, relative to the mean variance, above 0.
        momentum: weight of a new batch in the running statistics, in (0, 1].
        channel_dim: of the inputs: 1 for (n, d) and (n, d, places...), -1 for tokens (n, length, d).
        solver: eigh, or newton: coupled Newton-Schulz steps, which need no eigendecomposition.

    Raises:
        UserError: a value out of its range; in use, inputs of another width, NaN, or fewer than two samples.

    Attributes:
        label: begins messages, such as "layer 'bn1': ".
        frozen: keep the statistics, and use them in training too.
        guarded: whether a guard holds it, so that nothing may change what it computes.

    Source: Kessy, Lewin & Strimmer, Optimal whitening and decorrelation, 2018; Huang et al., Decorrelated batch
    normalization, CVPR 2018; Chen et al., Shrinkage algorithms for MMSE covariance estimation, 2010, eq. 23.

    Example:
        >>> layer = Whitening(3)
        >>> z = layer(torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
        >>> torch.allclose(z.transpose(0, 1).flatten(1).cov(), torch.eye(3), atol=1e-3)
        True
    """

    mean: Tensor
    covariance: Tensor
    samples: Tensor
    batches: Tensor
    is_normalisation = True
    # Against fewer samples than channels.
    remedy = "larger batches or more groups"

    @checked
    def __init__(
        self,
        channels: Annotated[int, Field(ge=1)],
        groups: Annotated[int, Field(ge=1)] = 1,
        eps: Annotated[float, Field(gt=0)] = 1e-5,
        momentum: Annotated[float, Field(gt=0, le=1)] = 0.1,
        channel_dim: Literal[1, -1] = 1,
        solver: Solver = "eigh",
    ) -> None:
        super().__init__()
        if channels % groups:
            raise UserError(f"{channels} channels do not divide into {groups} groups", "groups")
        self.channels = channels
        self.groups = groups
        self.eps = eps
        self.momentum = momentum
        self.channel_dim = channel_dim
        self.solver: Solver = solver
        self.label = ""
        self.frozen = False
        width = channels // groups
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("covariance", torch.eye(width).repeat(groups, 1, 1))
        # Independent samples behind the running statistics; infinite as long as they are not of data.
        self.register_buffer("samples", torch.tensor(torch.inf, dtype=torch.float64))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self.guarded = False
        self._folded: tuple[list[Tensor], tuple[Tensor, Tensor]] | None = None
        self._kept_root: tuple[list[Tensor], Tensor] | None = None
        self._warned = False

    def extra_repr(self) -> str:
        """What print shows."""
        return f"{self.channels}, groups={self.groups}, eps={self.eps}, solver={self.solver}"

    def forward(self, inputs: Tensor) -> Tensor:
        """Whitened inputs, of the same shape and type."""
        with torch.autocast(inputs.device.type, enabled=False):
            columns = self._columns(inputs)
            if self.training and not self.frozen:
                found = self._whitened(columns)
            else:
                matrix, offset = self.affine()
                matrix, offset = matrix.to(columns.dtype), offset.to(columns.dtype)
                found = torch.addmm(offset[:, None], matrix, columns)
            return self._shaped(found, inputs)

    def affine(self) -> tuple[Tensor, Tensor]:
        """The layer in evaluation as one affine map, A x + b.

        Returns:
            A (d, d) and b (d,), by the running statistics.

        Example:
            >>> matrix, offset = Whitening(2).affine()
            >>> matrix.diagonal().round(decimals=4), offset.abs()
            (tensor([1., 1.]), tensor([0., 0.]))
        """
        # What is trained changes with every step, and under torch.func it may have no address.
        if next(self.parameters(), None) is not None:
            return self._map()
        used = self._used()
        if _followed(*used):
            return self._map()
        if self._folded is None or not _same(used, self._folded[0]):
            # What is kept must serve a later gradient, wherever it was made.
            with torch.inference_mode(False):
                self._folded = ([value.clone() for value in used], self._map())
        return self._folded[1]

    def _used(self) -> list[Tensor]:
        """Buffers that the map in evaluation is made of."""
        return [self.mean, self.covariance, self.samples]

    def _map(self) -> tuple[Tensor, Tensor]:
        matrix = self._turned(torch.block_diag(*self._running_root()))
        return matrix, -(matrix @ self.mean)

    def _running_root(self) -> Tensor:
        """W of each group by the running statistics, (groups, width, width), kept until they change."""
        used = [self.covariance, self.samples]
        if _followed(*used):
            return self._root(self.covariance, float(self.samples))
        if self._kept_root is None or not _same(used, self._kept_root[0]):
            with torch.no_grad(), torch.inference_mode(False):
                self._kept_root = (
                    [value.clone() for value in used],
                    self._root(self.covariance, float(self.samples)),
                )
        return self._kept_root[1]

    def inverse(self, outputs: Tensor) -> Tensor:
        """Inputs that the layer in evaluation maps to these outputs: A^-1 (z - b).

        Example:
            >>> layer, x = Whitening(3).eval(), torch.ones(2, 3)
            >>> torch.allclose(layer.inverse(layer(x)), x)
            True
        """
        with torch.autocast(outputs.device.type, enabled=False):
            columns = self._columns(outputs)
            matrix, offset = (value.to(columns.dtype) for value in self.affine())
            return self._shaped(torch.linalg.solve(matrix, columns - offset[:, None]), outputs)

    def unaveraged(self) -> list[Tensor]:
        """Buffers that no average over training steps may be taken of: counts of samples may be infinite."""
        return [self.samples]

    def guard(self, on: bool) -> None:
        """A guard begins, or ends, to hold the layer."""
        self.guarded = on

    def _turned(self, matrix: Tensor) -> Tensor:
        """A rotation after the whitening; here none."""
        return matrix

    def __getstate__(self) -> dict[str, Any]:
        # They follow from what is saved.
        return {**self.__dict__, "_folded": None, "_kept_root": None}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # A guard holds the layer that it was made for, and no copy.
        return copied_apart(self, memo, _folded=None, _kept_root=None, guarded=False)

    def _columns(self, inputs: Tensor) -> Tensor:
        """Inputs as (d, n x places), in float32 at least."""
        return self._precise(inputs).movedim(self.channel_dim, 0).reshape(self.channels, -1)

    def _precise(self, inputs: Tensor) -> Tensor:
        """Inputs in float32 at least."""
        if self.mean.dtype in (torch.bfloat16, torch.float16):
            raise UserError(
                f"{self.label}its statistics were turned into {self.mean.dtype}, which has too few digits to whiten; "
                "keep the model in float32 and use autocast"
            )
        if inputs.ndim < 2 or inputs.shape[self.channel_dim] != self.channels:
            raise UserError(
                f"{self.label}inputs of {self.channels} channels are needed in dimension {self.channel_dim} "
                f"(got the shape {tuple(inputs.shape)})"
            )
        return inputs.to(torch.promote_types(inputs.dtype, torch.float32))

    def _shaped(self, columns: Tensor, like: Tensor) -> Tensor:
        """Columns in the shape and type of the inputs."""
        moved = like.movedim(self.channel_dim, 0).shape
        return columns.view(moved).movedim(0, self.channel_dim).contiguous().to(like.dtype)

    def _whitened(self, columns: Tensor) -> Tensor:
        """Columns whitened by their own statistics, which the running ones take up."""
        count = columns.shape[1]
        if rank_and_world_size()[1] > 1:
            count = int(differentiable_all_reduce_sum(torch.tensor([count], device=columns.device)))
        if count < 2:
            raise UserError(f"{self.label}in training two samples or more are needed to whiten (got {count})")
        mean = differentiable_all_reduce_sum(columns.sum(1)) / count
        centred = columns - mean[:, None]
        stacked = centred.view(self.groups, self.channels // self.groups, columns.shape[1])
        covariance = differentiable_all_reduce_sum(_Gram.apply(stacked)) / count
        root = self._root(covariance, count)
        self._take(mean.detach(), covariance.detach(), count)
        if self.groups == 1:
            return self._turned(root[0]) @ centred
        return (root @ stacked).view_as(centred)

    @torch.no_grad()
    def _take(self, mean: Tensor, covariance: Tensor, count: int) -> None:
        """Running statistics: the mean over batches at first, later an exponential one."""
        self.batches += 1
        weight = max(self.momentum, 1 / int(self.batches))
        self.mean.lerp_(mean.to(self.mean.dtype), weight)
        self.covariance.lerp_(covariance.to(self.covariance.dtype) * (count / (count - 1)), weight)
        # Variances of independent means add up.
        self.samples.fill_(1 / ((1 - weight) ** 2 / float(self.samples) + weight**2 / count))

    def _root(self, covariance: Tensor, samples: float) -> Tensor:
        """W of the covariance of each group, (groups, width, width)."""
        width = covariance.shape[-1]
        level = covariance.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
        if not math.isfinite(float(level.detach().sum())):
            raise UserError(f"{self.label}its inputs are not finite; lower the learning rate, or look at the data")
        # A group without any variance: what is whitened stays zero.
        level = level + (level <= 0)
        identity = torch.eye(width, dtype=covariance.dtype, device=covariance.device)
        if samples <= width:
            if not self._warned:
                self._warned = True
                warnings.warn(
                    f"{self.label}{int(samples)} samples for {width} channels: their covariance has no inverse and is "
                    f"shrunk; take {self.remedy}",
                    stacklevel=2,
                )
            share = _oracle_share(covariance, samples)
            covariance = (1 - share) * covariance + share * level * identity
        shrunk = torch.addcmul(covariance, level, identity, value=self.eps)
        return inverse_sqrt(shrunk) if self.solver == "eigh" else newton_schulz(shrunk)


def _followed(*values: Tensor) -> bool:
    """Whether a gradient, or a function of torch.func, asks after these very tensors: nothing of it may be kept."""
    return any(value.requires_grad or is_functorch_wrapped_tensor(value) for value in values)


def _same(values: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    """Whether values are still the same: addresses are used again, and torch counts no writes to ``.data``."""
    return all(
        value.dtype == other.dtype and value.device == other.device and torch.equal(value, other)
        for value, other in zip(values, others, strict=True)
    )


class _Gram(Function):
    """X X^T of a stack of matrices: its backward takes one product instead of two."""

    generate_vmap_rule = True

    @staticmethod
    def forward(rows: Tensor) -> Tensor:
        return rows @ rows.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Tensor:
        (gradient,) = grad_outputs
        (rows,) = ctx.saved_tensors
        return (gradient + gradient.mT) @ rows


def _oracle_share(covariance: Tensor, samples: float) -> Tensor:
    """Weight of the identity in the oracle approximating shrinkage, in (0, 1]."""
    width = covariance.shape[-1]
    square = covariance.square().sum((-2, -1))[:, None, None]
    trace = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None].square()
    above = (1 - 2 / width) * square + trace
    below = (samples + 1 - 2 / width) * (square - trace / width)
    # Never so little that rounding decides what the empty directions become.
    return torch.where(below > above, above / below.clamp_min(1e-30), torch.ones_like(above)).clamp_min(1e-3)
