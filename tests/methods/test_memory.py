from __future__ import annotations

import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import Seeds
from orthotrace.data.images import Images
from orthotrace.data.sources import digits
from orthotrace.data.streams import Split
from orthotrace.methods.memory import Memory, MemoryOptions
from orthotrace.methods.replay import ExperienceReplay
from orthotrace.models.mlp import MLP


def part(count: int, classes: int, first: int = 0) -> Images:
    pixels = torch.arange(first, first + count, dtype=torch.int64).view(-1, 1, 1, 1)
    return Images(pixels.to(torch.float64), torch.arange(count) % classes)


def memory(size: int, sampling: str = "reservoir", seed: int = 0, outputs: int = 0) -> Memory:
    return Memory(MemoryOptions(size=size, sampling=sampling), (1, 1, 1), torch.float64, seed, outputs)


def fill(made: Memory, of: Images, task: int, batch: int = 7) -> None:
    for index in torch.randperm(len(of), generator=torch.Generator().manual_seed(1)).split(batch):
        made.offer(of, index, task)


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_a_reservoir_is_a_uniform_sample_of_all_that_was_seen(batch):
    """Every image stays with probability size / seen, whichever task it is of."""
    counts = torch.zeros(60)
    for seed in range(400 if batch > 1 else 60):
        made = memory(12, seed=seed)
        fill(made, part(40, 2), 0, batch)
        fill(made, part(20, 2, first=40), 1, batch)
        kept = made.pixels.flatten().long()
        assert len(kept.unique()) == 12
        counts[kept] += 1
    expected = (400 if batch > 1 else 60) * 12 / 60
    chi = float(((counts - expected) ** 2 / (expected * (1 - 12 / 60))).sum())
    assert chi < 100  # 60 cells; 99.9 % quantile of chi-square is 99.6


def test_order_and_batches_do_not_matter():
    one, other = memory(9), memory(9)
    fill(one, part(50, 5), 0, batch=3)
    fill(other, part(50, 5), 0, batch=50)
    assert torch.equal(one.pixels.flatten().sort().values, other.pixels.flatten().sort().values)


def test_labels_and_tasks_belong_to_their_images():
    made = memory(10)
    fill(made, part(40, 4), 0)
    fill(made, part(40, 4, first=40), 3)
    values = made.pixels.flatten().long()
    assert torch.equal(made.labels, values % 4) and torch.equal(made.tasks, torch.where(values < 40, 0, 3))


def test_a_balanced_memory_has_as_many_of_each_class():
    made = memory(12, "balanced")
    fill(made, Images(torch.zeros(90, 1, 1, 1).double(), torch.tensor([0] * 80 + [1] * 10)), 0)
    assert torch.bincount(made.labels).tolist() == [6, 6]
    fill(made, Images(torch.zeros(40, 1, 1, 1).double(), torch.tensor([2, 3]).repeat(20)), 1)
    assert torch.bincount(made.labels).tolist() == [3, 3, 3, 3]
    # Where a class has too few, the others take its place.
    rare = memory(8, "balanced")
    fill(rare, Images(torch.zeros(21, 1, 1, 1).double(), torch.tensor([0] * 20 + [1])), 0)
    assert torch.bincount(rare.labels).tolist() == [7, 1]


def test_what_is_drawn_is_there_and_drawn_once():
    made = memory(20)
    assert made.draw(5) is None and len(made) == 0
    fill(made, part(8, 2), 0)
    assert len(made) == 8
    drawn = made.draw(5)
    assert len(drawn.labels) == 5 and len(drawn.pixels.flatten().unique()) == 5
    assert len(made.draw(100).labels) == 8
    few = Memory(MemoryOptions(size=20, batch_size=3), (1, 1, 1), torch.float64, 0)
    fill(few, part(8, 2), 0)
    assert len(few.draw(100).labels) == 3


def test_logits_come_with_their_images_and_are_refreshed():
    made, of = memory(6, outputs=2), part(30, 2)
    logits = torch.stack([torch.arange(30.0), -torch.arange(30.0)], dim=1)
    made.offer(of, torch.arange(30), 0, logits)
    assert torch.equal(made.logits[:, 0].double(), made.pixels.flatten())
    made.refresh(of, torch.arange(0, 30, 2), 0, 100 + logits[::2])
    even = made.pixels.flatten() % 2 == 0
    assert torch.equal(made.logits[:, 0].double(), made.pixels.flatten() + 100 * even)


def test_pixels_are_stored_as_they_are_and_survive_a_checkpoint():
    made = Memory(MemoryOptions(size=4), (1, 2, 2), torch.uint8, 0)
    made.offer(Images(torch.randint(256, (9, 1, 2, 2), dtype=torch.uint8), torch.arange(9)), torch.arange(9), 0)
    assert made.pixels.dtype == torch.uint8
    fresh = Memory(MemoryOptions(size=4), (1, 2, 2), torch.uint8, 0)
    fresh.load_state_dict(made.state_dict())
    assert torch.equal(fresh.pixels, made.pixels) and len(fresh) == 4


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"size": -1}, "memory.size: input should be greater than or equal to 0 (got -1)"),
        ({"size": 0}, "memory.size: replay needs a memory"),
        ({"size": 9, "sampling": "best"}, "memory.sampling: input should be 'reservoir' or 'balanced'"),
        ({"size": 9, "batch_size": 0}, "memory.batch_size: "),
        ({"size": 9, "sizes": 0}, "memory.sizes: no such option"),
    ],
)
def test_memories_that_cannot_be(options, line):
    with pytest.raises(UserError) as error:
        ExperienceReplay(memory=options)
    assert str(error.value).startswith(line)


def test_an_image_that_comes_again_is_in_it_once():
    made, of = memory(50), part(60, 2)
    for _ in range(3):
        fill(made, of, 0)
    assert len(made) == 50 and len(made.pixels.flatten().unique()) == 50
    few = memory(50)
    for _ in range(3):
        fill(few, part(20, 2), 0)
    assert len(few) == 20


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_answers_are_kept_as_the_network_gives_them(kind):
    stream = Split(digits(), tasks=2)
    model = MLP(stream.shape, 10, hidden=[4]).to(kind)
    made = Memory.of(MemoryOptions(size=10), model, Seeds(), stream, keeps_logits=True)
    assert made is not None
    of, places = stream.task(0).train, torch.arange(10)
    logits = model(of.inputs(places, torch.zeros((), dtype=kind))).detach()
    made.offer(of, places, 0, logits)
    assert made.logits.dtype == kind and sorted(made.logits[:, 0].tolist()) == sorted(logits[:, 0].tolist())
