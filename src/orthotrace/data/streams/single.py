"""One task: a network trained on a data set, without a sequence."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field

from orthotrace.core.errors import UserError, checked
from orthotrace.core.seeds import generator
from orthotrace.data.sources import Source
from orthotrace.data.streams.split import Split

Part = Literal["all", "first", "second"]


class Single(Split):
    """One task with all classes of a data set, or with one of two disjoint halves of its images or classes.

    Two networks that are trained on different halves see other images, or other categories, and nothing else changes:
    halves of one seed are equally large and share nothing, and the test images stay those of the data set.

    Args:
        source: where the images come from.
        images: "all" training images, or the "first" or "second" half of those of each class, drawn from the seed.
        classes: "all", or the "first" or "second" half of them, drawn from the seed; where their number is odd, one
            of the classes, or of the images of a class, is in neither half.
        validation: share of the training images that is held out for validation, in [0, 1).
        label_noise: share of the training labels replaced by another label, in [0, 1].
        input_noise: standard deviation of Gaussian noise on the training images, 1 being the range of pixels.
        outputs: of the network, at least one for each class; None for just as many.
        online: every training image is seen once: one epoch.
        seed: of halves, validation part and noise.

    Raises:
        UserError: an argument out of its range, halves of fewer than two classes, or of a class with one image, or a
            regression.

    Source: Mehrer et al., Nature Communications 11:5725, 2020, for other images and other categories as controls.

    Example:
        >>> from orthotrace.data.sources import digits
        >>> first, second = (Single(digits(), classes=half) for half in ("first", "second"))
        >>> first.tasks, len(first.classes), set(first.classes) & set(second.classes)
        (1, 5, set())
    """

    name = "single"

    @checked
    def __init__(
        self,
        source: Source,
        images: Part = "all",
        classes: Part = "all",
        validation: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        label_noise: Annotated[float, Field(ge=0, le=1)] = 0.0,
        input_noise: Annotated[float, Field(ge=0)] = 0.0,
        outputs: Annotated[int, Field(ge=1)] | None = None,
        online: bool = False,
        seed: int = 0,
    ) -> None:
        if source.regression:
            raise UserError("this is for classes; stream=permuted stream.tasks=1 is one task of a regression too")
        options = {
            "validation": validation, "label_noise": label_noise, "input_noise": input_noise, "outputs": outputs,
            "online": online, "scenario": "class",
        }  # fmt: skip
        labels = _part(torch.arange(len(source.classes)), classes, seed, 6).tolist()
        if classes != "all" and len(labels) < 2:
            raise UserError(f"half of the {len(source.classes)} classes is less than two", "classes")
        if images != "all":
            source = replace(source, train=source.train.take(_of_each(source.train.labels, images, seed)))
        self._set(source, [labels], seed, options)


def _part(places: torch.Tensor, part: Part, seed: int, *purpose: int) -> torch.Tensor:
    """All of some places, or one half of them, in their order."""
    if part == "all":
        return places
    order = torch.randperm(len(places), generator=generator(seed, *purpose))
    half = len(places) // 2
    return places[order[:half] if part == "first" else order[half : 2 * half]].sort().values


def _of_each(labels: torch.Tensor, part: Part, seed: int) -> torch.Tensor:
    """The places of one half of the images of each class."""
    found = []
    for label in labels.unique().tolist():
        places = (labels == label).nonzero().flatten()
        if len(places) < 2:
            raise UserError(f"a class with {len(places)} training image has no halves", "images")
        found.append(_part(places, part, seed, 7, label))
    return torch.cat(found).sort().values
