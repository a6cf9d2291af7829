"""Orthogonal weights for whole models: which layers, what is refused, what is folded."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from orthotrace.core.errors import UserError
from orthotrace.layers import deviations, fold, orthogonal_init, orthogonalise
from orthotrace.models.convnet import ConvNet
from orthotrace.models.mlp import MLP
from orthotrace.models.resnet import ResNet18

SHAPE = (3, 16, 16)
MODELS = {
    "mlp": lambda: MLP(SHAPE, 4, hidden=(12, 9)),
    "convnet": lambda: ConvNet(SHAPE, 4, channels=(6, 9), bias=True),
    "resnet": lambda: ResNet18(SHAPE, 4, channels=3),
}


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    layers = {name: module for name, module in model.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))}
    return {name: layer.weight.detach().clone() for name, layer in layers.items()}


@pytest.mark.parametrize("kind", ["own", "oni", "stiefel"])
@pytest.mark.parametrize("name", MODELS)
def test_all_layers_but_the_readout(name, kind):
    torch.manual_seed(0)
    model = MODELS[name]()
    before = {key: value.clone() for key, value in model.named_parameters()}
    layers = [key for key, module in model.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    assert orthogonalise(model, kind) == layers[:-1] == list(deviations(model))
    # Everything but the weights of these layers is as it was.
    after = dict(model.named_parameters())
    changed = {f"{key}.weight" for key in layers[:-1]}
    assert {key for key in before if key not in after} == changed
    assert all(after[key].equal(value) for key, value in before.items() if key not in changed)
    if kind != "oni":
        assert max(deviations(model).values()) <= 1e-4


@pytest.mark.parametrize("kind", ["own", "oni", "stiefel"])
def test_fold_changes_nothing_that_is_computed(kind):
    torch.manual_seed(0)
    model = MODELS["resnet"]().eval()
    orthogonalise(model, kind, layers=["conv1", "layer1.0.conv2"])
    inputs = torch.randn(3, *SHAPE)
    expected = model(inputs)
    other = parametrize.register_parametrization(model.layer2[0].conv1, "weight", nn.Softplus())
    between = model(inputs)
    fold(model)
    assert torch.allclose(model(inputs), between, atol=1e-6) and not between.equal(expected)
    # A parametrization of the user's own is none of its business.
    assert parametrize.is_parametrized(other) and not deviations(model)
    assert model.conv1.weight.requires_grad


def test_named_layers_alone():
    model = MODELS["mlp"]()
    before = weights_of(model)
    assert orthogonalise(model, "stiefel", layers=["head", "fc2"]) == ["head", "fc2"]
    after = weights_of(model)
    assert [name for name in before if not after[name].equal(before[name])] == ["fc2", "head"]


@pytest.mark.parametrize("name", MODELS)
def test_orthogonal_init_is_the_nearest_and_leaves_weights_free(name):
    torch.manual_seed(0)
    model = MODELS[name]()
    before = weights_of(model)
    for layer in orthogonalise(model, "orthogonal_init", gain=1.5):
        matrix = model.get_submodule(layer).weight.detach().flatten(1).double() / 1.5
        values = torch.linalg.svdvals(matrix)
        assert torch.allclose(values, torch.ones_like(values), atol=1e-5)
        # No orthogonal matrix has a larger product with the one that was there.
        old = before[layer].flatten(1).double()
        assert float((matrix * old).sum()) == pytest.approx(float(torch.linalg.svdvals(old).sum()), rel=1e-5)
    assert not any(parametrize.is_parametrized(module) for module in model.modules())
    assert set(dict(model.named_parameters())) == set(dict(MODELS[name]().named_parameters()))


def test_orthogonal_init_of_each_group_apart():
    layer = nn.Conv2d(6, 8, 3, groups=2)
    orthogonal_init(layer, gain=1.0)
    for matrix in layer.weight.detach().flatten(1).chunk(2):
        assert torch.allclose(matrix @ matrix.T, torch.eye(4), atol=1e-5)


def zeroed(layer: nn.Module, rows: slice = slice(None)):
    with torch.no_grad():
        layer.weight[rows] = 0
    return layer


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    model[1].weight = model[0].weight
    return model


def two(first: nn.Module) -> nn.Module:
    return nn.Sequential(first, nn.Linear(4, 2))


def not_finite() -> nn.Module:
    layer = nn.Linear(9, 4)
    nn.init.constant_(layer.weight, float("inf"))
    return layer


@pytest.mark.parametrize(
    ("make", "arguments", "line"),
    [
        (lambda: two(nn.Linear(9, 4)), {"kind": "onw"}, "kind: there is no kind 'onw'; did you mean 'own'?"),
        (
            lambda: MODELS["mlp"](),
            {"layers": ["fc3"]},
            "layers: there is no Linear layer or convolution 'fc3'; did you mean 'fc2'?",
        ),
        (lambda: MODELS["convnet"](), {"layers": ["bn1"]}, "layers: there is no Linear layer or convolution 'bn1'"),
        (lambda: nn.Linear(9, 4), {}, "layers: the model has no Linear layer and no convolution beside its readout"),
        (lambda: two(nn.Linear(9, 4)), {"group": 0}, "group: input should be greater than or equal to 1"),
        (lambda: two(nn.Linear(9, 4)), {"iterations": 3}, "iterations: no such option"),
        (lambda: two(nn.Linear(9, 4)), {"kind": "orthogonal_init", "gain": 0}, "gain: input should be greater than 0"),
        (lambda: two(nn.Linear(9, 4).bfloat16()), {}, "the weight of layer '0' is torch.bfloat16, which rounds"),
        (lambda: two(nn.Linear(9, 4).half()), {"kind": "oni"}, "the weight of layer '0' is torch.float16"),
        (lambda: two(zeroed(nn.Linear(9, 4), slice(1))), {}, "layer '0': its filters are linearly dependent"),
        # In the second block of rows, whose NaN no comparison sees.
        (lambda: two(zeroed(nn.Linear(5, 6), slice(4, 6))), {}, "layer '0': its filters are linearly dependent"),
        (lambda: two(zeroed(nn.Linear(9, 4))), {"kind": "oni"}, "layer '0': its filters are linearly dependent"),
        (lambda: two(nn.Linear(1, 4)), {}, "layer '0': a filter of a single weight is nothing without its mean"),
        (
            lambda: two(parametrize.register_parametrization(nn.Linear(9, 4), "weight", nn.Softplus())),
            {},
            "the weight of layer '0' is parametrised already",
        ),
        (lambda: two(nn.LazyLinear(4)), {}, "layer '0' has no shape yet"),
        (lambda: two(not_finite()), {"kind": "stiefel"}, "the weight of layer '0' is not finite"),
        (tied, {}, "layers '0' and '1' share a weight"),
    ],
)
def test_what_is_refused(make, arguments, line):
    model = make()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(UserError) as refused:
        orthogonalise(model, **{"kind": "own", **arguments})
    assert str(refused.value).startswith(line) and "\n" not in str(refused.value)
    assert model.state_dict().keys() == before.keys()


def test_a_layer_twice_is_refused():
    model = MODELS["mlp"]()
    orthogonalise(model, "own", layers=["fc1"])
    with pytest.raises(UserError, match="'fc1' is parametrised already"):
        orthogonalise(model, "oni")
