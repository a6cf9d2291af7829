import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted

SOURCE = digits()


def test_parts_have_their_sizes_and_share_no_image():
    task = Permuted(SOURCE).task(0)
    assert [len(part) for part in (task.train, task.validation, task.test)] == [1293, 144, 360]
    whole = torch.cat([task.train.images, task.validation.images, task.test.images]).flatten(1)
    assert len(whole.unique(dim=0)) == 1797


def test_the_first_task_is_unpermuted_and_the_others_are_the_same_images_permuted():
    stream = Permuted(SOURCE, seed=3)
    first = stream.task(0)
    assert torch.equal(first.test.images, SOURCE.test.images)
    for index in range(1, 5):
        task = stream.task(index)
        assert torch.equal(task.train.labels, first.train.labels)
        assert not torch.equal(task.train.images, first.train.images)
        ours, theirs = task.train.images.flatten(1).sort(dim=1)[0], first.train.images.flatten(1).sort(dim=1)[0]
        assert torch.equal(ours, theirs)
        # One permutation for all parts.
        assert torch.equal(task.test.images, stream.test(index).images)
        found = (task.train.images.flatten(1).T[:, None] == first.train.images.flatten(1).T).all(dim=2)
        for pixel, sources in enumerate(found):
            place = int(sources.nonzero()[0])
            if int(sources.sum()) == 1:
                assert torch.equal(task.test.images.flatten(1)[:, pixel], first.test.images.flatten(1)[:, place])


def test_the_seed_decides_and_nothing_else_is_drawn():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, same, other = Permuted(SOURCE, seed=1), Permuted(SOURCE, seed=1), Permuted(SOURCE, seed=2)
    assert torch.equal(one.task(2).train.images, same.task(2).train.images)
    assert not torch.equal(one.task(2).test.images, other.task(2).test.images)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"tasks": 0}, "tasks: input should be greater than or equal to 1"),
        ({"tasks": -2}, "tasks"),
        ({"validation": 1.0}, "validation: input should be less than 1"),
        ({"validation": 0.9999}, "leaves none for training"),
        ({"source": 3}, "source"),
    ],
)
def test_streams_that_cannot_be(options, line):
    with pytest.raises(UserError) as error:
        Permuted(**({"source": SOURCE} | options))
    assert line in str(error.value)
