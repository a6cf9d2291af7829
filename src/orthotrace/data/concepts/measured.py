"""Concepts of a data set's own images: its classes, and attributes that are measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from orthotrace.core.errors import UserError, checked, refuse_unknown
from orthotrace.data.concepts.attributes import ATTRIBUTES, Attribute
from orthotrace.data.concepts.base import ConceptPart, ConceptSets, checked_sets, split_off
from orthotrace.data.images import Images, extremes
from orthotrace.data.sources import Source


@checked
def measured(
    source: Source,
    attributes: Sequence[str] | str = (),
    classes: Sequence[str | int] | str = (),
    share: Annotated[float, Field(gt=0, lt=1)] = 0.2,
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.2,
    limit: Annotated[int, Field(ge=10)] | None = 10000,
) -> ConceptSets:
    """Concept sets from attributes measured on the images of a data set, and from its classes.

    Attributes need no labels. An image has an attribute where its measurement is beyond a threshold: the quantile that
    the highest (or lowest) ``share`` of the training images exceed, in every part. The test part has the data set's
    test images, the other two have its training images.

    Args:
        source: the data set.
        attributes: names, see ATTRIBUTES: thick, thin, slanted left, ... for digits, bright, red, ... for photographs.
        classes: names of classes, or "all".
        share: of the training images that have a graded attribute, in (0, 1).
        validation: share of the training images that becomes the validation part, in (0, 1).
        limit: number of images of each part of the data set, the first ones; None for all.

    Raises:
        UserError: an unknown attribute or class, none at all, or a part without images of a concept.

    Example:
        >>> from orthotrace.data.sources import digits
        >>> sets = measured(digits(), attributes=["thick", "thin"])
        >>> [len(part) for part in (sets.train, sets.validation, sets.test)]
        [1150, 287, 360]
    """
    attributes = [attributes] if isinstance(attributes, str) else attributes
    given = [classes] if isinstance(classes, str) else classes
    chosen = list(source.classes) if classes == "all" else [str(name) for name in given]
    refuse_unknown(attributes, ATTRIBUTES, "there is no attribute", "attributes")
    refuse_unknown(chosen, source.classes, "there is no class", "classes")
    if not attributes and not chosen:
        raise UserError("name attributes or classes", "attributes")
    held, rest = split_off(min(len(source.train), limit or len(source.train)), [validation])
    test = torch.arange(min(len(source.test), limit or len(source.test)))
    images = {"train": source.train.take(rest), "validation": source.train.take(held), "test": source.test.take(test)}
    has = {part: torch.zeros(len(of), 0, dtype=torch.bool) for part, of in images.items()}
    pixels = _unit(images) if attributes else {}
    # Thick and thin share one measurement.
    values = {
        measure: {part: torch.from_numpy(measure(of)) for part, of in pixels.items()}
        for measure in dict.fromkeys(ATTRIBUTES[name].measure for name in attributes)
    }
    for name in attributes:
        found = _where(ATTRIBUTES[name], values[ATTRIBUTES[name].measure], share)
        has = {part: torch.cat([has[part], found[part][:, None]], dim=1) for part in has}
    for name in chosen:
        label = source.classes.index(name)
        has = {part: torch.cat([has[part], (images[part].labels == label)[:, None]], dim=1) for part in has}
    parts = {part: ConceptPart(images[part], has[part]) for part in images}
    return checked_sets([*attributes, *chosen], parts, chosen)


def _unit(images: dict[str, Images]) -> dict[str, Tensor]:
    """Pixels in [0, 1], by the range of the training images, from which the thresholds come."""
    dark, bright = (value.float() for value in extremes(images["train"].images))
    return {part: (of.images - dark) / (bright - dark).clamp_min(1e-12) for part, of in images.items()}


def _where(attribute: Attribute, values: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Which images of each part have an attribute, by its measurements."""
    if attribute.exactly is not None:
        return {part: of == attribute.exactly for part, of in values.items()}
    if attribute.lowest:
        threshold = values["train"].quantile(share)
        return {part: of <= threshold for part, of in values.items()}
    threshold = values["train"].quantile(1 - share)
    return {part: of >= threshold for part, of in values.items()}
