"""Copies of parametrised layers that share nothing with the original.

torch puts the property that computes a parametrised weight into a class made for the layer, and lets deep copies share
that class: what is registered on one, or removed from it, is so for all.
"""

import copy
from typing import Any

from torch import nn
from torch.nn.utils import parametrize


def own_class(layer: nn.Module) -> None:
    """Give a layer that is parametrised a class that no copy of it shares.

    Example:
        >>> layer = parametrize.register_parametrization(nn.Linear(2, 2), "weight", nn.Softplus())
        >>> other = copy.deepcopy(layer)
        >>> own_class(other)
        >>> type(other) is type(layer), type(other).__name__
        (False, 'ParametrizedLinear')
    """
    if parametrize.is_parametrized(layer):
        kind: Any = type(layer)
        layer.__class__ = type(kind.__name__, kind.__bases__, dict(vars(kind)))


def copied_apart(layer: Any, memo: dict[int, Any], **instead: Any) -> Any:
    """As ``__deepcopy__`` of a layer: the copy has a class of its own where it is parametrised.

    Args:
        layer: that is copied.
        memo: of deepcopy.
        **instead: attributes of the copy.

    Example:
        >>> layer = parametrize.register_parametrization(nn.Linear(2, 2), "weight", nn.Softplus())
        >>> type(copied_apart(layer, {})) is type(layer)
        False
    """
    kind: Any = type(layer)
    copied = kind.__new__(kind)
    memo[id(layer)] = copied
    copied.__dict__.update(copy.deepcopy({**layer.__dict__, **instead}, memo))
    own_class(copied)
    return copied
