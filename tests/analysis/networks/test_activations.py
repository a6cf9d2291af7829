import pytest
import torch
from torch import nn

from orthotrace.analysis.networks.activations import activations, readable_layers
from orthotrace.core.errors import UserError
from orthotrace.models.mlp import MLP


def test_layers_that_are_read():
    assert readable_layers(MLP([4], 2, hidden=[3, 3])) == ["relu1", "relu2", "head"]
    assert readable_layers(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))) == ["0", "1"]


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_activations_are_those_of_the_layer(batch_size):
    torch.manual_seed(0)
    model = MLP([4], 2, hidden=[3]).double().eval()
    images = torch.rand(10, 4, dtype=torch.float64)
    found = dict(activations(model, images, ["relu1", "head"], batch_size))
    with torch.no_grad():
        assert torch.allclose(found["relu1"], model.relu1(model.fc1(images)))
        assert torch.allclose(found["head"], model(images))


def test_an_in_place_operation_does_not_reach_them():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True)).eval()
    images = torch.randn(20, 4)
    (before,) = (values for _, values in activations(model, images, ["0"]))
    with torch.no_grad():
        assert torch.equal(before, model[0](images)) and bool((before < 0).any())


def test_images_of_another_type_are_taken_in_that_of_the_network():
    ((_, values),) = activations(MLP([4], 2, hidden=[3]).double().eval(), torch.rand(5, 4), ["head"])
    assert values.dtype == torch.float64


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.unused = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x):
        return self.layer(self.layer(x))


@pytest.mark.parametrize(
    ("layer", "line"),
    [("none", "there is no layer 'none'; there are: layer, unused"), ("layer", "2 times"), ("unused", "0 times")],
)
def test_layers_that_cannot_be_read(layer, line):
    with pytest.raises(UserError, match=line):
        list(activations(Twice().eval(), torch.rand(5, 2), [layer]))
