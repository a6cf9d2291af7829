"""Drift of concept axes from task to task."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.rdm.arrays import numbers, representable
from orthotrace.analysis.rdm.stacks import moderate
from orthotrace.core.errors import UserError

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Drift:
    """Change of concept axes since the first task.

    Attributes:
        purity: after every task less that after the first, (tasks, k); 0 in the first row.
        angle: between each axis and the same axis after the first task, in degrees from 0 to 180, (tasks, k);
            of a concept of several axes the largest angle between the two subspaces, from 0 to 90.
    """

    purity: Matrix
    angle: Matrix


def concept_drift(purities: ArrayLike, axes: Sequence[ArrayLike]) -> Drift:
    """How purity and direction of concept axes change from task to task.

    Args:
        purities: of each concept after every task, (tasks, k), on the same test images.
        axes: of each concept after every task, (tasks, channels), or (tasks, axes, channels) where it has several, in
            coordinates that stay the same, such as the channels before the layer: the rows of R W, not of R alone.
            Their lengths do not matter.

    Raises:
        UserError: shapes that do not fit, entries that are not finite, or an axis that is all 0.

    Example:
        >>> found = concept_drift([[0.9], [0.8]], [[[1.0, 0.0], [1.0, 1.0]]])
        >>> found.purity.round(6).tolist(), found.angle.round(6).tolist()
        ([[0.0], [-0.1]], [[0.0], [45.0]])
    """
    values = numbers(purities, "purities")
    rows = [numbers(of, f"axes of concept {concept}") for concept, of in enumerate(axes)]
    if values.ndim != 2 or not values.size or len(rows) != values.shape[1]:
        raise UserError(f"purities (tasks, k) and axes of k concepts are needed, got {values.shape} and {len(rows)}")
    if not np.isfinite(values).all():
        raise UserError("purities must be finite")
    angles = []
    for concept, of in enumerate(rows):
        found = of[:, None] if of.ndim == 2 else of
        if found.ndim != 3 or len(found) != len(values):
            raise UserError(f"concept {concept} needs axes (tasks, axes, channels), got shape {of.shape}")
        if not np.isfinite(found).all():
            raise UserError(f"the axes of concept {concept} must be finite")
        # Their lengths do not matter, and squares of large and small ones are no numbers.
        found = moderate(found.reshape(-1, found.shape[2])).reshape(found.shape) if found.size else found
        size = np.linalg.norm(found, axis=2)
        if not size.all():
            task = int(np.argwhere(size == 0)[0, 0])
            raise UserError(f"an axis of concept {concept} is all 0 after task {task + 1}: it has no direction")
        unit = found / size[..., None]
        angles.append([_angle(unit[0], later) for later in unit])
    with np.errstate(over="ignore"):
        return Drift(representable(values - values[0], "purities"), np.degrees(angles).T)


def _angle(first: Matrix, later: Matrix) -> float:
    """Angle between two axes; of several axes the largest angle between the two subspaces."""
    if len(first) == 1:
        # Half the angle by its sine and cosine: exact also where it is small.
        return float(2 * np.arctan2(np.linalg.norm(later - first), np.linalg.norm(later + first)))
    from scipy.linalg import subspace_angles

    return float(subspace_angles(first.T, later.T).max())
