"""Plain blocks are what torch's functions give one after another, gradients included."""

import pytest
import torch
from torch.nn import functional

from orthotrace.core.errors import UserError
from orthotrace.models.plain_blocks import ConvBlock, LinearBlock, PoolBlock
from orthotrace.models.style import BlockStyle

NONLINEARITIES = {
    "relu": functional.relu, "leaky_relu": functional.leaky_relu, "elu": functional.elu, "selu": functional.selu,
    "gelu": functional.gelu, "silu": functional.silu, "tanh": torch.tanh,
    "maxout": lambda z: torch.maximum(z[:, ::2], z[:, 1::2]),
}  # fmt: skip


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)


def same(found: torch.Tensor, expected: torch.Tensor, *inputs: torch.Tensor) -> None:
    """Values, and gradients for inputs and weights."""
    assert found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(found)
    ours, theirs = (torch.autograd.grad((one * weights).sum(), inputs) for one in (found, expected))
    assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
@pytest.mark.parametrize(("stride", "residual"), [(1, False), (2, False), (1, True), (2, True)])
def test_a_convolution(nonlinearity, stride, residual):
    torch.manual_seed(0)
    block = ConvBlock((3, 7, 6), BlockStyle(nonlinearity, bias=True), 4, stride, residual).double()
    x = drawn(5, 3, 7, 6)
    maps = functional.conv2d(x, block.conv.weight, block.conv.bias, stride, 1)
    maps = functional.batch_norm(maps, None, None, block.bn.weight, block.bn.bias, training=True)
    if residual:
        maps = maps + functional.conv2d(x, block.skip.weight, block.skip.bias, stride)
    same(block(x), NONLINEARITIES[nonlinearity](maps), x, *block.parameters())
    assert block.shape == block(x).shape[1:]


def test_the_skip_is_the_input_itself_where_shapes_agree():
    block = ConvBlock((4, 5, 5), BlockStyle(norm=False), 4, residual=True).double()
    x = drawn(2, 4, 5, 5)
    same(block(x), functional.relu(functional.conv2d(x, block.conv.weight, padding=1) + x), x, *block.parameters())
    assert len(list(block.parameters())) == 1
    # Under maxout the sum has the outputs of all pieces.
    assert len(list(ConvBlock((4, 5, 5), BlockStyle("maxout", norm=False), 4, residual=True).parameters())) == 2


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("shape", [(6,), (2, 3, 1)], ids=str)
def test_a_linear_layer(norm, shape):
    block = LinearBlock(shape, BlockStyle("maxout", norm=norm, bias=True), 4).double()
    x = drawn(5, *shape)
    values = functional.linear(x.flatten(1), block.fc.weight, block.fc.bias)
    if norm:
        values = functional.batch_norm(values, None, None, block.bn.weight, block.bn.bias, training=True)
    same(block(x), NONLINEARITIES["maxout"](values), x, *block.parameters())
    assert block.shape == (4,)


@pytest.mark.parametrize("before", [4, 6])
def test_a_linear_layer_with_a_skip(before):
    torch.manual_seed(0)
    block = LinearBlock((before,), BlockStyle("tanh", norm=False, bias=True), 4, residual=True).double()
    x = drawn(5, before)
    values = functional.linear(x, block.fc.weight, block.fc.bias)
    values = values + (x if before == 4 else functional.linear(x, block.skip.weight, block.skip.bias))
    same(block(x), torch.tanh(values), x, *block.parameters())


@pytest.mark.parametrize(
    "make", [lambda style: ConvBlock((3, 6, 6), style, 4), lambda style: LinearBlock((9,), style, 4)]
)
def test_whitening_in_the_place_of_batch_normalisation(make):
    torch.manual_seed(0)
    block = make(BlockStyle(norm="whitening")).double()
    kept = []
    block.bn.register_forward_hook(lambda layer, args, output: kept.append(output))
    block(torch.randn(200, *((3, 6, 6) if isinstance(block, ConvBlock) else (9,)), dtype=torch.float64))
    units = kept[0].transpose(0, 1).flatten(1)
    assert torch.allclose(units.cov(correction=0), torch.eye(4, dtype=torch.float64), atol=1e-3)


@pytest.mark.parametrize(("pool", "function"), [("average", functional.avg_pool2d), ("max", functional.max_pool2d)])
def test_poolings(pool, function):
    x = drawn(2, 3, 7, 6)
    block = PoolBlock((3, 7, 6), BlockStyle(pool=pool), 3)
    same(block(x), function(x, 3), x)
    assert block.shape == (3, 2, 2)


def test_initial_weights_without_normalisation_are_those_of_he():
    torch.manual_seed(0)
    block = ConvBlock((64, 8, 8), BlockStyle(norm=False, bias=True), 64)
    assert float(block.conv.weight.detach().std()) == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert not block.conv.bias.any()


def test_what_cannot_be():
    with pytest.raises(UserError, match="^size: maps of .1, 4. are smaller than a window of 2: take fewer poolings$"):
        PoolBlock((3, 1, 4), BlockStyle())
    with pytest.raises(UserError, match="^pieces: are of maxout alone"):
        BlockStyle("relu", pieces=2)
    with pytest.raises(
        UserError, match="^pool: stochastic pooling draws by activations that are not negative, and those of elu may be"
    ):
        BlockStyle("elu", pool="stochastic")
