"""The contract of a subspace: observe rows, consolidate a task, project an update."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from orthotrace.errors import UserError, checked

Threshold = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class Capacity:
    """How much of a layer's input space is held.

    Attributes:
        rank: rows held.
        features: directions there are, the constant of a bias included.
    """

    rank: int
    features: int


class Subspace(nn.Module, ABC):
    """Orthonormal rows M that span the inputs a layer must go on treating alike.

    A layer's update is projected onto their complement, dW <- dW - (dW M^T) M, so that dW x = 0 for every x
    in the span. It knows nothing of layers, tasks or optimizers. Its state lives in buffers whose sizes change;
    they save, and load into a fresh subspace.

    The bias is the weight of a constant input. With ``constant`` every row gets one more column c, the root mean
    square of the entries of the rows seen until the first task is consolidated (fixed from then on, since the
    rows held are written in it). An update (out, features + 1) with the bias's in its last column is projected in
    these coordinates, (dW, db / c). The column is left out of every energy, so it never hides the data's directions.

    Args:
        features: width of a row without the constant, at least 1.
        constant: whether a constant column stands for a bias.
        energy: hold the least number of directions whose energy reaches this share, in (0, 1].
        rows: or hold this many directions of each task: one number, or one for each task, the last repeated.

    Raises:
        UserError: neither or both of energy and rows, a threshold outside (0, 1], a negative number of rows, more
            rows than features.
    """

    basis: Tensor
    count: Tensor
    squares: Tensor
    constant_value: Tensor
    tasks: Tensor

    @checked
    def __init__(
        self,
        features: Annotated[int, Field(ge=1)],
        *,
        constant: bool = False,
        energy: Threshold | None = None,
        rows: Count | Sequence[Count] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if (energy is None) == (rows is None):
            raise UserError("give either energy or rows", "rows" if rows is not None else "energy")
        self.features = features
        self.width = features + constant
        self.constant = constant
        self.energy = energy
        self.rows = None if rows is None else [rows] if isinstance(rows, int) else list(rows)
        if self.rows is not None and (not self.rows or max(self.rows) > self.width):
            raise UserError(f"{max(self.rows, default='no')} rows, but the layer has {self.width} features", "rows")
        self.register_buffer("basis", torch.zeros(0, self.width, dtype=dtype))
        # Sum of squares and number of the entries seen: their ratio scales the constant.
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("squares", torch.zeros((), dtype=torch.float64))
        self.register_buffer("constant_value", torch.ones((), dtype=dtype))
        self.register_buffer("tasks", torch.zeros((), dtype=torch.int64))
        self._cached: tuple[Tensor, Tensor, Tensor] | None = None

    @property
    def rank(self) -> int:
        """Rows held."""
        return len(self.basis)

    @property
    def free(self) -> int:
        """Directions that are still free."""
        return self.width - self.rank

    @property
    def capacity(self) -> Capacity:
        """Rows held and directions there are."""
        return Capacity(self.rank, self.width)

    def wanted(self) -> int | None:
        """Rows to hold of the task that is being learned, by the fixed numbers; None under an energy."""
        if self.rows is None:
            return None
        wanted = self.rows[min(int(self.tasks), len(self.rows) - 1)]
        if wanted > self.free:
            warnings.warn(
                f"{wanted} rows asked for task {int(self.tasks) + 1}, {self.free} of {self.width} directions are free: "
                f"{self.free} are taken",
                stacklevel=2,
            )
        return min(wanted, self.free)

    @abstractmethod
    def observe(self, rows: Tensor) -> None:
        """See inputs of the layer, shape (n, features)."""

    @abstractmethod
    def consolidate(self) -> None:
        """End a task: what it needs joins the rows held."""

    def begin(self) -> None:
        """Start a task. Optional: a subspace that learns while the task runs makes its rows ready here."""

    def project(self, update: Tensor) -> Tensor:
        """The update without its component in the rows held.

        Args:
            update: (out, features), with a constant (out, features + 1) and the bias's update in the last column.

        Example:
            >>> from orthotrace.subspace import SvdSubspace
            >>> subspace = SvdSubspace(2, rows=1)
            >>> subspace.observe(torch.tensor([[0.0, 3.0]]))
            >>> subspace.consolidate()
            >>> subspace.project(torch.tensor([[1.0, 2.0]]))
            tensor([[1., 0.]])
        """
        return update - self.inside(update)

    def inside(self, update: Tensor) -> Tensor:
        """The component of an update in the rows held, (dW, db / c) M^T M, in the shape that project takes."""
        left, right = self._factors()
        update = update.to(left.dtype)
        return update @ right if left is right else (update @ left) @ right

    def _factors(self) -> tuple[Tensor, Tensor]:
        """S^-1 M^T and M S, S = diag(1, ..., 1, c); above half the width their product, twice. Made once."""
        if self._cached is None or self._cached[0] is not self.basis:
            left, right = self.basis.T.clone(), self.basis.clone()
            if self.constant:
                left[-1] /= self.constant_value
                right[:, -1] *= self.constant_value
            if 2 * self.rank > self.width:
                left = right = left @ right
            self._cached = (self.basis, left, right)
        return self._cached[1], self._cached[2]

    def scaled(self, update: Tensor) -> Tensor:
        """A copy of an update in the coordinates of the rows held: the bias's column divided by the constant."""
        update = update.to(self.basis.dtype, copy=True)
        if self.constant:
            update[:, -1] /= self.constant_value
        return update

    def augmented(self, rows: Tensor) -> Tensor:
        """Rows (n, features) in the type of the rows held, with the constant's column appended if there is one.

        Raises:
            ValueError: the rows do not have ``features`` columns.
        """
        if rows.ndim != 2 or rows.shape[1] != self.features:
            raise ValueError(f"rows of shape (n, {self.features}) expected, got {tuple(rows.shape)}")
        rows = rows.to(self.basis.dtype)
        if not self.constant:
            return rows
        return torch.cat([rows, self.constant_value.expand(len(rows), 1)], dim=1)

    def measure(self, rows: Tensor) -> None:
        """Let rows count for the scale of the constant; without effect once a task has been consolidated."""
        if not self.constant or self.tasks:
            return
        self.squares += rows.square().sum()
        self.count += rows.numel()
        # All-zero inputs leave a bias its own size.
        scale = torch.where(self.squares > 0, (self.squares / self.count).sqrt(), 1.0)
        self.constant_value.copy_(scale)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        for name, buffer in self._buffers.items():
            saved = state_dict.get(prefix + name)
            if saved is not None and buffer is not None and saved.shape != buffer.shape:
                self._buffers[name] = torch.empty(saved.shape, dtype=buffer.dtype, device=buffer.device)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
