"""Different data sets, one after another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from orthotrace.core.errors import UserError, checked
from orthotrace.core.seeds import generator
from orthotrace.data.images import Images, Scaling
from orthotrace.data.sources import Source
from orthotrace.data.sources.base import PartName, check_shapes
from orthotrace.data.streams.base import Stream, distinct


def chosen(sources: int, tasks: int | None, order: str, seed: int) -> list[int]:
    """The places of the data sets that a sequence shows, in its order.

    Example:
        >>> chosen(5, 2, "given", seed=0), sorted(chosen(5, None, "seed", seed=0))
        ([0, 1], [0, 1, 2, 3, 4])
    """
    drawn = order == "seed"
    places = torch.randperm(sources, generator=generator(seed, 2)).tolist() if drawn else list(range(sources))
    return places[:tasks]


def one_scaling(sources: Iterable[Source]) -> list[Source]:
    """The data sets with one scaling, made from the training images of all; floating images keep theirs."""
    found = list(sources)
    if found[0].train.store.dtype != torch.uint8:
        return found
    scaling = Scaling.of([one.train.images for one in found])
    return [one.scaled(scaling) for one in found]


class Sequence(Stream):
    """Each task is a data set of its own.

    All images have one scaling, made from the training images of all sets: a scaling of each set would tell at the
    test which one an image is of.

    Args:
        source: the data sets, in order, with images of one shape; None in the place of one that is not shown.
        tasks: how many of them; None for all.
        order: "given", or "seed" for one drawn from the seed.
        seed: of order and validation parts.
        **options: as for Stream.

    Raises:
        UserError: fewer data sets than tasks, other shapes, or domain-incremental with different classes.

    Source: Ebrahimi et al., Adversarial Continual Learning, ECCV 2020, for 5-Datasets.
    """

    name = "sequence"

    @checked
    def __init__(
        self,
        source: tuple[Source | None, ...] | Source,
        tasks: Annotated[int, Field(ge=1)] | None = None,
        order: Literal["given", "seed"] = "given",
        seed: int = 0,
        **options: Any,
    ) -> None:
        given = (source,) if isinstance(source, Source) else source
        check_shapes([one for one in given if one is not None])
        if tasks is not None and tasks > len(given):
            raise UserError(f"{tasks} tasks, but there are only {len(given)} data sets", "tasks")
        sources: list[Source] = []
        for place in chosen(len(given), tasks, order, seed):
            if (one := given[place]) is None:
                raise UserError(f"data set {place + 1} of {len(given)} is shown, but was not read", "source")
            sources.append(one)
        if options.get("scenario") == "domain" and len({one.classes for one in sources}) > 1:
            raise UserError(
                f"{', '.join(one.name for one in sources)} have different classes: domain-incremental tasks share "
                "their labels; choose task or class",
                "scenario",
            )
        sources = one_scaling(sources)
        self.regression, self.trials = sources[0].regression, sources[0].trials
        if other := [one.name for one in sources if one.regression != self.regression]:
            raise UserError(
                f"{other[0]} and {sources[0].name}: one has class labels, the other targets of a regression", "source"
            )
        names = [one.classes for one in sources]
        images = [len(one.train) for one in sources]
        super().__init__(names, images, sources[0].shape, sources[0].train.scaling, seed=seed, **options)
        self.sources = sources

    def images(self, number: int, part: PartName) -> Images:
        """The images of one data set."""
        return self.sources[number].part(part)

    def original(self) -> tuple[Images, tuple[str, ...]]:
        """The test images of all sources, each with classes of its own."""
        names = [source.classes for source in self.sources]
        starts = [sum(len(of) for of in names[:number]) for number in range(len(names))]
        parts = [
            source.test if self.regression else replace(source.test, labels=source.test.labels + start)
            for source, start in zip(self.sources, starts, strict=True)
        ]
        return Images.joined(parts), distinct(names)
