"""Fractals: the recursion of the paper, drop-path with at least one path, frozen columns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from orthotrace.core.errors import UserError
from orthotrace.models.fractal import Fractal, kept_paths
from orthotrace.models.style import BlockStyle


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)


def recursion(block: Fractal, x: Tensor) -> Tensor:
    """f_1(z) = conv(z), f_{C+1}(z) = join of (f_C o f_C)(z) and conv(z); joins that meet are one, over all columns."""
    left = [iter(column) for column in reversed(list(block.columns))]

    def branches(columns: int, z: Tensor) -> list[Tensor]:
        """What meets at the end of f_columns, from the deepest column."""
        if columns == 1:
            return [next(left[0])(z)]
        inner = branches(columns - 1, sum(first := branches(columns - 1, z)) / len(first))
        return [*inner, next(left[columns - 1])(z)]

    return sum(found := branches(len(block.columns), x)) / len(found)


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
@pytest.mark.parametrize("training", [True, False])
def test_it_is_the_recursion_gradients_included(columns, training):
    torch.manual_seed(0)
    block = Fractal((2, 5, 4), BlockStyle("elu"), 3, columns).double().train(training)
    x = drawn(3, 2, 5, 4)
    found, expected = block(x), recursion(block, x)
    assert found.shape[1:] == block.shape and torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
    weights, inputs = torch.randn_like(found), (x, *block.parameters())
    ours, theirs = (torch.autograd.grad((one * weights).sum(), inputs) for one in (found, expected))
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-11) for a, b in zip(ours, theirs, strict=True))
    assert [len(column) for column in block.columns] == [2**c for c in range(columns)]


def column(block: Fractal, number: int, x: Tensor) -> Tensor:
    for layer in block.columns[number]:
        x = layer(x)
    return x


def test_an_image_may_use_one_column_alone_gradients_included():
    block = Fractal((2, 5, 4), BlockStyle("elu", norm=False), 3, 3, drop_path=0.5, global_drop_path=1.0).double()
    x = drawn(6, 2, 5, 4)
    chosen = torch.stack([torch.zeros(6), torch.arange(6) / 6])
    found = block(x, chosen)
    expected = torch.cat([column(block, int(number * 3), one[None]) for number, one in zip(chosen[1], x, strict=True)])
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
    # Each image uses one of the columns: of the weights of the others it is no function.
    for image, used in enumerate((0, 0, 1, 1, 2, 2)):
        found = torch.autograd.grad(block(x, chosen)[image].sum(), list(block.parameters()))
        moved = [any(bool(one.any()) for one in found[2**c - 1 : 2 ** (c + 1) - 1]) for c in range(3)]
        assert moved == [c == used for c in range(3)]


def test_locally_each_join_is_the_mean_of_what_is_kept():
    torch.manual_seed(0)
    block = Fractal((2, 4, 4), BlockStyle(norm=False), 3, 2, drop_path=0.5).double()
    x = drawn(200, 2, 4, 4)
    one, two = column(block, 0, x), column(block, 1, x)
    found = block(x)
    kinds = torch.stack([torch.isclose(found, kind).flatten(1).all(1) for kind in ((one + two) / 2, one, two)])
    assert kinds.any(0).all()
    # Of four draws one leaves out both, and then either is as likely.
    assert kinds.double().mean(1).tolist() == pytest.approx([1 / 4, 3 / 8, 3 / 8], abs=0.1)


@pytest.mark.parametrize("drop", [0.0, 0.3, 0.99])
def test_at_least_one_path_is_kept(drop):
    torch.manual_seed(0)
    kept = kept_paths(3, 20000, drop)
    assert kept.any(0).all()
    assert float(kept.double().mean()) == pytest.approx(1 - drop + drop**3 / 3, abs=0.01)


def test_the_share_of_images_with_one_column():
    torch.manual_seed(0)
    block = Fractal((1, 2, 2), BlockStyle(norm=False), 1, 2, global_drop_path=0.25).double()
    x = drawn(1, 1, 2, 2).expand(4000, 1, 2, 2)
    whole = torch.isclose(block(x), block.eval()(x)).flatten(1).all(1)
    assert float(whole.double().mean()) == pytest.approx(0.75, abs=0.04)


def test_in_evaluation_nothing_is_drawn():
    block = Fractal((2, 4, 4), BlockStyle(), 3, 3, drop_path=0.5, global_drop_path=0.5).double().eval()
    x = drawn(4, 2, 4, 4)
    assert torch.equal(block(x), block(x)) and torch.allclose(block(x), recursion(block, x))
    assert block.draws and not Fractal((2, 4, 4), BlockStyle(), 3).draws


def test_columns_freeze_from_the_shallowest_and_never_the_last():
    block = Fractal((2, 4, 4), BlockStyle(), 3, 3)
    for asked, expected in ((1, 1), (2, 2), (9, 2), (0, 0)):
        parameters = {id(value) for value in block.freeze(asked)}
        block.train()
        for number, layers in enumerate(block.columns):
            assert all((id(value) in parameters) == (number < expected) for value in layers.parameters())
            norms = [module for module in layers.modules() if isinstance(module, nn.BatchNorm2d)]
            assert norms and all(norm.training == (number >= expected) for norm in norms)
    assert Fractal((2, 4, 4), BlockStyle(), 3, columns=1).freeze(1) == []


@pytest.mark.parametrize("key", ["columns", "drop_path", "global_drop_path", "channels"])
def test_values_that_cannot_be(key):
    with pytest.raises(UserError, match=f"^{key}: "):
        Fractal((2, 4, 4), BlockStyle(), **{"channels": 3, key: -1})
