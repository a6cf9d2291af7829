"""The spiking forms of our networks."""

from __future__ import annotations

from orthotrace.layers.spiking import SpikingNetwork
from orthotrace.models.convnet import ConvNet
from orthotrace.models.mlp import MLP
from orthotrace.models.resnet import ResNet18


class SpikingMLP(SpikingNetwork, MLP):
    """MLP whose ReLUs are spiking neurons.

    Args, Raises: as for SpikingNetwork and MLP.

    Source: Xiao et al., ICLR 2024, for 784-800-800-10 on permuted MNIST.

    Example:
        >>> import torch
        >>> model = SpikingMLP((1, 8, 8), 10, hidden=[32], learning="dsr", steps=5)
        >>> model(torch.zeros(3, 1, 8, 8)).shape, model.relu1
        (torch.Size([3, 10]), LIF(steps=5, learning=dsr, threshold=6, decay=0.951229))
    """


class SpikingConvNet(SpikingNetwork, ConvNet):
    """ConvNet whose ReLUs are spiking neurons.

    Args, Raises: as for SpikingNetwork and ConvNet.

    Source: Xiao et al., ICLR 2024, for 64-128-256 on CIFAR-100.

    Example:
        >>> import torch
        >>> SpikingConvNet((3, 8, 8), 10, channels=[4, 8], steps=3)(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 10])
    """


class SpikingResNet18(SpikingNetwork, ResNet18):  # pyright: ignore[reportIncompatibleMethodOverride] (a name)
    """ResNet18 whose ReLUs are spiking neurons.

    Args, Raises: as for SpikingNetwork and ResNet18.

    Source: Xiao et al., ICLR 2024, for 20 channels with pre-activation.

    Example:
        >>> import torch
        >>> SpikingResNet18((3, 8, 8), 10, channels=2, steps=2)(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 10])
    """
