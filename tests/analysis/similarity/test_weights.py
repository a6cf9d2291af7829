import numpy as np
import pytest
import torch
from torch import nn

from orthotrace.analysis.similarity import weight_distance
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(9)
SHAPES = {
    "mlp": [(8, 5), (6, 8), (3, 6)],
    "deep": [(7, 5), (7, 7), (7, 7), (4, 7)],
    # A Linear layer after a convolution takes its 4 x 2 x 2 outputs.
    "conv": [(6, 3, 3, 3), (4, 6, 3, 3), (9, 16), (2, 9)],
    "single": [(3, 4)],
}


def made(name):
    return [RNG.standard_normal(shape) for shape in SHAPES[name]]


def shuffled(weights, biases):
    """The same network with its hidden units in another order."""
    found, shifts, order = [], [], np.arange(weights[0].shape[1])
    for place, (one, shift) in enumerate(zip(weights, biases, strict=True)):
        inside = one.reshape(len(one), len(order), -1)[:, order]
        order = np.arange(len(one)) if place + 1 == len(weights) else RNG.permutation(len(one))
        found.append(inside[order].reshape(one.shape))
        shifts.append(shift[order])
    return found, shifts


@pytest.mark.parametrize("name", SHAPES)
def test_the_same_network_in_another_order_is_the_same(name):
    weights = made(name)
    biases = [RNG.standard_normal(len(one)) for one in weights]
    others, shifts = shuffled(weights, biases)
    found = weight_distance(weights, others, [biases, shifts])
    assert found.aligned < 1e-12 and max(found.layers) < 1e-12
    assert weight_distance(weights, others).aligned < 1e-12
    assert name == "single" or found.plain > 0.3
    # And noise is what is left, in the order that was drawn or a better one.
    noisy = [one + 0.1 * RNG.standard_normal(one.shape) for one in others]
    squares = [
        [np.sum(one**2) for one in of] for of in (weights, noisy, [a - b for a, b in zip(noisy, others, strict=True)])
    ]
    left = np.sqrt(np.sum(squares[2]) / np.sum(squares[:2]))
    assert 0.5 * left < weight_distance(weights, noisy).aligned < left + 1e-12


@pytest.mark.parametrize("name", ["mlp", "deep", "conv"])
def test_independent_networks_are_never_farther_than_without_matching(name):
    found = weight_distance(made(name), made(name))
    assert found.aligned < found.plain < 1.3 and len(found.orders) == len(SHAPES[name]) - 1
    assert all(sorted(one) == list(range(shape[0])) for one, shape in zip(found.orders, SHAPES[name], strict=False))


def test_the_order_of_a_torch_network_changes_no_output():
    torch.manual_seed(0)
    one, other = (
        nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3, bias=False))
        for _ in range(2)
    )
    found = weight_distance(
        *([part.weight.detach() for part in net if hasattr(part, "weight")] for net in (one, other))
    )
    images = torch.randn(5, 1, 4, 4)
    before = other(images)
    order = torch.from_numpy(found.orders[0])
    with torch.no_grad():
        other[0].weight.copy_(other[0].weight[order])
        other[3].weight.copy_(other[3].weight.reshape(3, 4, 4)[:, order].reshape(3, 16))
    assert torch.allclose(other(images), before, atol=1e-6)


BAD = [
    ([], [], "first: no weights"),
    (made("mlp"), made("deep"), "of other shapes"),
    ([np.ones((4, 3)), np.ones((2, 5))], made("mlp"), r"first\[1\]: it has 5 inputs, which are no multiple of the 4"),
    ([np.ones(4)], [np.ones(4)], r"first\[0\]: weights \(out, in, ...\)"),
    ([np.zeros((2, 2))], [np.zeros((2, 2))], "all weights are 0"),
]


@pytest.mark.parametrize(("first", "second", "line"), BAD)
def test_weights_that_cannot_be_matched(first, second, line):
    with pytest.raises(UserError, match=line):
        weight_distance(first, second)


def test_biases_of_each_layer():
    weights = made("mlp")
    for biases in ([[]], [[np.ones(8)], [np.ones(8)]], [[np.ones(3)] * 3] * 2):
        with pytest.raises(UserError, match="biases"):
            weight_distance(weights, weights, biases)
