"""The inputs of a task as users give them: moved to the model's device, labels left out, packed sequences whole."""

from __future__ import annotations

import pytest
import torch
from composed import StopError
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils.data import DataLoader, TensorDataset

from orthotrace.core.errors import UserError
from orthotrace.protection import Guard
from orthotrace.protection.inputs import arguments, inputs_of
from orthotrace.subspace import SvdSubspace

X, Y = torch.rand(6, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6)


def test_batches_of_a_loader_lose_their_labels():
    found = list(arguments([DataLoader(TensorDataset(X, Y), batch_size=4)], nn.Linear(4, 2)))
    assert [len(one) for one in found] == [1, 1]
    assert torch.equal(torch.cat([one for (one,) in found]), X)


def test_a_tuple_is_the_arguments_and_a_packed_sequence_is_one():
    packed = pack_sequence([X[:3], X[:2]])
    found = list(arguments([(X, Y), packed, [packed]], nn.Linear(4, 2)))
    assert [len(one) for one in found] == [2, 1, 1]
    assert all(isinstance(one[0], PackedSequence) for one in found[1:])


def test_inputs_are_moved_to_the_models_device_whatever_they_are_in():
    """The device that holds no numbers stands for a GPU."""
    model = nn.Linear(4, 2, device="meta")
    packed = pack_sequence([X[:3], X[:2]])
    ((both, other), (whole,)) = arguments([({"x": X, "name": "a"}, [Y]), packed], model)
    assert both["x"].device.type == other[0].device.type == whole.data.device.type == "meta"
    assert both["name"] == "a"


def test_a_batch_that_was_placed_by_hand_stays_as_it_is():
    model, x, lengths = nn.Linear(4, 2, device="meta"), torch.empty(6, 4, device="meta"), torch.full((6,), 4)
    ((found, still),) = arguments([(x, lengths)], model)
    assert found is x and still is lengths
    packed = pack_sequence([X[:3], X[:2]]).to("meta")
    ((found, still),) = arguments([(packed, lengths)], model)
    assert found is packed and still is lengths


def test_a_model_on_several_devices_moves_its_inputs_itself():
    model = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 2, device="meta"))
    ((found,),) = arguments([X], model)
    assert found is X


@pytest.mark.parametrize("batch", ["text", [], {"x": X}, ()])
def test_a_batch_without_inputs_is_refused(batch):
    with pytest.raises(UserError, match="a loader of batches"):
        inputs_of(batch)


def test_a_task_is_remembered_where_the_model_is():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 2, device="meta")

        def forward(self, x):
            raise StopError(x.device.type)

    model = Model()
    guard = Guard(model, SvdSubspace, rows=1, verify=False)
    # As of a guard in its first task, of whose tensors none is read.
    guard.started = torch.ones((), dtype=torch.int64)
    guard._follow = lambda: None
    with pytest.raises(StopError, match="meta"):
        guard.remember(model, [[X, Y]])
