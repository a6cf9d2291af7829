import pytest
import torch

from orthotrace.data.images import Images, Scaling

STORE = torch.arange(24, dtype=torch.uint8).view(6, 1, 2, 2)
PART = Images(STORE, torch.tensor([0, 1, 2, 0, 1, 2]), scaling=Scaling((4.0,), (2.0,)))


def test_parts_share_their_store_and_compose():
    some = PART.take(torch.tensor([5, 3, 1])).take(torch.tensor([2, 0]))
    assert some.store is STORE and some.labels.tolist() == [1, 2]
    assert torch.equal(some.images, STORE[[1, 5]])
    assert torch.equal(some.inputs(), (STORE[[1, 5]].float() - 4) / 2)
    assert torch.equal(some.inputs(torch.tensor([1])), (STORE[[5]].float() - 4) / 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_have_the_type_asked_for_and_are_no_view_of_the_store(dtype):
    inputs = PART.inputs(like=torch.zeros((), dtype=dtype))
    assert inputs.dtype == dtype
    floating = Images(torch.ones(2, 1, 1, 1), torch.zeros(2))
    floating.inputs().add_(1)
    assert torch.equal(floating.store, torch.ones(2, 1, 1, 1))


def test_batches_in_order_are_all_of_it():
    pairs = list(PART.split(4, torch.zeros(())))
    assert [len(labels) for _, labels in pairs] == [4, 2]
    assert torch.equal(torch.cat([inputs for inputs, _ in pairs]), PART.inputs())


def test_scaling_is_that_of_all_stores_by_channel():
    torch.manual_seed(0)
    stores = [torch.randint(256, (count, 3, 5, 4), dtype=torch.uint8) for count in (7, 9)]
    scaling = Scaling.of(stores)
    scaled = scaling(torch.cat(stores), torch.float64)
    assert torch.allclose(scaled.mean((0, 2, 3)), torch.zeros(3).double(), atol=1e-12)
    assert torch.allclose(scaled.std((0, 2, 3), correction=0), torch.ones(3).double(), atol=1e-12)
    constant = Scaling.of([torch.full((3, 1, 2, 2), 7, dtype=torch.uint8)])
    assert torch.equal(constant(torch.full((1, 1, 1, 1), 7, dtype=torch.uint8)), torch.zeros(1, 1, 1, 1))


def test_joined_parts_keep_order_labels_and_tasks():
    one, two = PART.take(torch.tensor([0, 2])), PART.take(torch.tensor([5]))
    assert Images.joined([one, two]).store is STORE
    other = Images(STORE.clone(), PART.labels, scaling=PART.scaling)
    for parts in ([one, two], [one, other]):
        whole = Images.joined(parts)
        assert torch.equal(whole.images, torch.cat([part.images for part in parts]))
        assert torch.equal(whole.labels, torch.cat([part.labels for part in parts]))
        assert whole.scaling == PART.scaling and whole.tasks is None


@pytest.mark.parametrize(
    ("images", "size", "batches"),
    [(7, 3, [3, 4]), (8, 3, [3, 3, 2]), (6, 3, [3, 3]), (1, 3, [1]), (3, 1, [1, 1, 1]), (3, 2, [3]), (2, 5, [2])],
)
def test_a_last_batch_of_one_is_joined_to_the_one_before(images, size, batches):
    part = Images(torch.arange(images, dtype=torch.float32)[:, None], torch.arange(images))
    found = list(part.split(size, torch.zeros(())))
    assert [len(labels) for _, labels in found] == batches
    assert torch.equal(torch.cat([inputs for inputs, _ in found]), part.inputs())
    assert torch.equal(torch.cat([labels for _, labels in found]), part.labels)
