"""Scores of a sequence of tasks, from the matrix of test accuracies."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Scores:
    """Summary of an accuracy matrix; rates in [-1, 1], None where one does not apply.

    With R[i, j] the test accuracy on task j after training task i, b_j that of the untrained network, i, j = 1..T, and
    maxima over what was tested:

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
    accuracy: Sequence[Sequence[float | None]], untrained: Sequence[float] | None = None, shared_head: bool = True
) -> Scores:
    """Scores of a complete accuracy matrix.

    Args:
        accuracy: T x T, row i after training task i, rates in [0, 1]; None on later tasks that were not tested.
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
    rows = [[_number(value) for value in row] for row in accuracy]
    if not all(
        math.isfinite(value) or (j > i and accuracy[i][j] is None)
        for i, row in enumerate(rows)
        for j, value in enumerate(row)
    ):
        raise ValueError("the matrix is not complete")
    last = rows[-1]
    before = range(total - 1)
    next_tested = all(math.isfinite(rows[j - 1][j]) for j in range(1, total))
    forward = None
    if shared_head and untrained is not None and total > 1 and next_tested:
        forward = _mean([rows[j - 1][j] - untrained[j] for j in range(1, total)])
    best = [max(row[j] for row in rows[:-1] if math.isfinite(row[j])) for j in before]
    return Scores(
        acc=_mean(last),
        aia=_mean([_mean(row[: i + 1]) for i, row in enumerate(rows)]),
        bwt=_mean([last[j] - rows[j][j] for j in before]) if total > 1 else None,
        fwt=forward,
        forgetting=_mean([best[j] - last[j] for j in before]) if total > 1 else None,
        learning_accuracy=_mean([rows[j][j] for j in range(total)]),
    )


@dataclass(frozen=True)
class InsideScores:
    """How far accuracy falls inside tasks; rates in [0, 1].

    Attributes:
        min_acc: mean_{j < T} of the lowest accuracy on task j at any step after task j.
        wc_acc: worst-case accuracy, R[T, T] / T + (1 - 1 / T) min_acc.
    """

    min_acc: float
    wc_acc: float


def inside_scores(
    inside: Sequence[Mapping[str, Any]], accuracy: Sequence[Sequence[float | None]]
) -> InsideScores | None:
    """Scores of what was measured inside tasks; None where nothing was, or there is one task only.

    Args:
        inside: task (from 1) and accuracy on the tasks so far, at steps inside tasks.
        accuracy: T x T, row i after training task i, as for summarise; the ends of tasks count as steps.

    Source: De Lange, van de Ven & Tuytelaars, Continual evaluation for lifelong learning, ICLR 2023, eqs. 3 and 4.

    Example:
        >>> inside_scores([{"task": 2, "accuracy": [0.4, 0.5]}], [[0.9, 0.1], [0.8, 0.6]])
        InsideScores(min_acc=0.4, wc_acc=0.5)
    """
    total = len(accuracy)
    if not inside or total < 2:
        return None
    lowest = []
    for task in range(total - 1):
        during = [row["accuracy"][task] for row in inside if row["task"] > task + 1]
        lowest.append(min([*during, *(_number(row[task]) for row in accuracy[task + 1 :])]))
    worst = _mean(lowest)
    return InsideScores(worst, round(_number(accuracy[-1][-1]) / total + (1 - 1 / total) * worst, 12))


def collapsed(accuracy: Sequence[Sequence[float]], chance: Sequence[float], images: Sequence[int]) -> list[int]:
    """Tasks that were not learned, from 1: where the first was, learning has collapsed.

    A task is learned where R[j, j] is above the binomial interval of chance, c_j + 1.96 sqrt(c_j (1 - c_j) / n_j).

    Args:
        accuracy: T x T, row i after training task i.
        chance: c_j, the share of the most frequent class of task j: what one and the same answer gets right.
        images: n_j, test images of task j.

    Example:
        >>> collapsed([[0.9, 0.1, 0.1], [0.8, 0.12, 0.1], [0.7, 0.1, 0.8]], [0.1] * 3, [360] * 3)
        [2]
    """
    bounds = [
        share + 1.96 * math.sqrt(share * (1 - share) / count) for share, count in zip(chance, images, strict=True)
    ]
    # A task of one class has nothing to tell.
    return [j + 1 for j, share in enumerate(chance) if share < 1 and accuracy[j][j] <= bounds[j]]


def intransigence(accuracy: Sequence[Sequence[float]], joint: Sequence[float]) -> float:
    """How much less is learned than by training on all tasks at once, mean_j (a_j - R[j, j]).

    Args:
        accuracy: T x T, row i after training task i.
        joint: a_j, accuracies of a network trained on all tasks.

    Source: Chaudhry et al., Riemannian Walk for Incremental Learning, ECCV 2018, eq. 4.

    Example:
        >>> intransigence([[0.9, 0.2], [0.7, 0.8]], joint=[0.95, 0.95])
        0.1
    """
    return _mean([reference - accuracy[j][j] for j, reference in enumerate(_matching(joint, accuracy))])


def reference_transfer(accuracy: Sequence[Sequence[float]], single: Sequence[float]) -> float:
    """How much better a task is learned after others than alone, mean_{j >= 2} (R[j, j] - s_j).

    Args:
        accuracy: T x T, row i after training task i, T at least 2.
        single: s_j, accuracies of networks trained on task j alone.

    Source: Diaz-Rodriguez et al., Don't forget, there is more than forgetting, 2018, for transfer against a
    single-task reference.

    Example:
        >>> reference_transfer([[0.9, 0.2], [0.7, 0.8]], single=[0.9, 0.7])
        0.1
    """
    references = _matching(single, accuracy)
    return _mean([accuracy[j][j] - references[j] for j in range(1, len(references))])


def _matching(reference: Sequence[float], accuracy: Sequence[Sequence[float]]) -> Sequence[float]:
    if len(reference) != len(accuracy):
        raise ValueError(f"{len(reference)} reference accuracies for {len(accuracy)} tasks")
    return reference


def _number(value: float | None) -> float:
    return value if isinstance(value, (int, float)) else math.nan


def _mean(values: Sequence[float]) -> float:
    # Rounded beyond any accuracy that a test set can resolve, so that 0.7 - 0.9 prints as -0.2.
    return round(math.fsum(values) / len(values), 12)
