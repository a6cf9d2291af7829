"""A data set as a source of tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from orthotrace.core.errors import UserError
from orthotrace.data.images import Images, Scaling

PartName = Literal["train", "test"]
# Images of each class in the training and in the test part at most.
Limit = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Source:
    """A data set with a training and a test part.

    Attributes:
        name: of the data set.
        train: images for training and validation.
        test: test images, the same for every seed, so that networks of different seeds are compared on the same images.
        classes: names by label; of a regression those of its targets.
        superclasses: the superclass of each class, by label; None where there are none.
        tasks: of a regression the names of the tasks that its images come from, by number; None where that is not
            told.
    """

    name: str
    train: Images
    test: Images
    classes: tuple[str, ...]
    superclasses: tuple[str, ...] | None = None
    tasks: tuple[str, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image: (channels, height, width)."""
        return tuple(self.train.store.shape[1:])

    @property
    def regression(self) -> bool:
        """Whether the images have targets in the place of labels."""
        return self.train.regression

    @property
    def trials(self) -> bool:
        """Whether there are targets for each step of a sequence."""
        return self.train.trials

    def part(self, name: PartName) -> Images:
        """The training or the test part."""
        return getattr(self, name)

    def scaled(self, scaling: Scaling) -> Source:
        """The same images with another scaling."""
        return replace(self, train=replace(self.train, scaling=scaling), test=replace(self.test, scaling=scaling))


def within(limit: int | None) -> Callable[[Any], bool]:
    """Whether an image is among the first of its class, asked by the labels of one image after another.

    Example:
        >>> first = within(1)
        >>> [first(label) for label in ("cat", "dog", "cat")]
        [True, True, False]
    """
    counts: Counter[Any] = Counter()

    def among(label: Any) -> bool:
        counts[label] += 1
        return limit is None or counts[label] <= limit

    return among


def check_names(classes: Sequence[Any]) -> tuple[str, ...]:
    """Names of classes as a user gives them.

    Raises:
        UserError: two classes of one name.

    Example:
        >>> check_names(["cat", 7])
        ('cat', '7')
    """
    names = tuple(str(name) for name in classes)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"two classes have the name '{twice[0]}'", "classes")
    return names


def check_shapes(sources: Sequence[Source]) -> None:
    """Check that the images of all sources have one shape and type.

    Raises:
        UserError: no source, or the name of the first that differs.
    """
    if not sources:
        raise UserError("no data set is given", "sources")
    for source in sources[1:]:
        if source.shape != sources[0].shape:
            raise UserError(
                f"images of {source.name} have the shape {source.shape}, those of {sources[0].name} "
                f"{sources[0].shape}: give all the same size and channels",
                "sources",
            )
        if source.train.store.dtype != sources[0].train.store.dtype:
            raise UserError(f"{source.name} and {sources[0].name} hold pixels of different types", "sources")
