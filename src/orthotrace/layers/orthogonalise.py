"""Orthogonal weights for a whole model: given, measured, and folded in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn
from torch.nn.utils import parametrize

from orthotrace.core.errors import UserError, checked, refuse_unknown
from orthotrace.layers.chosen import check_free, chosen_layers
from orthotrace.layers.copies import copied_apart, own_class
from orthotrace.layers.orthogonal import ONI, OWN, RELU, Orthogonal, Stiefel, nearest_orthogonal

# In float64 a group of full rank is orthonormal to 1e-6, and one of less misses it by at least 1 / rows.
SINGULAR = 1e-4


@checked
def orthogonal_init(layer: Any, gain: Annotated[float, Field(gt=0)] = RELU) -> None:
    """Start a layer's weight from the nearest orthogonal one; nothing keeps it there.

    W = gain U V^T of the filter matrix U S V^T of each group. Of random normal weights that is a matrix drawn evenly
    from all orthogonal ones.

    Args:
        layer: Linear or convolution.
        gain: of the singular values, above 0; the default keeps the size of a signal through ReLUs.

    Raises:
        UserError: a gain that is not positive.

    Source: Saxe, McClelland & Ganguli, ICLR 2014.

    Example:
        >>> layer = nn.Linear(3, 3)
        >>> orthogonal_init(layer, gain=2.0)
        >>> torch.allclose(layer.weight @ layer.weight.T, 4 * torch.eye(3), atol=1e-5)
        True
    """
    found = nearest_orthogonal(layer.weight, getattr(layer, "groups", 1))
    with torch.no_grad():
        layer.weight.copy_(gain * found.reshape_as(layer.weight))


ORTHOGONAL: dict[str, Any] = {"own": OWN, "oni": ONI, "stiefel": Stiefel, "orthogonal_init": orthogonal_init}


@checked
def orthogonalise(model: nn.Module, kind: str, layers: Sequence[str] | None = None, **options: Any) -> list[str]:
    """Make the weights of a model orthogonal, in place; biases stay as they are.

    Args:
        model: whose Linear layers and convolutions.
        kind: "own", "oni" or "stiefel", which hold while the model is trained, or "orthogonal_init", which does not.
        layers: names of the layers; None for all but the last Linear layer, the readout.
        **options: of OWN, ONI, Stiefel or orthogonal_init.

    Returns:
        The names of the layers.

    Raises:
        UserError: an unknown kind, option or layer; a layer that is parametrised already, shares its weight, has no
            shape yet, has less than 32 bits or values that are not finite; or a group of filters that are linearly
            dependent, such as zeros.

    Example:
        >>> model = nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> orthogonalise(model, "own", group=2)
        ['0']
        >>> deviations(model)["0"] < 1e-5
        True
    """
    refuse_unknown([kind], ORTHOGONAL, "there is no kind", "kind")
    chosen = chosen_layers(model, layers)
    for name, layer in chosen.items():
        check_plain(model, name, layer)
    for name, layer in chosen.items():
        try:
            _apply(layer, kind, options)
        except UserError as error:
            # What is wrong with an option is so for every layer.
            raise error if error.key else UserError(f"layer '{name}': {error.message}") from error
    return list(chosen)


def check_plain(model: nn.Module, name: str, layer: Any) -> None:
    """Refuse a layer whose weight cannot be made another.

    Raises:
        UserError: see check_free; or it has less than 32 bits.
    """
    check_free(model, name, layer)
    if layer.weight.dtype not in (torch.float32, torch.float64):
        raise UserError(
            f"the weight of layer '{name}' is {layer.weight.dtype}, which rounds orthogonality away; keep weights in "
            "float32 and use autocast"
        )


def _apply(layer: Any, kind: str, options: dict[str, Any]) -> None:
    if kind == "orthogonal_init":
        orthogonal_init(layer, **options)
        return
    made: Orthogonal = ORTHOGONAL[kind](layer.weight.shape, getattr(layer, "groups", 1), **options)
    # Copies may have been made of it before, and may be made later.
    own_class(layer)
    parametrize.register_parametrization(layer, "weight", made.to(layer.weight))
    kind_of_its_own: Any = type(layer)
    kind_of_its_own.__deepcopy__ = copied_apart
    deviation = made.deviation(layer.weight)
    # Newton's iteration is not meant to arrive.
    if not deviation <= SINGULAR and (kind != "oni" or not layer.weight.isfinite().all()):
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
        raise UserError("its filters are linearly dependent, such as zeros, and cannot be made orthogonal")


def deviations(model: nn.Module) -> dict[str, float]:
    """How far the weights are from orthogonal: the largest entry of |W W^T - I|, for each layer made by orthogonalise.

    Within the groups of rows of OWN, of W^T W where a matrix has more rows than columns, the scale taken out.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 2))
        >>> _ = orthogonalise(model, "oni", iterations=2)
        >>> 0.1 < deviations(model)["0"] < 1
        True
    """
    return {name: made.deviation(layer.weight) for name, layer, made in _made(model)}


def fold(model: nn.Module) -> None:
    """Put plain weights in place of orthogonal parametrizations, so that a forward computes them no more.

    What the model gives stays the same; further training would not keep the weights orthogonal. Other
    parametrizations are left alone, and so are copies of the model.

    Args:
        model: changed in place.

    Example:
        >>> model = nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> _ = orthogonalise(model, "own")
        >>> fold(model)
        >>> type(model[0]).__name__, deviations(model)
        ('Linear', {})
    """
    for _, layer, _ in _made(model):
        own_class(layer)
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def _made(model: nn.Module) -> list[tuple[str, Any, Orthogonal]]:
    """Names, layers and parametrizations of what orthogonalise made."""
    found = []
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrizations: Any = module.parametrizations
            if len(parametrizations.weight) == 1 and isinstance(parametrizations.weight[0], Orthogonal):
                found.append((name, module, parametrizations.weight[0]))
    return found
