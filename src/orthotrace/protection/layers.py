"""Which layers of a model can be protected, and by what they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import parametrize

from orthotrace.core.errors import UserError
from orthotrace.layers.normalisation import drifts
from orthotrace.protection import attention, embedding, products, recurrent
from orthotrace.protection.matrices import WeightMatrix, passes_updates, where

# Classes of other libraries that are torch's own below a fold of time into the batch.
SAME = {
    f"spikingjelly.activation_based.{module}.{kind.__name__}"
    for module in ("layer", "layer.stateless_wrapper")
    for kind in products.LAYERS
}


class Kind(Protocol):
    """How layers of a kind are read: a module of this package for each."""

    def matrices(self, name: str, layer: Any) -> list[WeightMatrix]:
        """The matrices in its weights."""
        ...

    def kept(self, layer: Any, args: Sequence[Any], kwargs: dict[str, Any], output: Any) -> Any:
        """What is kept of a call."""
        ...

    def rows(self, layer: Any, call: Any, budget: int | None, generator: torch.Generator | None) -> Sequence[Tensor]:
        """Of a call, the rows of each matrix."""
        ...


KINDS: tuple[tuple[tuple[type, ...], Kind], ...] = tuple(
    (kind.LAYERS, cast(Kind, kind)) for kind in (products, attention, recurrent)
)
LAYERS = (*products.LAYERS, *attention.LAYERS, *recurrent.LAYERS, *embedding.LAYERS)


def base_of(layer: object) -> type | None:
    """The layer of torch that a module is, as far as its weight is concerned; None where it may be something else.

    A class derived from one is it as long as it computes alike: where it has its own forward, what the weight is
    multiplied with is not known.

    Example:
        >>> class Named(nn.Linear):
        ...     title = "readout"
        >>> base_of(Named(2, 2)) is nn.Linear, base_of(nn.Bilinear(2, 2, 2))
        (True, None)
    """
    kind: Any = type(layer)
    if products.is_turned(layer):
        return kind
    base: Any = next((one for one in LAYERS if issubclass(kind, one)), None)
    if base is None or kind is base:
        return base
    if any(not passes_updates(layer, name) for name in getattr(layer, "parametrizations", ())):
        return None
    alike = all(
        getattr(kind, name, None) is getattr(base, name, None) for name in ("forward", "_conv_forward", "__call__")
    )
    return base if alike or f"{kind.__module__}.{kind.__qualname__}" in SAME else None


def kind_of(layer: object) -> Kind:
    """How a layer that can be protected is read."""
    base = base_of(layer)
    # One with adapters is still read as what it is.
    return next(
        (kind for classes, kind in KINDS if base in classes or (base is None and isinstance(layer, classes))),
        cast(Kind, products),
    )


def weight_matrices(name: str, layer: Any) -> list[WeightMatrix]:
    """The matrices of a layer, each with a subspace of its own; none of an embedding, whose tokens are held.

    Example:
        >>> [part.label for part in weight_matrices("attention", nn.MultiheadAttention(4, 2))]
        ['attention[q]', 'attention[k]', 'attention[v]', 'attention[out]']
    """
    return [] if isinstance(layer, embedding.LAYERS) else kind_of(layer).matrices(name, layer)


def protectable(model: nn.Module) -> dict[str, Any]:
    """The layers whose weights can be protected, by name, in the order of the model.

    Raises:
        UserError: a trainable parameter belongs to no such layer and to no normalisation; two layers share one, so
            that protecting it for one would move it for the other; a weight is complex, or has less than 32 bits,
            which rounds the protection away; or there is no layer at all.

    Example:
        >>> list(protectable(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))))
        ['0', '2']
    """
    layers: dict[str, Any] = {}
    # What a layer has inside is its own: the last product of an attention, which it does not call.
    inside: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if base_of(module) is not None and not name.startswith(inside):
            layers[name] = module
            inside += (f"{name}." if name else "",)
    # Normalisations are frozen whole, with what is inside them: a rotation that is trained.
    inside += tuple(f"{name}." for name, module in model.named_modules() if drifts(module))
    for name, module in model.named_modules():
        if name not in layers and not drifts(module) and not name.startswith(inside):
            _refuse_trainable(name, module, set())
    if not layers:
        raise UserError("the model has no Linear layer and no convolution that could be protected")
    owner: dict[int, str] = {}
    for name, layer in layers.items():
        if any(isinstance(value, UninitializedParameter) for value in layer.parameters()):
            raise UserError(
                f"{where(name)} ({type(layer).__name__}) has no shape yet: run a batch through the model first"
            )
        held = {id(value) for value in _held(name, layer)}
        for module in layer.modules():
            _refuse_trainable(name, module, held)
        for value in layer.parameters():
            if value.requires_grad and owner.setdefault(id(value), name) != name:
                raise UserError(
                    f"layers '{owner[id(value)]}' and '{name}' share a parameter: it cannot be protected for both"
                )
    return layers


def _held(name: str, layer: Any) -> list[Any]:
    """The parameters that are held of a layer.

    Raises:
        UserError: one of them is computed from others, is complex, or has less than 32 bits.
    """
    if isinstance(layer, embedding.LAYERS):
        found: list[Any] = [layer.weight]
    else:
        parts = weight_matrices(name, layer)
        found = [value for part in parts for value in (part.parameter, part.bias_parameter) if value is not None]
    for value in found:
        # torch's older weight_norm and spectral_norm, and pruning, compute it before each call.
        if not isinstance(value, nn.Parameter):
            which = "weight" if value is found[0] else "bias"
            raise _parametrised(name, which, list(getattr(getattr(layer, "parametrizations", None), which, [])))
        if value.dtype in (torch.bfloat16, torch.float16):
            raise UserError(
                f"the weight of {where(name)} is {value.dtype}, which rounds its protection away; "
                "keep weights in float32 and use autocast"
            )
        if value.is_complex():
            raise UserError(
                f"the weight of {where(name)} is {value.dtype}, and only real weights can be protected: keep its real "
                "and imaginary parts in layers of their own, or use another method"
            )
    return found


def _refuse_trainable(name: str, module: nn.Module, held: set[int]) -> None:
    for parameter, value in module.named_parameters(recurse=False):
        if not value.requires_grad or id(value) in held:
            continue
        # A parametrisation may have parameters of its own, such as the factors of an adapter.
        owner, inside, which = name.partition(".parametrizations.")
        if inside:
            made = list(module) if isinstance(module, parametrize.ParametrizationList) else [module]
            raise _parametrised(owner, which.partition(".")[0], made)
        if parametrize.is_parametrized(module):
            all_of: Any = module.parametrizations
            which = next(iter(all_of))
            raise _parametrised(owner, which, list(all_of[which]))
        kind = type(module)
        if reason := getattr(kind, "unprotected", None):
            raise UserError(f"{where(name)} ({kind.__name__}) {reason}")
        if isinstance(module, LAYERS) and not held:
            base = next(one.__name__ for one in LAYERS if isinstance(module, one))
            raise UserError(
                f"{where(name)} is a {kind.__module__}.{kind.__qualname__}, derived from {base} with a forward of its "
                f"own: what its weight is multiplied with is known of {base} itself only, so it would change "
                f"unprotected; use {base}, freeze it (requires_grad_(False)), or use another method"
            )
        raise UserError(
            f"the parameter {parameter} of {where(name)} ({kind.__name__}) would change unprotected: only "
            "Linear layers, convolutions, attention, recurrent layers and embeddings can be protected; freeze it "
            "(requires_grad_(False)) or use another method"
        )


def refuse_computed(layers: Mapping[str, Any], method: str) -> None:
    """Refuse weights that are computed from others, for a method that writes weights itself.

    Raises:
        UserError: names the first layer that has one.
    """
    for name, layer in layers.items():
        if parametrize.is_parametrized(layer):
            raise UserError(
                f"{method} writes weights itself, and those of {where(name)} are computed from others "
                f"({type(layer.parametrizations.weight[0]).__name__}): take gpm, or another method"
            )


def _parametrised(name: str, which: str, by: Sequence[nn.Module]) -> UserError:
    kind = f" ({type(by[0]).__name__})" if by else ""
    if by and (reason := getattr(type(by[0]), "unprotected", None)):
        return UserError(f"the {which} of {where(name)}{kind} {reason}")
    return UserError(
        f"the {which} of {where(name)} is parametrised{kind}: what an optimizer applies is not what the {which} "
        "changes by, so it cannot be protected; make it plain first: on the command line weights=free or "
        "weights=orthogonal_init, in Python torch.nn.utils.parametrize.remove_parametrizations (of old kinds "
        "remove_weight_norm, remove_spectral_norm or prune.remove); or use another method (for adapters inflora, "
        "splitlora or eblora)"
    )
