"""What becomes of concept axes from task to task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Drift:
    """What became of concept axes after the first task.

    Attributes:
        purity: after every task less that after the first, (tasks, k); 0 in the first row.
        angle: of each axis to what it was after the first task, in degrees from 0 to 180, (tasks, k).
    """

    purity: Matrix
    angle: Matrix


def concept_drift(purities: ArrayLike, axes: ArrayLike) -> Drift:
    """How purity and direction of concept axes change from task to task.

    Args:
        purities: of each concept after every task, (tasks, k), on the same test images.
        axes: after every task, (tasks, k, channels), in coordinates that stay the same, such as the channels before
            the layer: the rows of R W, not of R alone. Their lengths do not matter.

    Raises:
        ValueError: shapes that do not fit, entries that are not finite, or an axis that is all 0.

    Example:
        >>> found = concept_drift([[0.9], [0.8]], [[[1.0, 0.0]], [[1.0, 1.0]]])
        >>> found.purity.round(6).tolist(), found.angle.round(6).tolist()
        ([[0.0], [-0.1]], [[0.0], [45.0]])
    """
    values, rows = np.asarray(purities, dtype=np.float64), np.asarray(axes, dtype=np.float64)
    if values.ndim != 2 or rows.ndim != 3 or values.shape != rows.shape[:2] or not values.size:
        raise ValueError(
            f"purities (tasks, k) and axes (tasks, k, channels) are needed, got {values.shape} and {rows.shape}"
        )
    size = np.linalg.norm(rows, axis=2, keepdims=True)
    if not (np.isfinite(values).all() and np.isfinite(size).all()):
        raise ValueError("purities and axes must be finite")
    if not size.all():
        task, concept, _ = np.argwhere(size == 0)[0]
        raise ValueError(f"the axis of concept {concept} is all 0 after task {task + 1}: it has no direction")
    unit = rows / size
    # Half the angle by its sine and cosine: exact also where it is small.
    angle = 2 * np.arctan2(np.linalg.norm(unit - unit[0], axis=2), np.linalg.norm(unit + unit[0], axis=2))
    return Drift(values - values[0], np.degrees(angle))
