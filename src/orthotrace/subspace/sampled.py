"""A sample of a task's inputs, kept until the task ends."""

from typing import Any

import torch
from torch import Tensor

from orthotrace.core.distributed import all_gather_rows
from orthotrace.linalg import is_finite
from orthotrace.subspace.base import NoRowsError, Subspace


class SampledSubspace(Subspace):
    """A subspace that learns at the end of a task, from a sample of its inputs.

    Args:
        features: width of a row.
        **options: of the class beside it.
    """

    sample: Tensor

    def __init__(self, features: int, **options: Any) -> None:
        super().__init__(features, **options)
        self.register_buffer("sample", torch.zeros(0, features, dtype=self.basis.dtype))

    def observe(self, rows: Tensor) -> None:
        """Add rows (n, features) to the sample of the task."""
        self.sample = torch.cat([self.sample, self.taken(rows)])

    def seen(self) -> Tensor:
        """The sample, of all processes, in float64: a share of .999 and more must not be decided by rounding.

        Raises:
            ValueError: nothing was observed, or the sample has NaN or infinite entries.
        """
        sample = all_gather_rows(self.sample)
        if not len(sample):
            raise NoRowsError()
        if not is_finite(sample):
            raise ValueError(
                "the inputs observed in this task are not finite; lower the learning rate, or strengths and noise"
            )
        return sample.double()

    def ended(self) -> None:
        """The task has ended: forget its sample."""
        self.sample = self.sample[:0]
        self.tasks += 1
