"""Layers whose weights can be protected: the matrices in them, and the rows that those are multiplied with."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import parametrize

from orthotrace.core.errors import UserError
from orthotrace.layers.normalisation import drifts
from orthotrace.subspace.base import Subspace

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class WeightMatrix:
    """The weight matrix of a layer, or of one group of a convolution.

    Attributes:
        label: name of the layer; with the number of the group, from 1, where there are several: "conv[2]".
        name: of the layer.
        layer: itself.
        group: number of the group, from 0.
        outputs: rows of the layer's weight that belong to the group.
        features: width of the matrix.
    """

    label: str
    name: str
    layer: Any
    group: int
    outputs: slice
    features: int

    @property
    def weight(self) -> Tensor:
        """The matrix (out, features), not to be written to: it may be a copy."""
        weight = self.layer.weight.detach()
        return weight if weight.ndim == 2 else weight[self.outputs].flatten(1)

    @property
    def bias(self) -> Tensor | None:
        """The biases (out,), as they are in the layer."""
        return None if self.layer.bias is None else self.layer.bias.detach()[self.outputs]

    def joined(self) -> Tensor:
        """A copy of the matrix, with the biases as its last column if there are any."""
        bias = self.bias
        return self.weight.clone() if bias is None else torch.cat([self.weight, bias[:, None]], dim=1)

    def rows(self, inputs: Mapping[str, list[Tensor]]) -> Tensor:
        """What the matrix was multiplied with in all calls of its layer, (n, features).

        Args:
            inputs: of the layers, as taps collect them.

        Raises:
            UserError: the layer was never called.
        """
        calls = inputs.get(self.name)
        if not calls:
            raise UserError(
                f"the protected layer '{self.name}' was not called: it would lose its protection; call it in every "
                "forward pass, in evaluation too, or take it out of the model"
            )
        return torch.cat([call[self.group] for call in calls]) if len(calls) > 1 else calls[0][self.group]

    def project_out(self, space: Subspace, weight: Tensor | None, bias: Tensor | None) -> None:
        """Take what a subspace holds from values in the shapes of the layer's weight and bias, in place.

        Args:
            space: of this matrix.
            weight: such as a gradient; None for none.
            bias: of which all is taken; None for none.
        """
        if weight is not None and space.active:
            rows = weight[self.outputs]
            rows -= space.inside(rows.flatten(1)).view_as(rows)
        if bias is not None:
            bias[self.outputs] = 0


def weight_matrices(name: str, layer: Any) -> list[WeightMatrix]:
    """The matrices of a layer.

    Example:
        >>> [(part.label, part.features) for part in weight_matrices("conv", nn.Conv2d(4, 6, 3, groups=2))]
        [('conv[1]', 18), ('conv[2]', 18)]
    """
    groups = getattr(layer, "groups", 1)
    width = layer.weight.shape[0] // groups
    features = layer.weight[0].numel()
    return [
        WeightMatrix(
            name if groups == 1 else f"{name}[{group + 1}]",
            name,
            layer,
            group,
            slice(group * width, (group + 1) * width),
            features,
        )
        for group in range(groups)
    ]


def rows(layer: Any, inputs: Tensor, budget: int | None = None, generator: torch.Generator | None = None) -> Tensor:
    """The rows that a layer's matrices are multiplied with.

    Of a Linear layer its inputs; of a convolution the patches as it sees them, with its padding, stride, dilation and
    groups: ``rows(layer, x)[g] @ part.weight.T`` are the outputs of group g without the bias, place by place.

    Args:
        layer: Linear or convolution.
        inputs: of the layer, batched or not.
        budget: patches at most, drawn evenly from all places of all images; None for all.
        generator: of the draw.

    Returns:
        (groups, n, features).

    Example:
        >>> rows(nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), torch.ones(5, 4, 8, 8)).shape
        torch.Size([2, 80, 18])
    """
    if isinstance(layer, nn.Linear):
        return inputs.detach().reshape(1, -1, inputs.shape[-1])
    size = layer.kernel_size
    inputs = inputs.detach()
    if inputs.ndim == len(size) + 1:
        inputs = inputs[None]
    border = layer._reversed_padding_repeated_twice
    if any(border):
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        inputs = pad(inputs, border, mode=mode)
    windows = _windows(inputs, size, layer.stride, layer.dilation)
    places = windows.shape[: len(size) + 1]
    count = math.prod(places)
    if not count:
        return inputs.new_zeros(layer.groups, 0, layer.weight[0].numel())
    if budget is None or count <= budget:
        found = windows.reshape(count, layer.groups, -1)
    else:
        # One place of each of so many equal stretches: no image is left out, and none comes twice.
        drawn = torch.arange(budget) + torch.rand(budget, generator=generator, dtype=torch.float64)
        chosen = (drawn * (count / budget)).long().clamp_max(count - 1)
        index = torch.unravel_index(chosen.to(inputs.device), places)
        found = windows[index].reshape(budget, layer.groups, -1)
    return found.transpose(0, 1)


def _windows(inputs: Tensor, size: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]) -> Tensor:
    """A view (n, places..., channels, kernel...) of padded inputs (n, channels, sides...)."""
    sides, steps = inputs.shape[2:], inputs.stride()[2:]
    reach = [step * (width - 1) + 1 for step, width in zip(dilation, size, strict=True)]
    places = [(side - one) // step + 1 for side, one, step in zip(sides, reach, stride, strict=True)]
    moves = [step * by for step, by in zip(steps, stride, strict=True)]
    inside = [step * by for step, by in zip(steps, dilation, strict=True)]
    return inputs.as_strided(
        (len(inputs), *places, inputs.shape[1], *size), (inputs.stride(0), *moves, inputs.stride(1), *inside)
    )


def protectable(model: nn.Module) -> dict[str, Any]:
    """The layers whose weights can be protected, by name, in the order of the model.

    Raises:
        UserError: a trainable parameter belongs to no such layer and to no normalisation; two layers share one, so
            that protecting it for one would move it for the other; a weight has less than 32 bits, which rounds the
            protection away; or there is no layer at all.

    Example:
        >>> list(protectable(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))))
        ['0', '2']
    """
    layers = {name: module for name, module in model.named_modules() if type(module) in LAYERS}
    # Normalisations are frozen whole, with what is inside them: a rotation that is trained.
    norms = tuple(f"{name}." for name, module in model.named_modules() if drifts(module))
    for name, module in model.named_modules():
        if name not in layers and not drifts(module) and not name.startswith(norms):
            _refuse_trainable(name, module)
    if not layers:
        raise UserError("the model has no Linear layer and no convolution that could be protected")
    owner: dict[int, str] = {}
    for name, layer in layers.items():
        # torch's older weight_norm and spectral_norm compute the weight before each call.
        if not isinstance(layer.weight, nn.Parameter):
            raise _parametrised(name, layer)
        if layer.weight.dtype in (torch.bfloat16, torch.float16):
            raise UserError(
                f"the weight of layer '{name}' is {layer.weight.dtype}, which rounds its protection away; "
                "keep weights in float32 and use autocast"
            )
        for value in layer.parameters(recurse=False):
            if owner.setdefault(id(value), name) != name:
                raise UserError(
                    f"layers '{owner[id(value)]}' and '{name}' share a parameter: it cannot be protected for both"
                )
    return layers


def _refuse_trainable(name: str, module: nn.Module) -> None:
    for parameter, value in module.named_parameters(recurse=False):
        if not value.requires_grad:
            continue
        if isinstance(module, parametrize.ParametrizationList) or parametrize.is_parametrized(module):
            raise _parametrised(name.split(".parametrizations")[0], module)
        where = f"layer '{name}'" if name else "the model itself"
        if isinstance(value, UninitializedParameter):
            raise UserError(f"{where} ({type(module).__name__}) has no shape yet: run a batch through the model first")
        if isinstance(module, LAYERS):
            base = next(kind.__name__ for kind in LAYERS if isinstance(module, kind))
            raise UserError(
                f"{where} is a {type(module).__name__}, derived from {base}: what its weight is multiplied with is "
                f"known of {base} itself only, so it would change unprotected; use {base}, freeze it "
                "(requires_grad_(False)), or use another method"
            )
        raise UserError(
            f"the parameter {parameter} of {where} ({type(module).__name__}) would change unprotected: only "
            "Linear layers and convolutions can be protected; freeze it (requires_grad_(False)) or use another method"
        )


def _parametrised(name: str, module: nn.Module) -> UserError:
    made: Any = module
    if not isinstance(module, parametrize.ParametrizationList):
        made = getattr(getattr(module, "parametrizations", None), "weight", [])
    kind = f" ({type(made[0]).__name__})" if len(made) else ""
    return UserError(
        f"the weight of layer '{name}' is parametrised{kind}: what an optimizer applies is "
        "not what the weight changes by, so it cannot be protected; take weights=orthogonal_init or weights=free (in "
        "your own code remove_parametrizations, or remove_weight_norm, of torch.nn.utils), or another method"
    )
