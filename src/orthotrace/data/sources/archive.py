"""NumPy archives of images with labels, or with the targets of a regression."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from orthotrace.core.errors import UserError, checked, refuse_unknown
from orthotrace.core.files import read
from orthotrace.data.sources.arrays import NAMES, Layout, arrays
from orthotrace.data.sources.base import Limit, Source, check_names
from orthotrace.data.sources.preparation import Preparation, prepared
from orthotrace.data.sources.targets import NAMES as TARGET_NAMES
from orthotrace.data.sources.targets import TASKS, targets


@checked
def archive(
    path: str,
    normalise: bool = True,
    classes: list[str | int] | None = None,
    limit: Limit | None = None,
    preparation: Preparation = "none",
    layout: Layout = "images",
) -> Source:
    """Images, or inputs of any shape, from a NumPy archive (.npz).

    It has the arrays train_images, train_labels, test_images, test_labels. An optional array ``classes`` has the names
    of the classes. For a regression the archive has train_targets and test_targets instead of labels, and maybe
    train_tasks and test_tasks, see targets; ``classes`` names the targets.

    Args:
        path: the file.
        normalise: as for arrays.
        classes: names by label; None for those in the file, or the numbers.
        limit: images of each class in each part at most, the first ones; None for all.
        preparation: "gcn" for global contrast normalisation of each image, "gcn_zca" for ZCA whitening after it,
            "planes" for planes of colours read as pixels (see planes_as_pixels), each in place of any other scaling;
            "none" for neither.
        layout: as for arrays.

    Raises:
        UserError: the file is missing or damaged, or an array is missing or does not fit.
    """

    def load(file: Path) -> dict[str, Any]:
        with np.load(file, allow_pickle=False) as opened:
            return dict(opened)

    if not Path(path).is_file():
        raise UserError(f"there is no file {path}", "path")
    content = read(Path(path), load)
    has_targets = [name for name in TARGET_NAMES if "targets" in name and name in content]
    has_labels = [name for name in NAMES if "labels" in name and name in content]
    if has_targets and has_labels:
        raise UserError(f"{path} has {has_labels[0]} and {has_targets[0]}: keep one kind", "path")
    make: Any = targets if has_targets else arrays
    wanted = TARGET_NAMES if has_targets else NAMES
    refuse_unknown(wanted, content, f"{path} has no array", "path")
    more = [name for name in TASKS if has_targets and name in content]
    names = content.get("classes") if classes is None else check_names(classes)
    try:
        source = make(
            **{name: content[name] for name in (*wanted, *more)},
            classes=names,
            name=Path(path).stem,
            normalise=normalise,
            limit=limit,
            layout=layout,
        )
    except UserError as error:
        raise UserError(f"{path}, {error.key}: {error.message}", "path") from error
    if layout == "any" and preparation != "none":
        raise UserError("is for images: set none", "preparation")
    return prepared(source, preparation)
