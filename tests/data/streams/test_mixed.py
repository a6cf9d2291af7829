import dataclasses

import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.data.images import Scaling
from orthotrace.data.sources import arrays
from orthotrace.data.streams import Mixed, Split

DRAWS = torch.Generator().manual_seed(0)


def source(name: str, low: int, classes: str, side: int = 4):
    images = torch.randint(low, low + 50, (60, 1, side, side), generator=DRAWS, dtype=torch.uint8)
    labels = torch.arange(60) % len(classes)
    return arrays(images, labels, images, labels, classes=list(classes), name=name)


DARK, BRIGHT = source("dark", 0, "abcd"), source("bright", 200, "bef")


def test_a_task_has_images_of_several_data_sets_each_with_its_own_class():
    stream = Mixed(
        (DARK, BRIGHT),
        tasks=2,
        classes_per_task=[3, 4],
        class_order=["a", "e", "b (bright)", "f", "c", "d", "b (dark)"],
        scenario="class",
    )
    assert stream.names == (("a", "e", "b (bright)"), ("f", "c", "d", "b (dark)"))
    sources = {"a": (DARK, 0), "e": (BRIGHT, 1), "b (bright)": (BRIGHT, 0), "f": (BRIGHT, 2)}
    for number, names in enumerate((("a", "e", "b (bright)"), ("f",))):
        for name in names:
            label = stream.classes.index(name)
            of, there = sources[name]
            part = stream.test(number)
            assert torch.equal(part.images[part.labels == label], of.test.images[of.test.labels == there])


def test_the_seed_draws_which_classes_are_together():
    drawn = {Mixed((DARK, BRIGHT), classes_per_task=2, tasks=3, seed=seed).names for seed in range(9)}
    assert len(drawn) > 6
    mixed = [names for names in next(iter(drawn)) if len(names) == 2]
    assert len(mixed) == 3


def test_one_scaling_for_all():
    stream = Mixed((DARK, BRIGHT), tasks=7, class_order="natural", scenario="class")
    assert stream.scaling == Scaling.of([DARK.train.images, BRIGHT.train.images])
    assert float(stream.test(0).inputs().mean()) < -0.5 and float(stream.test(6).inputs().mean()) > 0.5


def test_one_data_set_is_split():
    mixed, split = (kind(DARK, tasks=2, scenario="class") for kind in (Mixed, Split))
    assert mixed.names == split.names
    assert torch.equal(mixed.task(1).train.images, split.task(1).train.images)


def test_what_cannot_be_mixed_is_refused():
    with pytest.raises(UserError, match="images of big have the shape"):
        Mixed((DARK, source("big", 0, "ab", 6)), tasks=2)
    with pytest.raises(UserError, match=r"classes: two classes have the name 'b \(dark\)'"):
        Mixed((DARK, dataclasses.replace(BRIGHT, name="dark")), tasks=7)

    parts = (dataclasses.replace(part, labels=torch.rand(60, 1)) for part in (DARK.train, DARK.test))
    numbers = dataclasses.replace(DARK, name="ages", **dict(zip(("train", "test"), parts, strict=True)))
    with pytest.raises(UserError, match="source: ages is a regression, which has no classes to mix"):
        Mixed((numbers,), tasks=2)
