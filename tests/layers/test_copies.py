"""Copies of a model go their own ways, whatever is taken off one of them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.optim.swa_utils import AveragedModel

from orthotrace.layers import OWN, ConceptWhitening, deviations, fold, orthogonalise
from orthotrace.protection import Guard, Taps
from orthotrace.subspace import SvdSubspace

INPUTS = torch.randn(6, 9, generator=torch.Generator().manual_seed(1))
MORE = torch.randn(30, 9, generator=torch.Generator().manual_seed(2))


def net(middle: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(9, 6), middle or nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 2))


def of_kind(kind: str, **options: object) -> nn.Module:
    model = net()
    orthogonalise(model, kind, **options)
    return model


def registered() -> nn.Module:
    model = net()
    parametrize.register_parametrization(model[0], "weight", OWN(model[0].weight.shape))
    return model


def beside_another() -> nn.Module:
    """The bias of a layer has a parametrisation of the user's own."""
    model = net()
    parametrize.register_parametrization(model[0], "bias", nn.Softplus())
    model = copy.deepcopy(model)
    orthogonalise(model, "own")
    return model


def whitened(rotation: str) -> nn.Module:
    return net(ConceptWhitening(6, ["a", "b"], rotation=rotation))


MADE = {
    **{kind: lambda kind=kind: of_kind(kind) for kind in ("own", "oni", "stiefel")},
    **{f"{kind}, scaled": lambda kind=kind: of_kind(kind, learn_scale=True) for kind in ("own", "oni", "stiefel")},
    "registered": registered, "beside another": beside_another,
    "concepts, trained": lambda: whitened("trained"), "concepts, aligned": lambda: whitened("aligned"),
}  # fmt: skip
COPIES = {
    "deep copy": copy.deepcopy, "copy of a copy": lambda model: copy.deepcopy(copy.deepcopy(model)),
    "average": lambda model: AveragedModel(model).module,
}  # fmt: skip


def taken_off(model: nn.Module) -> None:
    """Every parametrisation: by fold, and what it leaves by torch."""
    fold(model)
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):
                parametrize.remove_parametrizations(module, name)


@pytest.mark.parametrize("one", ["original", "copy"])
@pytest.mark.parametrize("made", COPIES)
@pytest.mark.parametrize("name", MADE)
def test_what_is_folded_leaves_its_copies_as_they_were(name, made, one):
    model = MADE[name]().eval()
    other = COPIES[made](model)
    folded, left = (model, other) if one == "original" else (other, model)
    expected, apart = left(INPUTS), deviations(left)
    computed = [type(module) for module in left.modules()]
    taken_off(folded)
    assert torch.allclose(folded(INPUTS), expected, atol=1e-5) and not deviations(folded)
    assert left(INPUTS).equal(expected) and deviations(left) == apart
    assert [type(module) for module in left.modules()] == computed
    # It is still trained, and still orthogonal.
    left.train()
    optimizer = torch.optim.SGD(left.parameters(), 0.1)
    left(MORE).square().mean().backward()
    optimizer.step()
    assert all(
        abs(deviations(left)[layer] - value) < (0.2 if "oni" in name else 1e-4) for layer, value in apart.items()
    )
    left.eval()
    assert not left(INPUTS).equal(expected)
    taken_off(left)
    assert not any(parametrize.is_parametrized(module) for both in (folded, left) for module in both.modules())


def test_a_layer_is_made_orthogonal_and_its_copy_is_not():
    first = parametrize.register_parametrization(nn.Linear(9, 6), "bias", nn.Softplus())
    second = copy.deepcopy(first)
    expected = first(INPUTS)
    orthogonalise(nn.Sequential(second, nn.Linear(6, 2)), "own")
    assert first(INPUTS).equal(expected) and not parametrize.is_parametrized(first, "weight")


@pytest.mark.parametrize("name", ["batch norm", "concepts, trained", "concepts, aligned"])
def test_a_copy_of_a_guarded_model_is_not_guarded(name):
    model = net(nn.BatchNorm1d(6)) if name == "batch norm" else MADE[name]()
    guard = Guard(model, SvdSubspace, rows=1)
    model(MORE)
    guard.remember(model, MORE)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with guard.protecting(optimizer):
        other = copy.deepcopy(model).train()
        model.train()
        before = copy.deepcopy(model[1].state_dict())
        other(MORE + 1)
        assert other[1].training and not model[1].training
        if name == "concepts, aligned":
            other[1].align({"a": other[0](MORE)})
        model(MORE + 1)
        assert all(value.equal(before[key]) for key, value in model[1].state_dict().items())
    assert model.train()[1].training and "train" not in vars(other[1])


def test_a_copy_is_not_watched():
    model = net()
    taps = Taps({"0": model[0]})
    other = copy.deepcopy(model)
    with taps.watching() as inputs:
        model(INPUTS)
        other(MORE)
    assert [rows.shape[1] for rows in inputs["0"]] == [6]
