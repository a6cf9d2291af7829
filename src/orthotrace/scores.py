"""Scores of a sequence of tasks, from the matrix of test accuracies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Scores:
    """Summary of an accuracy matrix; rates in [-1, 1], None where one does not apply.

    With R[i, j] the test accuracy on task j after training task i, b_j that of the untrained network, i, j = 1..T:

    Attributes:
        acc: mean_j R[T, j].
        aia: average incremental accuracy, mean_i mean_{j <= i} R[i, j].
        bwt: backward transfer, mean_{j < T} (R[T, j] - R[j, j]) (Lopez-Paz & Ranzato, NeurIPS 2017).
        fwt: forward transfer, mean_{j >= 2} (R[j - 1, j] - b_j) (same source); None without a shared head.
        forgetting: mean_{j < T} (max_{l < T} R[l, j] - R[T, j]) (Chaudhry et al., ECCV 2018). It is not -BWT.
        learning_accuracy: mean_j R[j, j] (Riemer et al., ICLR 2019).
    """

    acc: float
    aia: float
    bwt: float | None
    fwt: float | None
    forgetting: float | None
    learning_accuracy: float

    def as_dict(self) -> dict[str, float | None]:
        """The scores by name."""
        return asdict(self)


def summarise(
    accuracy: Sequence[Sequence[float]], untrained: Sequence[float] | None = None, shared_head: bool = True
) -> Scores:
    """Scores of a complete accuracy matrix.

    Args:
        accuracy: T x T, row i after training task i, rates in [0, 1].
        untrained: T, of the untrained network.
        shared_head: whether all tasks share one readout.

    Raises:
        ValueError: the matrix is not square, or not complete.

    Example:
        >>> summarise([[0.9, 0.2], [0.7, 0.8]], untrained=[0.1, 0.1]).bwt
        -0.2
    """
    total = len(accuracy)
    if not total or any(len(row) != total for row in accuracy):
        raise ValueError(f"a T x T matrix is needed, got rows of {[len(row) for row in accuracy]}")
    if not all(isinstance(value, (int, float)) and math.isfinite(value) for row in accuracy for value in row):
        raise ValueError("the matrix is not complete")
    last = accuracy[-1]
    before = range(total - 1)
    forward = None
    if shared_head and untrained is not None and total > 1:
        forward = _mean([accuracy[j - 1][j] - untrained[j] for j in range(1, total)])
    return Scores(
        acc=_mean(last),
        aia=_mean([_mean(row[: i + 1]) for i, row in enumerate(accuracy)]),
        bwt=_mean([last[j] - accuracy[j][j] for j in before]) if total > 1 else None,
        fwt=forward,
        forgetting=(_mean([max(accuracy[i][j] for i in before) - last[j] for j in before]) if total > 1 else None),
        learning_accuracy=_mean([accuracy[j][j] for j in range(total)]),
    )


def _mean(values: Sequence[float]) -> float:
    # Rounded beyond any accuracy that a test set can resolve, so that 0.7 - 0.9 prints as -0.2.
    return round(math.fsum(values) / len(values), 12)
