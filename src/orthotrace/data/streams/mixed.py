"""The classes of several data sets, mixed and split into tasks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from orthotrace.core.errors import UserError, checked
from orthotrace.data.images import Images
from orthotrace.data.sources import Source
from orthotrace.data.sources.base import PartName, check_names, check_shapes
from orthotrace.data.streams.sequence import one_scaling
from orthotrace.data.streams.split import Split


class Mixed(Split):
    """Each task has some of the classes of all data sets together: a category-randomised stream.

    The order of the classes decides which are in a task: by default it is drawn from the seed. All images have one
    scaling, as in Sequence, where each task is a data set.

    Args:
        source: the data sets, in order, with images of one shape.
        **options: as for Split; a class of a name that several data sets have is called "NAME (DATA SET)".

    Raises:
        UserError: a regression, other shapes, or as for Split.

    Source: 5-Datasets with randomised categories in LibContinual, a library of class-incremental learning.

    Example:
        >>> from orthotrace.data.sources import digits
        >>> sets = (digits(), replace(digits(), name="again"))
        >>> stream = Mixed(sets, tasks=4, class_order="natural", scenario="class")
        >>> stream.names[1], stream.names[2][0], len(stream.task(1).train)
        (('5 (digits)', '6 (digits)', '7 (digits)', '8 (digits)', '9 (digits)'), '0 (again)', 644)
    """

    name = "mixed"

    @checked
    def __init__(self, source: tuple[Source, ...] | Source, **options: Any) -> None:
        super().__init__(joined((source,) if isinstance(source, Source) else source), **options)


def joined(sources: tuple[Source, ...]) -> Source:
    """One data set with the classes of all, in order.

    Raises:
        UserError: images of other shapes, a regression, or two classes of one name in data sets of one name.
    """
    check_shapes(sources)
    if other := [one.name for one in sources if one.regression]:
        raise UserError(f"{other[0]} is a regression, which has no classes to mix: take stream=sequence", "source")
    sources = tuple(one_scaling(sources))
    often = Counter(name for one in sources for name in one.classes)
    names = [name if often[name] == 1 else f"{name} ({one.name})" for one in sources for name in one.classes]
    starts = [sum(len(one.classes) for one in sources[:place]) for place in range(len(sources))]

    def of(part: PartName) -> Images:
        parts = zip((one.part(part) for one in sources), starts, strict=True)
        return Images.joined([replace(images, labels=images.labels + start) for images, start in parts])

    return Source("+".join(one.name for one in sources), of("train"), of("test"), check_names(names))
