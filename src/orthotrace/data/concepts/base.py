"""Concept sets."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import generator
from orthotrace.data.images import Images
from orthotrace.data.streams import Stream

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class ConceptPart:
    """Images, and which concepts each of them has.

    Attributes:
        images: with and without the concepts.
        has: (n, concepts), true where an image has a concept.
        masks: where in each image its concepts are, weights in [0, 1], (n, height, width); None for anywhere.
    """

    images: Images
    has: Tensor
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.has)

    def take(self, places: Tensor) -> ConceptPart:
        """The images at these places."""
        return ConceptPart(
            self.images.take(places), self.has[places], None if self.masks is None else self.masks[places]
        )

    def drawn(self, concept: int, size: int, draws: torch.Generator) -> Tensor:
        """Indices of at most ``size`` images of a concept, drawn without replacement."""
        places = self.has[:, concept].nonzero().flatten()
        return places[torch.randperm(len(places), generator=draws)[:size]]


@dataclass(frozen=True)
class ConceptSets:
    """Named concepts, with images for training, validation and test.

    Attributes:
        names: of the concepts; "animal" contains "animal/dog" and all its images.
        train: to align axes and train probes.
        validation: to choose settings.
        test: to evaluate; its images are in no other part.
        classes: names of the concepts that are classes of the data, which a stream may teach after its first task.

    Example:
        >>> from orthotrace.data.sources import digits
        >>> from orthotrace.data.concepts import measured
        >>> sets = measured(digits(), classes=["0", "7"])
        >>> sets.names, sets.test.has.sum(0).tolist()
        (('0', '7'), [36, 36])
    """

    names: tuple[str, ...]
    train: ConceptPart
    validation: ConceptPart
    test: ConceptPart
    classes: frozenset[str] = field(default_factory=frozenset)

    def digest(self) -> str:
        """A hash of the concepts and the images of all parts."""
        whole = hashlib.sha256(repr(self.names).encode())
        for part in map(self.part, PARTS):
            whole.update(part.images.digest().encode() + part.has.numpy().tobytes())
            if part.masks is not None:
                whole.update(part.masks.numpy().tobytes())
        return whole.hexdigest()[:16]

    def part(self, name: str) -> ConceptPart:
        """The part of a name: train, validation or test."""
        return getattr(self, name)

    def known(self, stream: Stream, task: int) -> list[str]:
        """The concepts that are available in a task, from 0: all but classes that the stream teaches later."""
        taught = {name for names in stream.names[: task + 1] for name in names}
        later = {name for names in stream.names for name in names} - taught
        return [name for name in self.names if name not in self.classes or name not in later]

    def as_in_task(self, stream: Stream, task: int) -> ConceptSets:
        """All images and masks as in a task of a stream: scaled, permuted or rotated like its images.

        Raises:
            UserError: images of another shape than those of the stream.
        """
        if tuple(self.train.images.store.shape[1:]) != stream.shape:
            raise UserError(
                f"concept images have the shape {tuple(self.train.images.store.shape[1:])}, those of the stream "
                f"{stream.shape}: give both the same size and channels",
                "sets",
            )
        return replace(self, **{name: self._part_in_task(self.part(name), stream, task) for name in PARTS})

    @staticmethod
    def _part_in_task(part: ConceptPart, stream: Stream, task: int) -> ConceptPart:
        masks = None if part.masks is None else stream.transformed(part.masks[:, None], task)[:, 0]
        return ConceptPart(stream.as_in_task(part.images, task), part.has, masks)


def checked_sets(names: Sequence[str], parts: dict[str, ConceptPart], classes: Sequence[str] = ()) -> ConceptSets:
    """Concept sets, checked: every part has images with and without every concept, the test part two with it.

    Raises:
        UserError: a concept has too few images in a part, or all images of a part have it.
    """
    for part, content in parts.items():
        least = 2 if part == "test" else 1
        for number, name in enumerate(names):
            count = int(content.has[:, number].sum())
            if count < least:
                raise UserError(
                    f"the concept '{name}' has {count or 'no'} images in the {part} part: at least {least} needed"
                )
            if count == len(content):
                raise UserError(f"all images of the {part} part have '{name}': images without it are needed")
    return ConceptSets(tuple(names), parts["train"], parts["validation"], parts["test"], frozenset(classes))


def split_off(count: int, shares: Sequence[float], *seed: int) -> list[Tensor]:
    """Indices of a random split by shares, the same for every seed of a run; the last part gets the rest.

    Example:
        >>> [len(part) for part in split_off(10, [0.2, 0.2])]
        [2, 2, 6]
    """
    order = torch.randperm(count, generator=generator(0, 7, *seed))
    stops = [round(sum(shares[: number + 1]) * count) for number in range(len(shares))]
    return [part.sort().values for part in order.tensor_split(stops)]
