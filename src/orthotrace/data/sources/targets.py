"""Images with targets of a regression, in arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from orthotrace.core.errors import UserError
from orthotrace.data.images import Images
from orthotrace.data.sources.arrays import Layout, images_of, scaling_of
from orthotrace.data.sources.base import Source, check_names, within

NAMES = ("train_images", "train_targets", "test_images", "test_targets")
TASKS = ("train_tasks", "test_tasks")


def targets(
    train_images: Any,
    train_targets: Any,
    test_images: Any,
    test_targets: Any,
    train_tasks: Any = None,
    test_tasks: Any = None,
    classes: Sequence[str] | None = None,
    name: str = "targets",
    normalise: bool = True,
    limit: int | None = None,
    layout: Layout = "images",
) -> Source:
    """Images with numbers to be predicted, from arrays or tensors.

    Targets are learned as they are: bring each to a spread of about 1 before.

    Args:
        train_images: as for arrays.
        train_targets: (n,) or (n, k), floating.
        test_images: like the training images.
        test_targets: like the training targets.
        train_tasks: (n,), numbers or names of the task that each image is from, for a split stream; None where there
            are none.
        test_tasks: likewise.
        classes: names of the k targets; None for their numbers.
        name: of the data set.
        normalise: as for arrays.
        limit: images of each part at most, the first ones, of each task where they are told; None for all.
        layout: as for arrays.

    Raises:
        UserError: shapes that do not fit, targets that are not floating or not finite, names for another number of
            targets, tasks of one part alone.

    Example:
        >>> import numpy as np
        >>> images, values = np.zeros((6, 4, 4)), np.linspace(0, 1, 6)
        >>> source = targets(images, values, images, values, classes=["age"])
        >>> source.classes, source.train.labels.shape, source.regression
        (('age',), torch.Size([6, 1]), True)
    """
    train, test = images_of(train_images, test_images, layout)
    values = [_values(train_targets, len(train), NAMES[1]), _values(test_targets, len(test), NAMES[3])]
    width, other = (of.shape[1] for of in values)
    if other != width:
        raise UserError(f"{other} for each image, in training {width}", NAMES[3])
    names = check_names([f"target {number + 1}" for number in range(width)] if classes is None else classes)
    if len(names) != width:
        raise UserError(f"{len(names)} names for {width} targets", "classes")
    tasks, known = _tasks((train_tasks, test_tasks), (len(train), len(test)))
    if limit is not None:
        for place, of in enumerate(tasks):
            kept = torch.tensor([*map(within(limit), [0] * len(values[place]) if of is None else of.tolist())])
            values[place], tasks[place] = values[place][kept], None if of is None else of[kept]
            train, test = (train[kept], test) if place == 0 else (train, test[kept])
    scaling = scaling_of(train, normalise)
    first, second = (
        Images(of, values[place], scaling=scaling, tasks=tasks[place]) for place, of in enumerate((train, test))
    )
    return Source(name, first, second, names, tasks=known)


def _values(given: Any, count: int, key: str) -> Tensor:
    array = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given)
    if array.dtype.kind != "f":
        what = f"got {array.dtype}"
        if array.dtype.kind in "iub":
            what += "; classes are train_labels and test_labels, whole numbers to be predicted are stored as floating"
        raise UserError(f"targets are floating numbers ({what})", key)
    if array.ndim not in (1, 2) or len(array) != count or not array.size:
        raise UserError(f"({count},) or ({count}, k) expected, got the shape {array.shape}", key)
    values = torch.as_tensor(array).float()
    if not values.isfinite().all():
        rows = (~values.reshape(count, -1).isfinite()).any(1).nonzero().flatten().tolist()
        raise UserError(f"{len(rows)} of {count} targets are not finite, the first of image {rows[0]}", key)
    return values.reshape(count, -1)


def _tasks(given: Sequence[Any], counts: Sequence[int]) -> tuple[list[Tensor | None], tuple[str, ...] | None]:
    """The number of the task of each image of both parts, and the names of all tasks, sorted."""
    if given[0] is None and given[1] is None:
        return [None, None], None
    found = []
    for one, count, key in zip(given, counts, TASKS, strict=True):
        array = np.asarray(one.detach().cpu() if isinstance(one, Tensor) else one)
        if one is None:
            raise UserError("is missing, where the other part has tasks", key)
        if array.shape != (count,) or array.dtype.kind not in "iuU":
            raise UserError(
                f"{count} whole numbers or names of tasks expected, got {array.dtype} of shape {array.shape}", key
            )
        found.append(array)
    if (found[0].dtype.kind == "U") != (found[1].dtype.kind == "U"):
        raise UserError("one part has numbers, the other names", TASKS[1])
    names, places = np.unique(np.concatenate(found), return_inverse=True)
    train, test = torch.as_tensor(places).split(list(counts))
    return [train, test], tuple(map(str, names.tolist()))
