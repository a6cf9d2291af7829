import pytest
import torch
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.models.mlp import MLP


def test_layers_and_initial_weights():
    torch.manual_seed(0)
    model = MLP([1, 8, 8], 10)
    assert [name for name, _ in model.named_children()] == ["flatten", "fc1", "relu1", "fc2", "relu2", "head"]
    assert sum(value.numel() for value in model.parameters()) == 64 * 256 + 256 + 256 * 256 + 256 + 256 * 10 + 10
    assert float(model.fc2.weight.detach().std()) == pytest.approx((2 / 256) ** 0.5, rel=0.02)
    assert not model.fc1.bias.any()


@pytest.mark.parametrize(
    ("name", "kind", "gain"), [("relu", nn.ReLU, 2**0.5), ("sigmoid", nn.Sigmoid, 1), ("tanh", nn.Tanh, 5 / 3)]
)
def test_nonlinearities(name, kind, gain):
    torch.manual_seed(0)
    model = MLP([256], 10, nonlinearity=name)
    assert [one for one, of in model.named_modules() if isinstance(of, kind)] == [f"{name}1", f"{name}2"]
    assert float(model.fc2.weight.detach().std()) == pytest.approx(gain / 16, rel=0.02)
    inputs, act = torch.randn(3, 256), kind()
    assert torch.equal(model(inputs), model.head(act(model.fc2(act(model.fc1(inputs))))))


def test_without_biases_and_hidden_layers():
    model = MLP([5], 3, hidden=[], bias=False)
    assert model(torch.zeros(2, 5)).shape == (2, 3)
    assert len(list(model.parameters())) == 1


@pytest.mark.parametrize(
    "options", [{"hidden": [0]}, {"hidden": ["a"]}, {"classes": 0}, {"bias": "maybe"}, {"nonlinearity": "step"}]
)
def test_nets_that_cannot_be(options):
    with pytest.raises(UserError):
        MLP(**({"shape": [5], "classes": 3} | options))
