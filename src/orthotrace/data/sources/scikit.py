"""The handwritten digits of scikit-learn."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field

from orthotrace.core.errors import checked
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
    # scikit-learn takes a second to import.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data: Any = load_digits()
    # Pixels are whole numbers from 0 to 16.
    images = torch.tensor(data.images, dtype=torch.uint8)[:, None]
    labels = torch.tensor(data.target, dtype=torch.int64)
    train, test = train_test_split(range(len(labels)), test_size=360, stratify=labels, random_state=0)
    classes = labels.tolist()
    train, test = (
        [place for place in part if among(classes[place])]
        for part, among in ((train, within(limit)), (test, within(limit)))
    )
    whole = Images(images, labels, scaling=Scaling(std=(16 / scale,)))
    source = Source(
        "digits",
        whole.take(torch.tensor(train)),
        whole.take(torch.tensor(test)),
        tuple(str(name) for name in data.target_names),
    )
    return prepared(source, preparation)
