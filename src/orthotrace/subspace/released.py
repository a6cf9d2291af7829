"""Principal directions of which those of some tasks may be let go for a while (CUBER)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from orthotrace.subspace.regions import RegionSubspace


class ReleasedSubspace(RegionSubspace):
    """Holds what RegionSubspace holds, without the rows that released tasks alone need, until the running task ends.

    Args: as for SvdSubspace.

    Source: Lin, Yang, Fan & Zhang, Beyond Not-Forgetting: Continual Learning with Backward Knowledge Transfer, NeurIPS
    2022.

    Example:
        >>> subspace = ReleasedSubspace(3, rows=1)
        >>> for row in torch.eye(3)[:2]:
        ...     subspace.observe(3 * row[None])
        ...     subspace.consolidate()
        >>> subspace.release([0])
        >>> subspace.project(torch.ones(1, 3)).abs()
        tensor([[1., 0., 1.]])
    """

    released: Tensor

    def __init__(self, features: int, **options: Any) -> None:
        super().__init__(features, **options)
        # Of each row, whether it is let go.
        self.register_buffer("released", torch.zeros(0, dtype=torch.bool))
        self._held: tuple[Tensor, Tensor] | None = None

    def release(self, tasks: Sequence[int]) -> None:
        """Let go what these tasks, from 0, need and no other does; what was let go before is held again."""
        others = [task for task in range(len(self.members)) if task not in tasks]
        needed, let_go = (self.members[list(some)].any(0) for some in (others, tasks))
        found = let_go & ~needed
        self.released = found if bool(found.any()) else found[:0]

    def let_go(self) -> Tensor:
        """The rows that are released, (k, features)."""
        return self.basis[self.released] if len(self.released) else self.basis[:0]

    def held(self) -> Tensor:
        """The rows held, (rank, features), without those released."""
        if not len(self.released):
            return self.basis
        # Asked for at every step.
        if self._held is None or self._held[0] is not self.released:
            self._held = (self.released, self.basis[~self.released])
        return self._held[1]

    def component(self, update: Tensor) -> Tensor:
        """The component of an update in the rows held."""
        if not len(self.released):
            return super().component(update)
        rows = self.held()
        return (update.to(rows.dtype) @ rows.T) @ rows

    def consolidate(self) -> None:
        """Hold all again, and what the task needs."""
        self.released = self.released[:0]
        super().consolidate()

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._held = None
        super()._load_from_state_dict(*args, **kwargs)
