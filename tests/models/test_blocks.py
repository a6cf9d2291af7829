"""A network from a list of blocks: their composition, its errors, and what it does beside them."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from orthotrace.config.conf import conf_folder
from orthotrace.core.errors import UserError
from orthotrace.layers.channels_last import take_channels_last
from orthotrace.layers.stack import Stack, check_stackable
from orthotrace.models.blocks import BlockNet

OPTIONS = {
    path.stem: OmegaConf.to_container(OmegaConf.load(path))
    for path in sorted((conf_folder() / "model").glob("*.yaml"))
    if "blocks.BlockNet" in path.read_text()
}
FRACTAL = {"kind": "fractal", "channels": 2, "columns": 2}


def made(option: str, shape: tuple[int, ...] = (1, 8, 8), **others) -> BlockNet:
    given = {key: value for key, value in OPTIONS[option].items() if key != "_target_"}
    return BlockNet(shape, 4, **{**given, **others})


def test_it_is_its_blocks_the_mean_and_the_head_gradients_included():
    torch.manual_seed(0)
    blocks = [{"kind": "conv", "channels": 3, "stride": 2}, {"kind": "pool"}]
    net = BlockNet((2, 8, 8), 4, blocks, "elu", norm=False).double()
    x = torch.randn(3, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    maps = nn.functional.avg_pool2d(nn.functional.elu(nn.functional.conv2d(x, net.block1.conv.weight, None, 2, 1)), 2)
    expected = maps.mean((2, 3)) @ net.head.weight.T + net.head.bias
    inputs = (x, *net.parameters())
    found = net(x)
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(found)
    ours, theirs = (torch.autograd.grad((one * weights).sum(), inputs) for one in (found, expected))
    assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)], ids=str)
def test_every_description_takes_every_size_of_images(option, shape):
    net = made(option, shape, width=0.25)
    net(torch.randn(4, *shape)).sum().backward()
    assert all(value.grad is not None for value in net.parameters()) and net.eval()(torch.zeros(2, *shape)).shape == (
        2,
        4,
    )


@pytest.mark.parametrize("option", OPTIONS)
def test_it_is_trained_together_with_others_or_says_why_not(option):
    nets = [made(option, width=0.25) for _ in range(2)]
    if option == "fractal":
        with pytest.raises(UserError, match=r"^module 'block1' \(Fractal\) draws, "):
            check_stackable(nets[0])
        calm = [{**block, "drop_path": 0.0, "global_drop_path": 0.0} if block["kind"] == "fractal" else block
                for block in OPTIONS[option]["blocks"]]  # fmt: skip
        nets = [made(option, width=0.25, blocks=calm) for _ in range(2)]
    Stack(nets).check(torch.randn(2, 5, 1, 8, 8))
    with pytest.raises(UserError, match=r"^module 'block1.pool' \(StochasticPool2d\) draws, "):
        check_stackable(BlockNet((1, 8, 8), 4, [{"kind": "pool"}], pool="stochastic"))


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("pool", ["max", "stochastic"])
def test_with_channels_last_it_keeps_its_values(option, pool):
    others = {} if option == "maxout" else {"pool": pool}
    net, images = made(option, (1, 28, 28), width=0.5, **others), torch.randn(3, 1, 28, 28)
    found = []
    for _ in range(2):
        torch.manual_seed(1)
        found.append(net(images))
        take_channels_last(net)
    assert torch.allclose(*found, rtol=1e-4, atol=1e-5)


def test_one_column_is_the_same_in_all_blocks():
    blocks = [{**FRACTAL, "global_drop_path": 1.0}] * 2
    net = BlockNet((1, 4, 4), 1, blocks, "tanh", norm=False).double()
    names = [name for name, _ in net.named_parameters() if "columns" in name]
    used = set()
    for seed in range(8):
        torch.manual_seed(seed)
        gradients = torch.autograd.grad(
            net(torch.randn(1, 1, 4, 4).double()).sum(), [net.get_parameter(n) for n in names]
        )
        columns = {name.split(".")[2] for name, one in zip(names, gradients, strict=True) if one.any()}
        assert len(columns) == 1
        used |= columns
    assert used == {"0", "1"}


def test_columns_freeze_with_the_tasks():
    net = BlockNet((1, 4, 4), 2, [FRACTAL, FRACTAL], freeze_path=True)
    shallow = [value for name, value in net.named_parameters() if ".columns.0." in name]
    for tasks, expected in ((0, []), (1, shallow), (5, shallow)):
        assert [id(value) for value in net.freeze(tasks)] == [id(value) for value in expected]
    assert BlockNet((1, 4, 4), 2, [FRACTAL]).freeze(3) == []


@pytest.mark.parametrize(
    ("blocks", "line"),
    [
        ([], "blocks: "),
        ([{"kind": "conv", "channels": 0}], "blocks[0].channels: input should be greater than or equal to 1 (got 0)"),
        ([FRACTAL, {"kind": "conv"}], "blocks[1].channels: is missing"),
        ([{"kind": "conv", "channels": 4, "x": 1}], "blocks[0].x: no such option"),
        ([{"kind": "conv", "channels": 4, "shape": 1}], "blocks[0].shape: no such option"),
        ([{"kind": "convv"}], "blocks[0].kind: there is no kind 'convv'; did you mean 'conv'?"),
        ([{"channels": 4}], "blocks[0].kind: is missing; there are: conv, fractal, inception"),
        ([{"kind": ["conv"]}], "blocks[0].kind: "),
        ([{"kind": "pool"}] * 4, "blocks[3].size: maps of (1, 1) are smaller than a window of 2"),
        ([{"kind": "linear", "units": 4}, {"kind": "pool"}], "blocks[1].kind: pool works on maps"),
        ([{"kind": "conv", "channels": True}], "blocks[0].channels: input should be a valid integer (got True)"),
        ([{"kind": "inception", "conv1": 1, "conv3": 3, "conv5": [1, 1], "pooled": 1}], "blocks[0].conv3: "),
    ],
)
def test_descriptions_that_cannot_be(blocks, line):
    with pytest.raises(UserError) as refused:
        BlockNet((1, 8, 8), 4, blocks)
    assert str(refused.value).startswith(line) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"pieces": 3}, "pieces: are of maxout alone, and the nonlinearity is relu: leave them out"),
        (
            {"pool": "stochastic", "nonlinearity": "maxout"},
            "pool: stochastic pooling draws by activations that are not negative",
        ),
        ({"nonlinearity": "swish"}, "nonlinearity: input should be 'relu', "),
        ({"freeze_path": True}, "freeze_path: there is no fractal block with several columns: set false"),
    ],
)
def test_options_that_cannot_be(options, line):
    with pytest.raises(UserError) as refused:
        partial(BlockNet, (1, 8, 8), 4, [{"kind": "conv", "channels": 2}])(**options)
    assert str(refused.value).startswith(line)
