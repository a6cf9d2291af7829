import pytest
import torch
from tasks import context_of

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import Seeds
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted
from orthotrace.methods.gpm import GPM
from orthotrace.models.mlp import MLP

TRAIN = digits().train


def basis(samples: int, seed: int = 0) -> torch.Tensor:
    method = GPM(energy=0.95, samples=samples)
    torch.manual_seed(0)
    model = MLP((1, 8, 8), 10, hidden=[8]).eval()
    seeds, stream = Seeds(method=seed), Permuted(digits())
    method.setup(model, seeds, stream)
    method.end_task(context_of(stream, 0, TRAIN, seeds))
    return method.guard.subspaces["fc1"].basis


def test_samples_are_drawn_by_the_seed_of_the_method():
    assert torch.equal(basis(50), basis(50))
    assert not torch.equal(basis(50), basis(50, seed=1))
    assert not torch.equal(basis(50), basis(60))


def test_a_task_smaller_than_the_samples_is_taken_whole():
    assert torch.equal(basis(len(TRAIN)), basis(10**6))


def test_samples_must_be_positive():
    with pytest.raises(UserError, match="samples"):
        GPM(energy=0.9, samples=0)
