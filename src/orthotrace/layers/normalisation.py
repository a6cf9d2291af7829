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

    A normalisation does, and what says so by an attribute ``drifts = True``: neurons whose threshold is trained. So do
    normalisations of other libraries, by their names: LlamaRMSNorm, T5LayerNorm, with a gain and a shift alone.

    Example:
        >>> drifts(nn.LayerNorm(3)), drifts(nn.Linear(3, 3))
        (True, False)
    """
    return is_normalisation(module) or getattr(module, "drifts", False) is True or _named_so(module)


def _named_so(module: nn.Module) -> bool:
    """Whether a module is called a normalisation, and has what one has."""
    if not type(module).__name__.endswith(("RMSNorm", "LayerNorm")):
        return False
    if [*module.children(), *module.buffers()]:
        return False
    values = dict(module.named_parameters(recurse=False))
    return values.keys() <= {"weight", "bias"} and all(value.ndim <= 1 for value in values.values())
