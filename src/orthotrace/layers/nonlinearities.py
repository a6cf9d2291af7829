"""The nonlinearities whose outputs regularizer.dropout drops, where they are modules of their own."""

from torch import nn

from orthotrace.layers.maxout import Maxout
from orthotrace.layers.neurons import LIF

NONLINEARITIES = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid,
    nn.Softplus, nn.Hardswish, LIF, Maxout,
)  # fmt: skip
