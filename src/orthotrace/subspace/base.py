"""The contract of a subspace: observe rows, consolidate a task, project an update."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from orthotrace.core.errors import UserError, checked
from orthotrace.linalg import AT_ONCE, in_blocks, orthonormalise, project_out
from orthotrace.subspace.counts import PLASTICITY, least_count, none_unused, optimum_count

Threshold = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class NoRowsError(ValueError):
    """A subspace was asked to end a task of which it was shown nothing."""

    def __init__(self) -> None:
        super().__init__("no rows were observed in this task: show it inputs that reach its layer")


@dataclass(frozen=True)
class Capacity:
    """How much of a layer's input space is held.

    Attributes:
        rank: rows held.
        features: directions there are.
    """

    rank: int
    features: int


class Subspace(nn.Module, ABC):
    """Orthonormal rows M that span the inputs a layer must go on treating alike.

    A layer's update is projected onto their complement, dW <- dW - (dW M^T) M, so that dW x = 0 for every x
    in the span. It knows nothing of layers, tasks or optimizers. Its state lives in buffers whose sizes change;
    they save, and load into a fresh subspace.

    Args:
        features: width of a row, at least 1.
        hold: share of the component in the rows held that project takes, in [0, 1]: 1 takes all of it, 0 nothing.
            Below 1 the projection is soft: of the update of each step, and so the more steps, the more passes.
        dtype: of the rows held.

    Raises:
        UserError: no features, or a share outside [0, 1].

    Attributes:
        exact: whether project removes the whole component in the rows held, so that doing it twice changes nothing.
            A soft projection (False) removes a share of it, from every step.
        removes: the share hold.
        nested: whether rows once held stay held.
        by_row: whether each row of an update, that of an output, is projected by itself.
        holds_constant: whether the constant input of a bias is held where no row is: inputs that were all zero need
            no row, and yet the bias.
        label: begins each warning.
    """

    exact = True
    nested = True
    by_row = True
    holds_constant = True
    basis: Tensor
    tasks: Tensor

    @checked
    def __init__(
        self, features: Annotated[int, Field(ge=1)], *, hold: Share = 1.0, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.features = features
        self.removes = hold
        if hold < 1:
            self.exact = False
        if hold == 0:
            self.holds_constant = False
        self.label = ""
        self.register_buffer("basis", torch.zeros(0, features, dtype=dtype))
        self.register_buffer("tasks", torch.zeros((), dtype=torch.int64))
        kind = type(self)
        # Whether what is taken is the component in the rows held, as it is here.
        self._plain = hold == 1 and kind.component is Subspace.component and kind.inside is Subspace.inside
        # See _factors; with the M that they were made of.
        self._made: tuple[Tensor, tuple[Tensor, Tensor | None, bool]] | None = None

    @property
    def rank(self) -> int:
        """Rows held."""
        return len(self.basis)

    @property
    def active(self) -> bool:
        """Whether project changes anything; once it does, it does so until the end of the task."""
        return self.rank > 0 and self.removes > 0

    def named(self, label: str) -> Self:
        """Itself, with a label for its warnings."""
        self.label = label
        return self

    def held(self) -> Tensor:
        """The rows held, (rank, features)."""
        return self.basis

    def left_over(self, rows: Tensor) -> Tensor:
        """Rows (n, features) in float64, without their component in the rows held."""
        return project_out(rows.double(), self.basis.double())

    def hold(self, new: Tensor) -> None:
        """Take up orthonormal rows outside the rows held.

        Raises:
            ValueError: they are not: what is within the rows held, or in each other's span, is rounding.
        """
        if len(new):
            # Of rows that are orthonormal and outside, all are 1.
            sizes = torch.linalg.svdvals(self.left_over(new))
            if len(new) > self.free or float(sizes.min()) < 0.1:
                raise ValueError(
                    f"{len(new)} rows to be held that do not lie outside the {self.rank} held, of {self.features} "
                    "directions: take no directions of less energy than rounding(total)"
                )
            new = orthonormalise(new, self.basis.double())
            self.basis = torch.cat([self.basis, new.to(self.basis)])

    @property
    def free(self) -> int:
        """Directions that are still free."""
        return self.features - self.rank

    @property
    def capacity(self) -> Capacity:
        """Rows held and directions there are."""
        return Capacity(self.rank, self.features)

    @abstractmethod
    def observe(self, rows: Tensor) -> None:
        """See inputs of the layer, shape (n, features)."""

    @abstractmethod
    def consolidate(self) -> None:
        """End a task: what it needs joins the rows held.

        Raises:
            NoRowsError: no rows were shown.
        """

    def begin(self) -> None:
        """Start a task. Optional: a subspace that learns while the task runs makes its rows ready here."""

    def project(self, update: Tensor) -> Tensor:
        """The update without the share hold of its component in the rows held.

        Args:
            update: dW, (out, features).

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
        """What project takes of an update: the share hold of its component."""
        component = self.component(update)
        return component if self.removes == 1 else self.removes * component

    def component(self, update: Tensor) -> Tensor:
        """The component of an update in the rows held, (dW M^T) M; a kind of its own overrides it."""
        update = update.to(self.basis.dtype)
        first, second, free = self._factors()
        component = (update @ first) @ second if second is not None else update @ first
        return update - component if free else component

    def take_from(self, weight: Tensor, before: Tensor) -> None:
        """Take from a weight, in place, what is held of its update since it was before, as inside has it.

        Args:
            weight: W, (out, features).
            before: W0, likewise.
        """
        if not self._plain or weight.dtype != self.basis.dtype:
            weight.sub_(self.inside(weight - before))
            return
        if weight.numel() > AT_ONCE and len(weight) > 1:
            # The update as a whole would be the largest thing that a step makes.
            for rows in in_blocks(*weight.shape):
                self.take_from(weight[rows], before[rows])
            return
        update = weight - before
        # In every step, so without a further call.
        made = self._made
        first, second, free = made[1] if made is not None and made[0] is self.basis else self._factors()
        if second is None:
            weight.addmm_(update, first, alpha=-1)
        elif free:
            # W0 and what is left of the update.
            torch.addmm(before, update @ first, second, out=weight)
        else:
            weight.addmm_(update @ first, second, alpha=-1)

    def _factors(self) -> tuple[Tensor, Tensor | None, bool]:
        """What an update is multiplied with, once or twice; whether that gives what is free, in place of what is held.

        Up to half the width two thin products with M cost the least, from two thirds on two with the directions that
        are free; between them one with M^T M, and where none is free: what is not finite must stay so.
        """
        if self._made is None or self._made[0] is not self.basis:
            rank, width = self.basis.shape
            if 2 * rank <= width:
                factors = self.basis.T.contiguous(), self.basis, False
            elif 3 * rank < 2 * width or rank == width:
                factors = self.basis.T @ self.basis, None, False
            else:
                rest = torch.linalg.qr(self.basis.double().T, mode="complete").Q[:, rank:].to(self.basis)
                factors = rest.contiguous(), rest.T.contiguous(), True
            self._made = (self.basis, factors)
        return self._made[1]

    def taken(self, rows: Tensor) -> Tensor:
        """Rows (n, features) in the type of the rows held.

        Raises:
            ValueError: the rows have another shape.
        """
        if rows.ndim != 2 or rows.shape[1] != self.features:
            raise ValueError(f"rows of shape (n, {self.features}) expected, got {tuple(rows.shape)}")
        # Learning from rows is not part of a gradient.
        return rows.detach().to(self.basis.dtype)

    def rounding(self, total: float) -> float:
        """Energy along a direction that the rounding of the rows held makes of nothing, where all rows have total.

        A row held is right to eps of its type; what it leaves over of an input of norm 1 is eps at best.
        """
        return total * (torch.finfo(self.basis.dtype).eps * self.features) ** 2

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        for name, buffer in self._buffers.items():
            saved = state_dict.get(prefix + name)
            if name == "basis" and saved is not None and saved.shape[1:] != (self.features,):
                raise UserError(f"this state is of {saved.shape[1]} features, and the subspace has {self.features}")
            if saved is not None and buffer is not None and saved.shape != buffer.shape:
                self._buffers[name] = torch.empty(saved.shape, dtype=buffer.dtype, device=buffer.device)
        self._made = None
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class CountedSubspace(Subspace):
    """A subspace that holds so many directions of each task: as many as reach an energy, a fixed number, or an optimum.

    Args:
        features: width of a row, at least 1.
        energy: hold the least number of directions whose energy reaches this share, in (0, 1].
        growth: added to the energy with each task, up to 1; at least 0.
        rows: or hold this many directions of each task: one number, or one for each task, the last repeated.
        rank: or "optimum": the number that weighs forgetting against learning, see counts.optimum_count.
        plasticity: of the optimum, above 0; the larger, the fewer are held.
        hold, dtype: as for Subspace.

    Raises:
        UserError: none or several of energy, rows and rank, growth without energy, plasticity without rank, a threshold
            outside (0, 1], a negative number of rows, more rows than features.
    """

    @checked
    def __init__(
        self,
        features: int,
        *,
        energy: Threshold | None = None,
        growth: Annotated[float, Field(ge=0)] = 0.0,
        rows: Count | Sequence[Count] | None = None,
        rank: Literal["optimum"] | None = None,
        plasticity: Annotated[float, Field(gt=0)] = PLASTICITY,
        **options: Any,
    ) -> None:
        super().__init__(features, **options)
        given = {"energy": energy, "rows": rows, "rank": rank}
        if len(named := [name for name, value in given.items() if value is not None]) != 1:
            raise UserError("give one of energy, rows and rank", named[-1] if named else "energy")
        none_unused(rows is not None, rank is not None, growth, plasticity)
        self.energy = energy
        self.plasticity = None if rank is None else plasticity
        self.growth = growth
        # Where no rows were asked for, nothing is to be held.
        self.holds_constant = self.holds_constant and (rows is None or bool(np.any(rows)))
        self.rows = None if rows is None else [rows] if isinstance(rows, int) else list(rows)
        if self.rows == []:
            raise UserError("an empty list; give the rows of each task, or of all", "rows")
        if self.rows is not None and max(self.rows) > self.features:
            raise UserError(f"{max(self.rows)} rows, but the layer has {self.features} features", "rows")

    @property
    def share(self) -> float:
        """Of the energy, to be held after the task that is being learned."""
        return min(1.0, (self.energy or 1.0) + self.growth * int(self.tasks))

    def enough(self, energies: Tensor, total: float, unheld: float = 0.0) -> int:
        """How many directions are to be held, where no number was asked for.

        Args:
            energies: of the directions, largest first, (r,).
            total: of all rows.
            unheld: energy that lies in none of the directions: under an energy it counts as one more.
        """
        if self.plasticity is not None:
            return optimum_count(energies, total, int(self.tasks) + 1, self.plasticity, self.features)
        return least_count(torch.cat([energies, energies.new_full((int(unheld > 0),), unheld)]), total, self.share)

    def asked(self) -> int | None:
        """Rows that were asked for of the task that is being learned; None under an energy or the optimum."""
        return None if self.rows is None else self.rows[min(int(self.tasks), len(self.rows) - 1)]

    def wanted(self) -> int | None:
        """Of those as many as there are directions free."""
        wanted = self.asked()
        if wanted is None:
            return None
        if wanted > self.free:
            warnings.warn(
                f"{self.label}{wanted} rows asked for task {int(self.tasks) + 1}, {self.free} of {self.features} "
                f"directions are free: {self.free} are taken",
                stacklevel=2,
            )
        return min(wanted, self.free)
