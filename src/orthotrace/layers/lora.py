"""Low-rank adapters: a network that is trained in few directions of each weight, the rest as it was pretrained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from orthotrace.core.errors import UserError, checked, refuse_unknown
from orthotrace.layers.copies import copied_apart, own_class

# What is trained of an adapter.
FACTORS = ("up", "down", "size")


class LowRank(nn.Module):
    """A weight with an update of low rank, W + s m B A.

    Args:
        shape: of the weight, (out, features).
        rank: of the update, at least 1.
        scale: s, above 0.

    Attributes:
        up: B, (out, rank); zero at the start, so that nothing changes.
        down: A, (rank, features), drawn as the weights of a Linear layer are.
        size: m, a number; 1, and not trained unless a method does so.

    Source: Hu et al., LoRA, ICLR 2022.

    Example:
        >>> adapter = LowRank((3, 4), rank=2)
        >>> weight = torch.ones(3, 4)
        >>> torch.equal(adapter(weight), weight)
        True
    """

    def __init__(self, shape: Sequence[int], rank: int, scale: float = 1.0) -> None:
        super().__init__()
        out, features = shape
        self.scale = scale
        self.up = nn.Parameter(torch.zeros(out, rank))
        self.down = nn.Parameter(torch.empty(rank, features))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
        self.size = nn.Parameter(torch.ones(()), requires_grad=False)

    def update(self) -> Tensor:
        """The update, s m B A."""
        return (self.scale * self.size * self.up) @ self.down

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with its update."""
        return weight + self.update()

    def train_only(self, *factors: str) -> None:
        """Which of up, down and size are trained."""
        for name in FACTORS:
            getattr(self, name).requires_grad_(name in factors)


@dataclass(frozen=True)
class Adapter:
    """An adapter and the weight that it is on.

    Attributes:
        label: name of the weight: "block1.linear1.weight".
        name: of the layer.
        layer: itself.
        weight: of its attributes, the name of the weight.
    """

    label: str
    name: str
    layer: Any
    weight: str

    @property
    def low_rank(self) -> LowRank:
        """The update."""
        return self.layer.parametrizations[self.weight][0]

    @property
    def base(self) -> nn.Parameter:
        """The weight without it."""
        return self.layer.parametrizations[self.weight].original

    @torch.no_grad()
    def merge(self) -> None:
        """Add the update to the weight, and begin a new one at zero."""
        self.base.add_(self.low_rank.update())
        self.low_rank.up.zero_()


@checked
def lora(
    model: nn.Module,
    rank: Annotated[int, Field(ge=1)] = 4,
    scale: Annotated[float, Field(gt=0)] = 1.0,
    layers: Sequence[str] | None = None,
) -> list[str]:
    """Give the weights of a model low-rank adapters, in place, and freeze everything else but the readout.

    Args:
        model: whose Linear layers and attention. An attention whose queries, keys and values have one weight has one
            adapter on it.
        rank: of each update, at least 1.
        scale: of each update, above 0.
        layers: names of the layers; None for all but the last Linear layer, the readout, which is trained itself.

    Returns:
        The names of the weights.

    Raises:
        UserError: an unknown layer, none at all, one that is parametrised or has no shape yet, or a rank that is not
            below both sides of a weight.

    Example:
        >>> model = nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> lora(model, rank=2)
        ['0.weight']
        >>> [name for name, value in model.named_parameters() if value.requires_grad]
        ['0.parametrizations.weight.0.up', '0.parametrizations.weight.0.down', '2.weight', '2.bias']
    """
    there = {name: module for name, module in model.named_modules() if isinstance(module, KINDS)}
    if layers is not None:
        refuse_unknown(layers, there, "there is no Linear layer or attention", "layers")
    linear = [name for name, module in there.items() if isinstance(module, nn.Linear)]
    readout = linear[-1:] if layers is None else []
    chosen = [name for name in there if (name not in readout if layers is None else _within(name, layers))]
    found = [
        Adapter(_label(name, weight), name, there[name], weight) for name in chosen for weight in _weights(there[name])
    ]
    if not found:
        raise UserError("the model has no Linear layer and no attention beside its readout; name it", "layers")
    for one in found:
        _check(one, rank)
    trained = {id(value) for name in linear[-1:] if name not in chosen for value in there[name].parameters()}
    for value in model.parameters():
        value.requires_grad_(id(value) in trained)
    for one in found:
        value = getattr(one.layer, one.weight)
        own_class(one.layer)
        parametrize.register_parametrization(one.layer, one.weight, LowRank(value.shape, rank, scale).to(value))
        kind: Any = type(one.layer)
        kind.__deepcopy__ = copied_apart
    return [one.label for one in found]


KINDS = (nn.Linear, nn.MultiheadAttention)


def _label(name: str, weight: str) -> str:
    return f"{name}.{weight}".lstrip(".")


def _within(name: str, layers: Sequence[str]) -> bool:
    """Whether a layer was named, or is the last product of an attention that was."""
    return name in layers or (name.endswith(".out_proj") and name.removesuffix(".out_proj") in layers)


def _weights(layer: Any) -> list[str]:
    """The weights of a layer that get adapters."""
    if not isinstance(layer, nn.MultiheadAttention):
        return ["weight"]
    return ["in_proj_weight"] if layer.in_proj_weight is not None else [f"{which}_proj_weight" for which in "qkv"]


def _check(one: Adapter, rank: int) -> None:
    weight = getattr(one.layer, one.weight)
    if parametrize.is_parametrized(one.layer, one.weight) or not isinstance(weight, nn.Parameter):
        raise UserError(f"the weight '{one.label}' is parametrised already; remove that, or name other layers")
    if isinstance(weight, nn.UninitializedParameter):
        raise UserError(f"layer '{one.name}' has no shape yet: run a batch through the model first")
    if rank >= min(weight.shape):
        raise UserError(
            f"{rank} is no low rank for the weight '{one.label}', {' x '.join(map(str, weight.shape))}: take less than "
            f"{min(weight.shape)}, or name other layers",
            "rank",
        )


def adapters(model: nn.Module) -> list[Adapter]:
    """The adapters of a model, in its order.

    Example:
        >>> model = nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 3), nn.Linear(3, 2))
        >>> _ = lora(model, rank=1)
        >>> [one.label for one in adapters(model)]
        ['0.weight', '2.weight']
    """
    found = []
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module):
            parametrizations: Any = module.parametrizations
            for weight, made in parametrizations.items():
                if len(made) == 1 and isinstance(made[0], LowRank):
                    found.append(Adapter(_label(name, weight), name, module, weight))
    return found


def merge(model: nn.Module) -> None:
    """Put plain weights in the place of those with adapters; what the model gives stays the same.

    Everything that was frozen is trainable afterwards.

    Args:
        model: changed in place.

    Example:
        >>> model = nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> _ = lora(model, rank=2)
        >>> merge(model)
        >>> adapters(model), type(model[0]).__name__
        ([], 'Linear')
    """
    for one in adapters(model):
        own_class(one.layer)
        parametrize.remove_parametrizations(one.layer, one.weight, leave_parametrized=True)
    model.requires_grad_(True)
