"""Which modules are normalisation layers."""

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

# All of torch: batch and instance normalisation share a base.
NORMALISATIONS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def is_normalisation(module: nn.Module) -> bool:
    """Whether a module is a normalisation layer of torch, or says so by an attribute ``is_normalisation = True``.

    Example:
        >>> is_normalisation(nn.LayerNorm(3)), is_normalisation(nn.Linear(3, 3))
        (True, False)
    """
    return isinstance(module, NORMALISATIONS) or getattr(module, "is_normalisation", False) is True


def drifts(module: nn.Module) -> bool:
    """Whether a module moves old outputs beside the weights of layers.

    A normalisation does, and what says so by an attribute ``drifts = True``: neurons whose threshold is trained.

    Example:
        >>> drifts(nn.LayerNorm(3)), drifts(nn.Linear(3, 3))
        (True, False)
    """
    return is_normalisation(module) or getattr(module, "drifts", False) is True
