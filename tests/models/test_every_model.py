"""What every model keeps: logits, gradients, widths."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.models.all_cnn import AllCNN
from orthotrace.models.blocks import BlockNet
from orthotrace.models.convnet import VGG, AlexNet, ConvNet, LeNet
from orthotrace.models.mlp import MLP
from orthotrace.models.recurrent import Recurrent
from orthotrace.models.resnet import ResNet18
from orthotrace.models.spiking import SpikingConvNet, SpikingMLP, SpikingResNet18
from orthotrace.models.tiny import Tiny10
from orthotrace.models.vit import ViT

RGB = (3, 32, 32)
SPIKING = [
    partial(kind, learning=way, steps=2)
    for kind, ways in ((SpikingMLP, ("dsr", "ottt")), (SpikingConvNet, ("dsr",)), (SpikingResNet18, ("bptt",)))
    for way in ways
]
BLOCKS = [
    partial(BlockNet, blocks=[{"kind": "conv", "channels": 8}, block], nonlinearity=nonlinearity)
    for nonlinearity, block in (
        ("relu", {"kind": "conv", "channels": 8, "residual": True}),
        ("maxout", {"kind": "linear", "units": 20}),
        ("elu", {"kind": "inception", "conv1": 4, "conv3": [4, 8], "conv5": [2, 4], "pooled": 4}),
        ("maxout", {"kind": "separable", "channels": 16}),
        ("gelu", {"kind": "inverted", "channels": 8}),
        ("tanh", {"kind": "fractal", "channels": 8}),
    )
]
RECURRENT = [partial(Recurrent, cell=cell, reading="rows") for cell in ("elman", "rnn", "lstm", "gru")]


@pytest.mark.parametrize(
    "make",
    [
        ConvNet,
        VGG,
        AlexNet,
        LeNet,
        ResNet18,
        lambda *a, **k: ResNet18(*a, preactivation=True, **k),
        MLP,
        AllCNN,
        Tiny10,
        ViT,
        *BLOCKS,
        *SPIKING,
        *RECURRENT,
    ],
)
@pytest.mark.parametrize("width", [0.1, 1.0])
def test_logits_have_their_shape_and_every_weight_a_gradient(make, width):
    torch.manual_seed(0)
    model = make(RGB, 7, width=width)
    model(torch.randn(4, *RGB)).square().sum().backward()
    assert model(torch.randn(4, *RGB)).shape == (4, 7)
    assert all(value.grad is not None and value.grad.isfinite().all() for value in model.parameters())
    assert isinstance(model.head, (nn.Linear, nn.Conv2d))


@pytest.mark.parametrize(
    "make", [ConvNet, VGG, AlexNet, LeNet, ResNet18, MLP, AllCNN, Tiny10, ViT, *BLOCKS, *SPIKING, *RECURRENT]
)
def test_widths_that_cannot_be(make):
    with pytest.raises(UserError, match="width"):
        make(RGB, 10, width=0)
