"""Images from elsewhere, transformed as in a task of a stream."""

import dataclasses

import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.data.concepts import measured
from orthotrace.data.images import Images
from orthotrace.data.sources import Source, digits
from orthotrace.data.streams import Permuted, Rotated, Split

DIGITS = digits()


def colours() -> Source:
    draws = torch.Generator().manual_seed(0)
    parts = [
        Images(torch.randint(256, (8, 3, 6, 6), generator=draws, dtype=torch.uint8), torch.arange(8) % 2)
        for _ in range(2)
    ]
    return Source("colours", *parts, ("a", "b"))


@pytest.mark.parametrize("of", [DIGITS, colours()], ids=["digits", "colours"])
@pytest.mark.parametrize("make", [Permuted, Rotated, lambda of, tasks: Rotated(of, tasks=tasks, angles=[0, 33, -120, 180])])  # fmt: skip
@pytest.mark.parametrize("task", [0, 1, 3, 5])
def test_the_source_in_a_task_is_what_the_stream_makes_of_it(of, make, task):
    """Bit for bit, also where tasks come again."""
    stream = make(of, tasks=4)
    stream.tasks = 8
    found, expected = stream.as_in_task(of.test, task), stream.test(task)
    assert torch.equal(found.inputs(), expected.inputs()) and found.store.dtype == expected.store.dtype
    # A part over a shared store too.
    places = torch.tensor([5, 2])
    assert torch.equal(stream.as_in_task(of.test.take(places), task).inputs(), expected.inputs(places))


def test_a_stream_of_classes_transforms_nothing_and_scales():
    stream = Split(DIGITS, tasks=5)
    found = stream.as_in_task(DIGITS.test, 3)
    assert torch.equal(found.images, DIGITS.test.images)
    part = stream.test(3)
    same = (found.images[:, None] == part.images[:1]).flatten(2).all(2).flatten().nonzero()[0]
    assert torch.equal(found.inputs(same), part.inputs(torch.tensor([0])))


def test_the_scaling_is_that_of_the_stream():
    stream = Permuted(colours().scaled(dataclasses.replace(DIGITS.train.scaling, mean=(3.0,), std=(5.0,))), tasks=2)
    part = colours().test
    assert torch.allclose(stream.as_in_task(part, 0).inputs(), (part.images.float() - 3) / 5)


@pytest.mark.parametrize("make", [Permuted, Rotated])
def test_masks_move_with_the_images(make):
    """A mask that is the image itself is what the image becomes."""
    stream = make(DIGITS, tasks=3)
    sets = measured(DIGITS, attributes=["thick", "thin"])
    masked = {
        part: dataclasses.replace(sets.part(part), masks=sets.part(part).images.images[:, 0].float())
        for part in ("train", "validation", "test")
    }
    shown = dataclasses.replace(sets, **masked).as_in_task(stream, 2)
    for part in masked:
        moved = shown.part(part)
        assert moved.masks is not None
        # Pixels are whole numbers, masks are not.
        assert torch.allclose(moved.masks, moved.images.images[:, 0].float(), atol=0.5001)
        assert not torch.allclose(moved.masks, masked[part].masks, atol=0.5001)


def test_where_colours_are_mixed_a_place_is_what_it_comes_from():
    stream = Permuted(colours(), tasks=2, seed=1)
    masks = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    moved = stream.transformed(masks, 1)
    assert moved.shape == masks.shape and torch.equal(stream.transformed(masks, 0), masks)
    assert torch.allclose(moved, stream.transformed(masks.expand(-1, 3, -1, -1), 1).mean(1, keepdim=True))
    assert torch.allclose(moved.mean((1, 2, 3)), masks.mean((1, 2, 3)))


def test_images_of_another_shape_are_refused():
    sets = measured(DIGITS, attributes=["thick", "thin"])
    with pytest.raises(
        UserError, match=r"sets: concept images have the shape \(1, 8, 8\), those of the stream \(3, 6, 6\)"
    ):
        sets.as_in_task(Permuted(colours(), tasks=2), 0)


def test_classes_are_looked_at_when_they_are_taught():
    stream = Split(DIGITS, tasks=5)
    sets = measured(DIGITS, attributes=["thick"], classes="all")
    for task in range(5):
        taught = {name for names in stream.names[: task + 1] for name in names}
        assert sets.known(stream, task) == ["thick", *(name for name in DIGITS.classes if name in taught)]
    assert sets.known(Permuted(DIGITS, tasks=2), 0) == ["thick", *DIGITS.classes]
