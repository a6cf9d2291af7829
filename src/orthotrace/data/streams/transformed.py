"""The same images in every task, transformed in each."""

from abc import abstractmethod
from dataclasses import replace
from typing import Any

from orthotrace.core.errors import UserError
from orthotrace.data.images import Images
from orthotrace.data.sources import Source
from orthotrace.data.sources.base import PartName
from orthotrace.data.streams.base import Stream


class Transformed(Stream):
    """Each task has all images of one data set, their pixels transformed in a way of its own.

    Args:
        source: where the images come from.
        tasks: number of tasks, at least 1.
        **options: as for Stream.
    """

    def __init__(self, source: Source, tasks: int, **options: Any) -> None:
        self.regression = source.regression
        if source.trials:
            raise UserError(f"{source.name} has trials, whose order in time is no image: take stream=split", "source")
        sizes = [len(source.train)] * tasks
        super().__init__([source.classes] * tasks, sizes, source.shape, source.train.scaling, **options)
        self.source = source

    @abstractmethod
    def unchanged(self, number: int) -> bool:
        """Whether a distinct task has the images as they are."""

    def images(self, number: int, part: PartName) -> Images:
        """The images of the source, transformed."""
        images = self.source.part(part)
        if self.unchanged(number):
            return images
        return replace(images, store=self.transformed(images.images, number), index=None, mapped=False)

    def original(self) -> tuple[Images, tuple[str, ...]]:
        """The test images of the source."""
        return self.source.test, self.source.classes
