"""A normalisation layer of any torch model replaced by concept whitening."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from orthotrace.core.errors import UserError, nearest
from orthotrace.layers.concept_whitening import ConceptWhitening
from orthotrace.layers.normalisation import is_normalisation
from orthotrace.layers.whitening import Whitening


def replace_norm(model: nn.Module, name: str, concepts: Sequence[str], **options: Any) -> ConceptWhitening:
    """Put concept whitening in the place of a normalisation layer, which it takes the number of channels from.

    Mean and variances of a trained batch normalisation serve until the first batch in training, which gives
    correlations too; its affine is dropped, since concept whitening has none: train the model for an epoch, or so.
    After LayerNorm and RMSNorm channels are the last dimension, as of tokens.

    Args:
        model: any torch model; changed in place.
        name: of the layer, as in named_modules: "layer4.1.bn1".
        concepts: see ConceptWhitening.
        **options: of ConceptWhitening.

    Returns:
        The new layer.

    Raises:
        UserError: no such layer, one that does not normalise, or one whose size is not known; see ConceptWhitening.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        >>> replace_norm(model, "1", ["striped", "dotted"]) is model[1]
        True
    """
    modules = dict(model.named_modules())
    known = [key for key, module in modules.items() if is_normalisation(module)]
    if name not in modules or not name:
        raise UserError(f"there is no layer '{name}'; {nearest(name, known)}", "layer")
    old: Any = modules[name]
    if not is_normalisation(old):
        raise UserError(
            f"layer '{name}' ({type(old).__name__}) is no normalisation layer; {nearest(name, known)}", "layer"
        )
    named_once(model, name)
    last = isinstance(old, (nn.LayerNorm, nn.RMSNorm))
    if last and len(old.normalized_shape) > 1:
        raise UserError(
            f"layer '{name}' normalises {tuple(old.normalized_shape)} together: one dimension of channels is needed",
            "layer",
        )
    sizes = (getattr(old, key, None) for key in ("num_features", "num_channels", "channels"))
    channels = next((size for size in sizes if size is not None), None)
    channels = math.prod(old.normalized_shape) if channels is None else channels
    if not channels:
        raise UserError(f"layer '{name}' ({type(old).__name__}) has no shape yet: run a batch first", "layer")
    if isinstance(concepts, str):
        raise UserError(f"a list of names is needed (got {concepts!r})", "concepts")
    try:
        new = ConceptWhitening(channels, concepts, **{"channel_dim": -1 if last else 1, **options})
    except UserError as error:
        raise UserError(f"layer '{name}': {error.message}", error.key) from error
    _take_statistics(new, old)
    new.label = f"layer '{name}': "
    new.train(old.training)
    parameter = next(model.parameters(), torch.zeros(()))
    new.to(parameter.device, torch.promote_types(parameter.dtype, torch.float32))
    parent, _, last_name = name.rpartition(".")
    setattr(model.get_submodule(parent), last_name, new)
    leave_fast_paths(model, new)
    return new


def leave_fast_paths(model: nn.Module, new: nn.Module) -> Callable[[], None]:
    """Keep torch's transformers from computing with the weights of layers that they take for granted.

    Returns:
        What puts them back.
    """
    changed: list[tuple[nn.Module, str, Any]] = []
    for module in model.modules():
        names = {nn.TransformerEncoderLayer: "activation_relu_or_gelu", nn.TransformerEncoder: "use_nested_tensor"}
        for kind, name in names.items():
            if isinstance(module, kind) and any(new is one for one in module.modules()):
                changed.append((module, name, getattr(module, name)))
                setattr(module, name, 0)

    def back() -> None:
        for module, name, value in changed:
            setattr(module, name, value)

    return back


def named_once(model: nn.Module, name: str) -> None:
    """Refuse a module that the model may call by another name too, past what is put in its place."""

    def place(of: str) -> tuple[nn.Module, str]:
        parent, _, last = of.rpartition(".")
        return model.get_submodule(parent), last

    module, (parent, last) = model.get_submodule(name), place(name)
    others = [
        one
        for one, other in model.named_modules(remove_duplicate=False)
        # Below a parent of two names both lead to the same place.
        if other is module and not (place(one)[0] is parent and place(one)[1] == last)
    ]
    if others:
        raise UserError(
            f"layer '{name}' is also '{others[0]}', which would stay as it is: take a copy for one", "layer"
        )


@torch.no_grad()
def _take_statistics(new: ConceptWhitening, old: Any) -> None:
    """Begin with what the old layer knew of its inputs."""
    if isinstance(old, Whitening):
        new.mean.copy_(old.mean)
        new.covariance.copy_(torch.block_diag(*old.covariance)[None])
        new.samples.copy_(old.samples)
        new.batches.copy_(old.batches)
    elif getattr(old, "running_mean", None) is not None and getattr(old, "running_var", None) is not None:
        new.mean.copy_(old.running_mean)
        new.covariance.copy_(torch.diag(old.running_var)[None])
