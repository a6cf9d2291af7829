import pytest
import torch
from torch import nn

from orthotrace.errors import UserError
from orthotrace.protection import Taps, protectable


def test_rows_of_any_leading_shape_and_of_several_calls():
    layer = nn.Linear(4, 4)
    taps = Taps({"layer": layer})
    x = torch.rand(3, 5, 4)
    with taps.watching() as inputs:
        y = layer(layer(x))
    first, second = inputs["layer"]
    assert torch.equal(first, x.reshape(15, 4))
    assert torch.equal(second, layer(x).reshape(15, 4))
    assert not second.requires_grad and y.requires_grad


def test_nothing_is_collected_outside_and_after_an_error():
    layer = nn.Linear(2, 2)
    taps = Taps({"layer": layer})
    with taps.watching() as inputs:
        layer(torch.ones(1, 2))
    layer(torch.ones(1, 2))
    assert len(inputs["layer"]) == 1
    with pytest.raises(RuntimeError), taps.watching():
        layer(torch.ones(1, 3))
    layer(torch.ones(1, 2))
    assert len(inputs["layer"]) == 1


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


def tied() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2))
    model[2].weight = model[0].weight
    return model


UNPROTECTED = [
    (tied(), "layers '0' and '2' share a parameter"),
    (nn.Sequential(nn.Linear(2, 2)).bfloat16(), "layer '0' is torch.bfloat16"),
    (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(2, 2)), "layer '0' (Conv2d)"),
    (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), "layer '1' (BatchNorm1d)"),
    (nn.Sequential(nn.Linear(2, 2), Odd()), "parameter scale of layer '1' (Odd)"),
    (nn.Sequential(nn.Embedding(3, 2)), "layer '0' (Embedding)"),
    (nn.Sequential(nn.utils.parametrizations.orthogonal(nn.Linear(2, 2))), "would change unprotected"),
    (nn.Sequential(nn.ReLU()), "no Linear layer"),
]


@pytest.mark.parametrize(("model", "line"), UNPROTECTED, ids=[line for _, line in UNPROTECTED])
def test_what_would_change_unprotected_is_refused_by_name(model, line):
    with pytest.raises(UserError) as error:
        protectable(model)
    assert line in str(error.value)


def test_frozen_parameters_need_no_protection():
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2).requires_grad_(False))
    assert list(protectable(model)) == ["0"]


def test_statistics_that_would_drift_are_refused():
    # Frozen or without parameters: in training they change all the same.
    for norm in (nn.BatchNorm1d(2).requires_grad_(False), nn.BatchNorm1d(2, affine=False)):
        with pytest.raises(UserError, match=r"the statistics of layer '1' \(BatchNorm1d\) would change unprotected"):
            protectable(nn.Sequential(nn.Linear(2, 2), norm))


def test_rows_are_those_of_the_call_whatever_happens_to_the_input_later():
    class Changing(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            h = self.layer(x)
            x.add_(100)
            return h + x

    model = Changing()
    taps = Taps({"layer": model.layer})
    with taps.watching() as inputs:
        model(torch.ones(3, 2))
    assert torch.equal(inputs["layer"][0], torch.ones(3, 2))
