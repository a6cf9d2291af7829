"""The matrices in the weights of a layer: what a subspace protects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from orthotrace.core.errors import UserError
from orthotrace.subspace.base import Subspace

# Of the rows of a matrix.
ALL = slice(None)

# What layers were called with, by name: for each call the rows of each matrix, (n, features).
Calls = Mapping[str, list[Sequence[Tensor]]]


@dataclass(frozen=True)
class WeightMatrix:
    """A matrix in a weight: the whole weight of a Linear layer, one group of a convolution, the keys of an attention.

    Attributes:
        label: name of the layer; where it has several matrices with what tells them apart: "conv[2]", "attention[k]".
        name: of the layer.
        layer: itself.
        group: its place among the matrices of the layer, from 0.
        outputs: its part of the weight's first dimension.
        features: width of the matrix.
        weight_name, bias_name: of the parameters in the layer.
        turned: whether the weight has its inputs first, as in a transposed convolution.
        biases: its part of the biases, where that is another.
        repeats: rows of the matrix to which a bias belongs.
    """

    label: str
    name: str
    layer: Any
    group: int
    outputs: slice
    features: int
    weight_name: str = "weight"
    bias_name: str = "bias"
    turned: bool = False
    biases: slice | None = None
    repeats: int = 1

    @property
    def parameter(self) -> nn.Parameter:
        """The weight that it is a part of."""
        return trained(self.layer, self.weight_name)

    @property
    def bias_parameter(self) -> nn.Parameter | None:
        """The biases that its own are a part of."""
        return getattr(self.layer, self.bias_name) if self.bias_name else None

    @property
    def is_whole(self) -> bool:
        """Whether it is a weight as it stands, so that nothing is to be cut or turned."""
        weight = self.parameter
        return weight.ndim == 2 and not self.turned and self.outputs == slice(0, len(weight))

    @property
    def weight(self) -> Tensor:
        """The matrix (out, features), not to be written to: it may be a copy."""
        weight = self.parameter.detach()
        return weight if self.is_whole else self.of(weight)

    def of(self, values: Tensor) -> Tensor:
        """The matrix (out, features) in values of the shape of the weight, not to be written to."""
        rows = values[self.outputs].flatten(1)
        return rows.T if self.turned else rows

    def take_from(self, values: Tensor, update: Tensor) -> None:
        """Take an update (out, features) of the matrix from values of the shape of the weight, in place."""
        rows = values[self.outputs]
        rows -= (update.T if self.turned else update).reshape(rows.shape)

    def put(self, joined: Tensor) -> None:
        """Write the matrix, and the biases from its last column if there are any, as joined gives them."""
        rows, new = self.parameter.detach()[self.outputs], joined[:, : self.features]
        rows.copy_((new.T if self.turned else new).reshape(rows.shape))
        if self.bias is not None:
            self.bias.copy_(joined[:: self.repeats, -1])

    @property
    def bias(self) -> Tensor | None:
        """Its biases, as they are in the layer."""
        bias = self.bias_parameter
        return None if bias is None else bias.detach()[self.biases or self.outputs]

    def joined(self, rows: slice = ALL) -> Tensor:
        """A copy of the matrix, or of some rows, with the biases as its last column if there are any."""
        bias = self.bias
        if bias is None:
            return self.weight[rows].clone()
        return torch.cat([self.weight[rows], bias.repeat_interleave(self.repeats)[rows, None]], dim=1)

    @property
    def is_frozen(self) -> bool:
        """Whether nothing in its layer is trained."""
        return not any(value.requires_grad for value in self.layer.parameters())

    def rows(self, inputs: Calls) -> Tensor:
        """What the matrix was multiplied with in all calls of its layer, (n, features).

        Args:
            inputs: of the layers, as taps collect them.

        Raises:
            UserError: the layer was never called, though it is trained.
        """
        calls = inputs.get(self.name)
        if not calls and self.is_frozen:
            # Such as the copy of a classifier that peft keeps.
            return self.weight.new_zeros(0, self.features)
        if not calls:
            raise UserError(
                f"the protected layer '{self.name}' was not called: it would lose its protection; call it in every "
                "forward pass, in evaluation too, or take it out of the model"
            )
        return torch.cat([call[self.group] for call in calls]) if len(calls) > 1 else calls[0][self.group]

    def transposed(self) -> WeightMatrix:
        """The same weight as the matrix of a product from its other side, y = h W, without biases."""
        name = transposed_name(self.name)
        width = len(self.parameter)
        return WeightMatrix(name, name, self.layer, 0, slice(0, width), width, self.weight_name, "", not self.turned)

    def project_out(self, space: Subspace, weight: Tensor | None, bias: Tensor | None) -> None:
        """Take what a subspace holds from values in the shapes of the layer's weight and bias, in place.

        Args:
            space: of this matrix.
            weight: such as a gradient; None for none.
            bias: of which all is taken; None for none.
        """
        if weight is not None and space.active:
            self.take_from(weight, space.inside(self.of(weight)))
        if bias is not None:
            bias[self.biases or self.outputs] = 0


def where(name: str) -> str:
    """A layer in a message: its name, or that it is the whole model.

    Example:
        >>> where("net.0"), where("")
        ("layer 'net.0'", 'the model itself')
    """
    return f"layer '{name}'" if name else "the model itself"


def passes_updates(layer: Any, name: str) -> bool:
    """Whether a weight is computed from another such that an update of that one is its own, see Crossbar.

    Parametrizations say so by an attribute ``passes_updates = True``.

    Example:
        >>> passes_updates(nn.Linear(2, 2), "weight")
        False
    """
    return parametrize.is_parametrized(layer, name) and all(
        getattr(one, "passes_updates", False) is True for one in layer.parametrizations[name]
    )


def trained(layer: Any, name: str) -> Any:
    """What an optimizer trains of a weight: itself, or what it is computed from where that passes updates."""
    return layer.parametrizations[name].original if passes_updates(layer, name) else getattr(layer, name)


def transposed_name(name: str) -> str:
    """The name of what a layer's weight is multiplied with from its other side, y = h W."""
    return f"{name}, transposed"


def matrix(name: str, layer: Any, group: int, which: str, weight: str, bias: str, outputs: slice) -> WeightMatrix:
    """One matrix of a layer that has several in parameters of its own.

    Args:
        name: of the layer.
        layer: itself.
        group: place of the matrix among those of the layer.
        which: what tells it apart.
        weight: name of its parameter.
        bias: name of that of its biases; where the layer has none, there are none.
        outputs: its part of both.
    """
    values = getattr(layer, weight)
    bias = bias if getattr(layer, bias, None) is not None else ""
    return WeightMatrix(f"{name}[{which}]", name, layer, group, outputs, values.shape[1], weight, bias)
