import dataclasses

import pytest
import torch

from orthotrace.data.augment import Augmentation
from orthotrace.data.batches import Batches
from orthotrace.data.images import Images, Scaling

PART = Images(torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1), torch.arange(10), scaling=Scaling(std=(2.0,)))


def seen(batches: Batches) -> list[list[int]]:
    return [batch.labels.tolist() for batch in batches]


def test_batches_are_every_image_once_in_an_order_of_place_alone():
    batches = Batches(PART, 4, seed=0, task=0)
    first = seen(batches)
    assert [len(labels) for labels in first] == [4, 4, 2]
    assert sorted(label for labels in first for label in labels) == list(range(10))
    assert seen(batches) == first
    batches.set_epoch(1)
    assert seen(batches) != first
    assert seen(Batches(PART, 4, seed=0, task=1)) != first
    for batch in batches:
        assert torch.equal(batch.inputs.flatten(), batch.labels / 2)
        assert torch.equal(PART.labels[batch.places], batch.labels)


def test_draws_of_the_augmentation_have_their_own_seed():
    noise = Augmentation(noise=1.0)
    one, same, other = (Batches(PART, 4, 0, 0, noise, seed) for seed in (0, 0, 1))
    plain = Batches(PART, 4, 0, 0)
    for a, b, c, d in zip(one, same, other, plain, strict=True):
        assert torch.equal(a.inputs, b.inputs) and not torch.equal(a.inputs, c.inputs)
        assert torch.equal(a.labels, c.labels) and torch.equal(a.labels, d.labels)
    one.set_epoch(1)
    assert not torch.equal(
        next(iter(one)).inputs - next(iter(one)).labels.view(-1, 1, 1, 1) / 2, next(iter(same)).inputs
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_images_on_disk_give_the_same_batches_by_workers(workers):
    mapped = dataclasses.replace(PART, mapped=True)
    ours = Batches(mapped, 3, seed=1, task=0, workers=workers)
    for a, b in zip(ours, Batches(PART, 3, seed=1, task=0), strict=True):
        assert torch.equal(a.inputs, b.inputs) and torch.equal(a.labels, b.labels)


def test_inputs_have_the_type_of_the_network_and_tasks_come_with_their_images():
    part = dataclasses.replace(PART, tasks=torch.arange(10) // 5)
    batch = next(iter(Batches(part, 6, 0, 0, like=torch.zeros((), dtype=torch.float64))))
    assert batch.inputs.dtype == torch.float64
    assert torch.equal(batch.tasks, batch.labels // 5)


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [(10, 4, [4, 4, 2]), (9, 4, [4, 5]), (5, 4, [5]), (4, 4, [4]), (1, 4, [1]), (3, 1, [1, 1, 1]), (8, 4, [4, 4])],
)
def test_no_batch_but_a_lone_one_is_of_one_image(count, size, expected):
    batches = Batches(PART.take(torch.arange(count)), size, 0, 0)
    assert [len(batch.labels) for batch in batches] == expected and len(batches) == len(expected)
    assert sorted(label for labels in seen(batches) for label in labels) == list(range(count))
