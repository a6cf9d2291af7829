"""What the operations of a network are: weighted, normalisation, nonlinearity, sum, pooling, or none of these.

Functions are known by their names in torch, modules by their classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from torch import nn
from torch.nn.modules import batchnorm, conv, instancenorm, pooling

from orthotrace.layers.maxout import Maxout
from orthotrace.layers.neurons import LIF
from orthotrace.layers.stochastic_pooling import StochasticPool2d
from orthotrace.layers.whitening import Whitening

# affine: adds or multiplies what does not depend on the input; sum, product: of two things that do; reduce: a mean or
# a variance; same: the same numbers in another shape or type.
Kind = Literal["weighted", "norm", "nonlinear", "affine", "sum", "product", "reduce", "pool", "same", "other"]

NONLINEAR = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.GLU,
    nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Softsign, LIF,
    Maxout,
)  # fmt: skip
WEIGHTED = (nn.Linear, nn.Bilinear, conv._ConvNd, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)
NORMS = (batchnorm._NormBase, instancenorm._InstanceNorm, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.RMSNorm)
POOLS = tuple(one for one in vars(pooling).values() if isinstance(one, type) and one.__module__ == pooling.__name__)

# What is called as one operation, whatever its forward does inside.
KINDS: list[tuple[Any, Kind]] = [
    (WEIGHTED, "weighted"), ((*NORMS, Whitening), "norm"), (NONLINEAR, "nonlinear"),
    ((*POOLS, StochasticPool2d), "pool"),
]  # fmt: skip

# Functions that are nonlinearities of networks, whatever stands before them.
ACTIVATIONS = (
    "relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish glu hardswish hardsigmoid hardtanh tanh sigmoid "
    "softplus softsign logsigmoid threshold tanhshrink softshrink hardshrink"
)
_NAMES: dict[Kind, str] = {
    "weighted": "linear bilinear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d lstm gru "
    "rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell multi_head_attention_forward",
    "norm": "batch_norm instance_norm layer_norm group_norm rms_norm local_response_norm normalize",
    "nonlinear": f"{ACTIVATIONS} clamp clamp_min clamp_max clip abs absolute square sqrt rsqrt pow rpow exp expm1 log "
    "log1p erf sin cos sign heaviside gt ge lt le where maximum minimum reciprocal arctan atan sinh cosh",
    "affine": "neg",
    "reduce": "mean var std sum norm vector_norm var_mean std_mean amax amin logsumexp",
    "same": "view reshape flatten unflatten permute transpose swapaxes movedim squeeze unsqueeze contiguous clone to "
    "type float double half bfloat16 detach dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout "
    "feature_dropout view_as reshape_as ravel as_strided",
}
_KIND_OF: dict[str, Kind] = {name: kind for kind, names in _NAMES.items() for name in names.split()}
# By what stands on both sides of them.
_SUMS = ("add", "sub", "subtract", "rsub")
_PRODUCTS = ("mul", "multiply", "div", "divide", "true_divide", "rdiv", "addcmul")
_MATRICES = ("matmul", "mm", "bmm", "mv", "addmm", "baddbmm", "einsum", "tensordot", "addbmm")


def kind_of_module(module: nn.Module) -> Kind | None:
    """The kind of a module that is one operation; None of one whose operations are looked at."""
    return next((kind for classes, kind in KINDS if isinstance(module, classes)), None)


def kind_of_function(name: str, depend: int, tensors: int) -> Kind:
    """The kind of a function.

    Args:
        name: as name_of gives it.
        depend: how many different tensors among its arguments depend on the input of the network.
        tensors: how many of all, weights with them.

    Example:
        >>> kind_of_function("add", depend=2, tensors=2), kind_of_function("add", depend=1, tensors=2)
        ('sum', 'affine')
    """
    if name in _SUMS:
        return "sum" if depend > 1 else "affine"
    if name in _PRODUCTS:
        return "product" if depend > 1 else "affine"
    if name in _MATRICES:
        return "weighted" if depend == 1 and tensors > 1 else "other"
    if "pool" in name or name == "interpolate":
        return "pool"
    return _KIND_OF.get(name, "other")


def name_of(function: Callable[..., Any]) -> str:
    """The name of a function of torch, the same for its forms: relu for torch.relu_, add for + and +=.

    Example:
        >>> import torch
        >>> [name_of(one) for one in (torch.relu_, torch.Tensor.__iadd__, torch.add)]
        ['relu', 'add', 'add']
    """
    name = getattr(function, "__name__", type(function).__name__)
    if name in ("__get__", "__getitem__", "__setitem__"):
        return name
    bare = name.strip("_")
    if name.startswith("__") and bare in ("iadd", "radd", "isub", "imul", "rmul", "itruediv", "truediv", "rtruediv"):
        return {"iadd": "add", "radd": "add", "isub": "sub", "imul": "mul", "rmul": "mul"}.get(bare, "div")
    return bare
