import dataclasses

import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.data.sources import arrays, digits
from orthotrace.data.streams import Sequence

DRAWS = torch.Generator().manual_seed(0)


def source(name: str, low: int, classes: str, side: int = 4):
    images = torch.randint(low, low + 50, (40, 1, side, side), generator=DRAWS, dtype=torch.uint8)
    labels = torch.arange(40) % len(classes)
    return arrays(images, labels, images, labels, classes=list(classes), name=name)


DARK, BRIGHT, OTHER = source("dark", 0, "ab"), source("bright", 200, "abc"), source("other", 90, "ab")


def test_each_task_is_a_data_set_with_outputs_of_its_own():
    stream = Sequence((DARK, BRIGHT), scenario="class")
    assert stream.tasks == 2 and stream.active.by_task == (range(0, 2), range(2, 5))
    assert stream.classes == ("a (task 1)", "b (task 1)", "a (task 2)", "b (task 2)", "c (task 2)")
    assert torch.equal(stream.test(1).images, BRIGHT.test.images)


def test_one_scaling_for_all_so_that_it_does_not_tell_the_task():
    stream = Sequence((DARK, BRIGHT), scenario="class")
    dark, bright = stream.test(0), stream.test(1)
    assert dark.scaling == bright.scaling != DARK.train.scaling
    assert float(dark.inputs().mean()) < -0.9 and float(bright.inputs().mean()) > 0.9


def test_domains_need_the_same_classes():
    assert Sequence((DARK, OTHER), scenario="domain").classes == ("a", "b")
    with pytest.raises(UserError, match="scenario: dark, bright have different classes"):
        Sequence((DARK, BRIGHT), scenario="domain")
    swapped = dataclasses.replace(OTHER, classes=("b", "a"))
    with pytest.raises(UserError, match="have different classes"):
        Sequence((DARK, swapped), scenario="domain")


def test_order_and_number():
    assert [one.name for one in Sequence((DARK, OTHER, BRIGHT), tasks=2, scenario="task").sources] == ["dark", "other"]
    orders = {
        tuple(one.name for one in Sequence((DARK, OTHER, BRIGHT), order="seed", seed=seed, scenario="task").sources)
        for seed in range(9)
    }
    assert len(orders) > 2
    assert Sequence(digits(), scenario="task").tasks == 1
    with pytest.raises(UserError, match="tasks: 4 tasks, but there are only 3 data sets"):
        Sequence((DARK, OTHER, BRIGHT), tasks=4, scenario="task")
    with pytest.raises(UserError, match="images of big have the shape"):
        Sequence((DARK, source("big", 0, "ab", 6)), scenario="task")
