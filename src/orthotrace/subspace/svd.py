"""The principal directions of a sample of inputs (GPM)."""

from torch import Tensor

from orthotrace.linalg import principal
from orthotrace.subspace.base import CountedSubspace
from orthotrace.subspace.sampled import SampledSubspace


class SvdSubspace(SampledSubspace, CountedSubspace):
    """Holds the least number of directions that keeps a share of the energy of a sample of inputs.

    With the sample R of a task and the rows M held, the residual R - R M^T M = U S V^T; the first k rows of V^T join
    M, k the least with |R|^2 - |residual after k|^2 >= energy |R|^2, or k given.

    Args:
        features: width of a row, at least 1.
        **options: either ``energy``, the share to hold in (0, 1] (``growth`` is added with each task), or ``rows``, the
            directions to hold of each task, or ``rank``; ``hold``, ``dtype``. See CountedSubspace.

    Source: Saha, Garg & Roy, Gradient Projection Memory, ICLR 2021, eq. 8 and 9.

    Example:
        >>> import torch
        >>> subspace = SvdSubspace(3, energy=0.9)
        >>> subspace.observe(torch.diag(torch.tensor([3.0, 1.0, 0.1])))
        >>> subspace.consolidate()
        >>> subspace.capacity
        Capacity(rank=2, features=3)
    """

    def consolidate(self) -> None:
        """Hold the sample's principal directions and forget the sample.

        Raises:
            ValueError: nothing was observed, or the sample has NaN or infinite entries.
        """
        rows = self.seen()
        energies, directions = principal(self.left_over(rows))
        total = float(rows.square().sum())
        directions = directions[energies > self.rounding(total)]
        count = self.wanted()
        if count is None:
            count = self.enough(energies, total)
        # The sample may span fewer directions than were asked for.
        count = min(count, self.free, len(directions))
        self.take_up(rows, directions[:count], energies[:count])
        self.ended()

    def take_up(self, rows: Tensor, new: Tensor, energies: Tensor) -> None:
        """Hold new rows.

        Args:
            rows: the sample, (n, features).
            new: orthonormal, outside the rows held, (k, features).
            energies: of the sample along them, (k,).
        """
        self.hold(new)
