"""The nonlinearities whose outputs regularizer.dropout drops, where they are modules of their own."""

from torch import nn

from orthotrace.layers.neurons import LIF

NONLINEARITIES = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid,
    nn.Softplus, nn.Hardswish, LIF,
)  # fmt: skip


def is_nonlinearity(module: nn.Module) -> bool:
    """Whether a module is one of these, or a layer of ours that says that it is.

    Example:
        >>> is_nonlinearity(nn.Tanh()), is_nonlinearity(nn.Linear(3, 2))
        (True, False)
    """
    return isinstance(module, NONLINEARITIES) or getattr(module, "is_nonlinearity", False) is True
