"""Maxout units are the maxima over neighbouring outputs, and convex functions of what their layer is given."""

import pytest
import torch
from torch.func import vmap

from orthotrace.core.errors import UserError
from orthotrace.layers.maxout import Maxout
from orthotrace.layers.nonlinearities import is_nonlinearity


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("shape", [(3, 6), (2, 12, 3, 2), (2, 6, 4)], ids=str)
@pytest.mark.parametrize("pieces", [2, 3])
def test_values_and_gradients_are_those_of_a_loop(shape, pieces):
    x, layer = drawn(*shape), Maxout(pieces)
    units = [
        torch.stack([x[:, unit * pieces + piece] for piece in range(pieces)]).max(0).values
        for unit in range(shape[1] // pieces)
    ]
    expected, found = torch.stack(units, 1), layer(x)
    assert torch.equal(found, expected)
    weights = torch.randn_like(found)
    ours, theirs = (torch.autograd.grad((one * weights).sum(), x)[0] for one in (found, expected))
    assert torch.equal(ours, theirs)
    assert torch.autograd.gradcheck(layer, (x,))


def test_of_linear_pieces_a_unit_is_convex():
    layer, linear = Maxout(4), torch.nn.Linear(5, 8, dtype=torch.float64)
    one, other = drawn(50, 5).detach(), drawn(50, 5).detach().flip(0)
    middle = layer(linear((one + other) / 2))
    assert (middle <= (layer(linear(one)) + layer(linear(other))) / 2 + 1e-12).all()
    assert (middle < (layer(linear(one)) + layer(linear(other))) / 2 - 1e-3).any()


def test_two_pieces_of_opposite_sign_are_an_absolute_value():
    x = drawn(7, 1).detach()
    assert torch.equal(Maxout()(torch.cat([x, -x], 1)), x.abs())


def test_it_is_a_nonlinearity_and_maps_over_networks():
    assert is_nonlinearity(Maxout())
    x = drawn(4, 3, 6).detach()
    assert torch.equal(vmap(Maxout(3))(x), torch.stack([Maxout(3)(one) for one in x]))


def test_what_cannot_be():
    with pytest.raises(UserError, match="^pieces: 7 outputs are no multiple of 2 pieces$"):
        Maxout()(torch.zeros(2, 7))
    with pytest.raises(UserError, match="pieces: .* greater than or equal to 2"):
        Maxout(1)
