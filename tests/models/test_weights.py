"""What fits a network is taken; what does not is one line, and nothing is changed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.models.convnet import ConvNet
from orthotrace.models.mlp import MLP
from orthotrace.models.weights import load_weights


def net(classes: int = 10, hidden: int = 4) -> nn.Module:
    return MLP((1, 8, 8), classes, hidden=[hidden])


def without(weights: dict, name: str) -> dict:
    return {key: value for key, value in weights.items() if key != name}


MISFITS = {
    "missing": (lambda own: without(own, "fc1.bias"), r"has no 'fc1.bias'$"),
    "unexpected": (lambda own: own | {"fc2.weight": torch.ones(1)}, r"has 'fc2.weight', which the network has not$"),
    "both": (lambda own: without(own, "fc1.bias") | {"b": torch.ones(1)}, "has no 'fc1.bias', and has 'b', which"),
    "width": (lambda own: net(10, 5).state_dict(), r"'fc1.weight' is \(5, 64\) there, and \(4, 64\) in the network"),
    # The readout alone may differ.
    "width and outputs": (lambda own: net(6, 5).state_dict(), r"'fc1.weight' is \(5, 64\) there"),
    "inputs of the readout": (lambda own: own | {"head.weight": torch.ones(10, 3)}, r"'head.weight' is \(10, 3\) there"),
    "nan": (lambda own: own | {"fc1.bias": torch.full((4,), torch.nan)}, "'fc1.bias' has values that are not finite"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISFITS)
def test_what_does_not_fit_is_one_line_and_changes_nothing(case):
    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    make, said = MISFITS[case]
    with pytest.raises(UserError, match=said):
        load_weights(model, make(net().state_dict()), 10)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("make", [net, lambda classes: ConvNet((1, 8, 8), classes, channels=[3])])
def test_a_readout_for_other_classes_starts_anew_and_the_body_is_taken(make):
    model, other = make(10), make(6)
    drawn = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.warns(UserWarning, match=r"readout \(head.weight, head.bias\) has 6 outputs there and 10 here"):
        load_weights(model, other.state_dict(), 10)
    for name, value in model.state_dict().items():
        expected = drawn[name] if name.startswith("head.") else other.state_dict()[name]
        assert torch.equal(value, expected), name


@pytest.mark.parametrize("make", [net, lambda: ConvNet((1, 8, 8), 10, channels=[3])])
def test_weights_and_statistics_are_taken(make):
    model, other = make(), make()
    for value in other.buffers():
        value.copy_(value + 3)
    load_weights(model, other.state_dict(), 10)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())
