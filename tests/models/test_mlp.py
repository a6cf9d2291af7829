import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.models.mlp import MLP


def test_layers_and_initial_weights():
    torch.manual_seed(0)
    model = MLP([1, 8, 8], 10)
    assert [name for name, _ in model.named_children()] == ["flatten", "fc1", "relu1", "fc2", "relu2", "head"]
    assert sum(value.numel() for value in model.parameters()) == 64 * 256 + 256 + 256 * 256 + 256 + 256 * 10 + 10
    assert float(model.fc2.weight.detach().std()) == pytest.approx((2 / 256) ** 0.5, rel=0.02)
    assert not model.fc1.bias.any()


def test_without_biases_and_hidden_layers():
    model = MLP([5], 3, hidden=[], bias=False)
    assert model(torch.zeros(2, 5)).shape == (2, 3)
    assert len(list(model.parameters())) == 1


@pytest.mark.parametrize("options", [{"hidden": [0]}, {"hidden": ["a"]}, {"classes": 0}, {"bias": "maybe"}])
def test_nets_that_cannot_be(options):
    with pytest.raises(UserError):
        MLP(**({"shape": [5], "classes": 3} | options))
