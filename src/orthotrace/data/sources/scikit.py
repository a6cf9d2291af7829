"""The handwritten digits of scikit-learn."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from orthotrace.core.errors import UserError, checked
from orthotrace.data.cache import cached, content_hash, stored
from orthotrace.data.images import Images, Scaling
from orthotrace.data.sources.base import Limit, Source, within
from orthotrace.data.sources.preparation import Preparation, prepared


@checked
def digits(
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0,
    limit: Limit | None = None,
    preparation: Preparation = "none",
) -> Source:
    """The handwritten digits that come with scikit-learn: 1,437 training and 360 test images, 8 x 8 grey.

    The test part is stratified, about 36 images of each class, and the same for every seed.

    Args:
        scale: factor on the inputs, which lie in [0, 1].
        limit: images of each class in each part at most, the first ones; None for all.
        preparation: "gcn" for global contrast normalisation of each image, "gcn_zca" for ZCA whitening after it, both
            in place of any other scaling; "none" for neither.

    Raises:
        UserError: the scale is not positive.

    Source: Alpaydin & Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.

    Example:
        >>> source = digits()
        >>> len(source.train), len(source.test), source.shape, float(source.train.inputs().max())
        (1437, 360, (1, 8, 8), 1.0)
    """
    images, labels, train, test, names = _decoded()
    classes = labels.tolist()
    train, test = (
        [place for place in part.tolist() if among(classes[place])]
        for part, among in ((train, within(limit)), (test, within(limit)))
    )
    # Pixels are whole numbers from 0 to 16.
    whole = Images(images, labels, scaling=Scaling(std=(16 / scale,)))
    source = Source(
        "digits",
        whole.take(torch.tensor(train)),
        whole.take(torch.tensor(test)),
        names,
    )
    return prepared(source, preparation)


def _decoded() -> tuple[Tensor, Tensor, Tensor, Tensor, tuple[str, ...]]:
    """Images, their labels, places of the training and of the test images, and the names of the classes."""
    # scikit-learn takes most of a second to import: what it gives is kept, where it can be. Another process may remove
    # what it finds damaged.
    try:
        return _read(*cached(content_hash([], "digits", version("scikit-learn")), _write))
    except (UserError, OSError, ValueError, KeyError):
        with TemporaryDirectory() as folder:
            return _read(Path(folder), _write(Path(folder)))


def _read(folder: Path, about: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor, Tensor, tuple[str, ...]]:
    images, labels, train, test = (stored(folder / f"{name}.npy")[0] for name in ("images", "labels", "train", "test"))
    return images, labels, train, test, tuple(about["classes"])


def _write(folder: Path) -> dict[str, Any]:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data: Any = load_digits()
    train, test = train_test_split(range(len(data.target)), test_size=360, stratify=data.target, random_state=0)
    arrays = {
        "images": data.images.astype(np.uint8)[:, None], "labels": data.target.astype(np.int64), "train": train,
        "test": test,
    }  # fmt: skip
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", np.asarray(values))
    return {"classes": [str(name) for name in data.target_names]}
