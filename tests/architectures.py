"""Networks of ours and of users, and by hand what each of their layers is read as: post, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from own_networks import (
    Architecture,
    Attention,
    ByHand,
    Controlled,
    Functional,
    Given,
    Own,
    Preactivation,
    Recurrent,
    Residual,
    Several,
    Sums,
    Transformer,
    Transposed,
    attention,
    by_hand,
    controlled,
    functional,
    given,
    own,
    preactivation,
    recurrent,
    residual,
    several,
    sums,
    transformer,
    transposed,
)
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from orthotrace.layers.concept_whitening import ConceptWhitening
from orthotrace.layers.neurons import LIF
from orthotrace.models.blocks import BlockNet
from orthotrace.models.convnet import VGG, AlexNet, ConvNet, LeNet
from orthotrace.models.mlp import MLP
from orthotrace.models.recurrent import Recurrent as Cells
from orthotrace.models.resnet import ResNet18
from orthotrace.models.spiking import SpikingConvNet, SpikingMLP
from orthotrace.models.vit import ViT


def sequential(names: str) -> Callable[[Any, Tensor], dict[str, Tensor]]:
    """Of a network whose modules are called one after the other."""

    def expected(model, x):
        found = {}
        for name, module in model.named_children():
            x = module(x)
            if name in names.split():
                found[name] = x
        return found

    return expected


def resnet(m, x):
    found = {}

    def keep(name, value):
        found[name] = value
        return value

    pre = m.layer1[0].preactivation
    x = m.conv1(x) if pre else keep("relu1", F.relu(m.bn1(m.conv1(x))))
    if pre:
        found["conv1"] = x
    for number in range(1, 5):
        for place, block in enumerate(getattr(m, f"layer{number}")):
            at = f"layer{number}.{place}"
            if not pre:
                active = keep(f"{at}.relu1", F.relu(block.bn1(block.conv1(x))))
                x = keep(f"{at}.relu2", F.relu(block.bn2(block.conv2(active)) + block.shortcut(x)))
                continue
            active = keep(f"{at}.relu1", F.relu(block.bn1(x)))
            middle = keep(f"{at}.relu2", F.relu(block.bn2(block.conv1(active))))
            plain = isinstance(block.shortcut, nn.Identity)
            x = block.conv2(middle) + (x if plain else block.shortcut(active))
            # Where the next block takes the sum twice; else it is read after that block's normalisation and ReLU.
            if place == 0:
                found[f"{at}.conv2"] = x
    if pre:
        x = keep("last.relu", F.relu(m.last(x)))
    found["head"] = m.head(m.pool(x).flatten(1))
    return found


def states(m, x):
    """Of recurrent layers the states at all steps."""
    first = m.rnn1(x.transpose(1, 2).flatten(2))[0]
    second = m.rnn2(first)[0]
    return {"rnn1": first, "rnn2": second, "head": m.head(second[:, -1])}


def vit(m, x):
    tokens = m.embed(x).flatten(2).transpose(1, 2) + m.position.weight
    found = {"embed": tokens}
    for name in ("block1", "block2"):
        block = getattr(m, name)
        normed = block.norm1(tokens)
        tokens = tokens + block.self_attn(normed, normed, normed)[0]
        hidden = F.gelu(block.linear1(block.norm2(tokens)))
        found |= {f"{name}.self_attn": tokens, f"{name}.activation": hidden}
        tokens = tokens + block.linear2(hidden)
        found[f"{name}.linear2"] = tokens
    normed = m.norm(tokens)
    # The last sum is taken once, by the normalisation that belongs to its block.
    return found | {"block2.linear2": normed, "head": m.head(normed.mean(1))}


def layer(m, x):
    return m.act(m.bn(m.conv(x)))


def inception(m, x):
    b = m.block1
    one, three, five = layer(b.branch1, x), layer(b.branch3.reduce, x), layer(b.branch5.reduce, x)
    joined = [one, layer(b.branch3.conv, three), layer(b.branch5.conv, five), layer(b.pooled.conv, b.pooled.pool(x))]
    names = ("branch1", "branch3.reduce", "branch3.conv", "branch5.reduce", "branch5.conv", "pooled.conv")
    values = (one, three, joined[1], five, *joined[2:])
    found = {f"block1.{name}.act": value for name, value in zip(names, values, strict=True)}
    return found | {"head": m.head(torch.cat(joined, 1).mean((2, 3)))}


def depthwise(m, x):
    a, b = m.block1, m.block2
    first = layer(a.depthwise, x)
    second = layer(a.pointwise, first)
    wide = layer(b.expand, second)
    spread = layer(b.depthwise, wide)
    # After the sum with the input no nonlinearity follows.
    end = b.project.bn(b.project.conv(spread)) + second
    return {
        "block1.depthwise.act": first, "block1.pointwise.act": second, "block2.expand.act": wide,
        "block2.depthwise.act": spread, "block2.project.conv": end, "head": m.head(end.mean((2, 3))),
    }  # fmt: skip


def fractal(m, x):
    (short,), (first, second) = m.block1.columns
    one = layer(first, x)
    found = {"block1.columns.1.0.act": one, "block1.columns.0.0.act": layer(short, x)}
    found["block1.columns.1.1.act"] = layer(second, one)
    joined = (found["block1.columns.0.0.act"] + found["block1.columns.1.1.act"]) / 2
    return found | {"head": m.head(joined.mean((2, 3)))}


def maxout(m, x):
    first = m.block1.act(m.block1.bn(m.block1.conv(x)))
    return {"block1.act": first, "head": m.head(first.mean((2, 3)))}


def blocks(nonlinearity, *described):
    return lambda: BlockNet((2, 8, 8), 3, described, nonlinearity)


def with_concepts():
    model = ConvNet((2, 8, 8), 3, channels=[4, 6])
    model.bn2 = ConceptWhitening(6, ["a", "b"])
    return model


def spikes(m, x):
    """Firing rates, step by step; of the readout the mean over time."""
    found, state = {}, {}
    for _ in range(m.steps):
        values = x
        for name, module in m.named_children():
            if not isinstance(module, LIF):
                values = module(values)
                continue
            fired, state[name] = module.over(values[None], state.get(name))
            values = fired[0]
            found.setdefault(name, []).append(values)
        found.setdefault("head", []).append(values)
    return {name: torch.stack(values).mean(0) for name, values in found.items()}


ARCHITECTURES = {
    "spiking": Architecture(lambda: SpikingMLP([4], 3, hidden=[5, 6], steps=4, learning="bptt"), (4,), spikes),
    "spiking convolutions": Architecture(
        lambda: SpikingConvNet((2, 8, 8), 3, channels=[4, 6], learning="ottt", norm=False), (2, 8, 8), spikes
    ),
    "mlp": Architecture(lambda: MLP([4], 3, hidden=[5, 6]), (4,), sequential("relu1 relu2 head")),
    "convnet": Architecture(lambda: ConvNet((2, 8, 8), 3, channels=[4, 6]), (2, 8, 8), sequential("relu1 relu2 head")),
    "convnet with concepts": Architecture(with_concepts, (2, 8, 8), sequential("relu1 relu2 head")),
    "vgg": Architecture(
        lambda: VGG((2, 8, 8), 3, stages=[[4], [5, 6]], hidden=[7]), (2, 8, 8),
        sequential("relu1 relu2 relu3 relu4 head"),
    ),
    "lenet": Architecture(lambda: LeNet((1, 8, 8), 3, width=0.1), (1, 8, 8), sequential("relu1 relu2 relu3 relu4 head")),
    "alexnet": Architecture(
        lambda: AlexNet((1, 19, 19), 3, width=0.05), (1, 19, 19), sequential("relu1 relu2 relu3 relu4 relu5 head")
    ),
    **{
        cell: Architecture(
            lambda cell=cell: Cells((2, 4, 4), 3, cell=cell, hidden=[5, 6], reading="rows"), (2, 4, 4), states
        )
        for cell in ("elman", "rnn", "lstm", "gru")
    },
    "inception": Architecture(
        blocks("relu", {"kind": "inception", "conv1": 2, "conv3": [2, 3], "conv5": [2, 3], "pooled": 2}), (2, 8, 8),
        inception,
    ),
    "depthwise": Architecture(
        blocks("elu", {"kind": "separable", "channels": 4}, {"kind": "inverted", "channels": 4, "expand": 2}), (2, 8, 8),
        depthwise,
    ),
    "fractal": Architecture(blocks("relu", {"kind": "fractal", "channels": 3, "columns": 2}), (2, 8, 8), fractal),
    "maxout": Architecture(blocks("maxout", {"kind": "conv", "channels": 3}), (2, 8, 8), maxout),
    "vit": Architecture(lambda: ViT((2, 8, 8), 3, features=8, depth=2, heads=2), (2, 8, 8), vit),
    "resnet": Architecture(lambda: ResNet18((2, 8, 8), 3, channels=2), (2, 8, 8), resnet),
    "resnet, preactivation": Architecture(
        lambda: ResNet18((2, 8, 8), 3, channels=2, preactivation=True), (2, 8, 8), resnet
    ),
    "F.relu": Architecture(
        Functional, (2, 8, 8), functional,
        after={"conv1": ("bn1", "relu"), "conv2": ("max_pool2d", "relu"), "fc": ("relu",), "head": ()},
    ),
    "a ReLU used twice": Architecture(
        Residual, (2, 4, 4), residual, ("unused",), after={"relu:1": (), "relu:2": ()}
    ),
    "a ReLU used twice, identity": Architecture(lambda: Residual(False, False), (2, 4, 4), residual, ("unused",)),
    "sums": Architecture(
        Sums, (4,), sums, after={"stem": (), "one": ("gelu", "add"), "two": ("add",), "head": ()}
    ),
    "sums, a layer by its name": Architecture(Sums, (4,), lambda m, x: {"two": sums(m, x)["two"]}, layers=("two",)),
    "preactivation": Architecture(Preactivation, (2, 5), preactivation),
    "by hand": Architecture(ByHand, (4,), by_hand),
    "transformer": Architecture(lambda: Transformer(False), (3, 8), transformer),
    "transformer, gelu": Architecture(lambda: Transformer(False, F.gelu), (3, 8), transformer),
    "transformer, norm first": Architecture(lambda: Transformer(True), (3, 8), transformer),
    "lstm": Architecture(Recurrent, (3, 4), recurrent),
    "a tuple and a dictionary": Architecture(
        Several, (4,), several, layers=("body", "head"),
    ),
    "control flow": Architecture(Controlled, (4,), controlled),
    "functions with weights": Architecture(Own, (4,), own),
    "given too": Architecture(Given, (3, 4), given),
    "attention": Architecture(Attention, (3, 4), attention, layers=("attn", "attn[1]")),
    "transposed": Architecture(Transposed, (3, 4), transposed, ("rnn",)),
}  # fmt: skip
