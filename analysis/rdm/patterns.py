"""Activations of any kind as matrices, checked in one place."""

import warnings

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor


def matrix(patterns: Tensor | ArrayLike, least: int = 3, features: int = 1, name: str = "") -> Tensor:
    """Activations (n, ...) as a matrix (n, p) of float32 or float64.

    Args:
        patterns: tensors stay on their device; whole numbers become float64, half precision float32.
        least: stimuli.
        features: of a stimulus, at least.
        name: of the representation, for errors.

    Raises:
        ValueError: too few stimuli or features, or entries that are not finite real numbers; names the first stimulus.

    Example:
        >>> matrix(np.ones((3, 2, 2), dtype=np.float16)).shape
        torch.Size([3, 4])
    """
    of = f"the {name} representation: " if name else ""
    if not isinstance(patterns, Tensor):
        array = np.asarray(patterns)
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{of}patterns of real numbers are needed, got {array.dtype}")
        kind = array.dtype.kind == "f" and array.dtype.itemsize <= 8
        # torch takes native arrays without negative strides.
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=") if kind else np.float64)
        with warnings.catch_warnings():
            # It is read, never written.
            warnings.filterwarnings("ignore", message=".*not writable.*")
            patterns = torch.from_numpy(array)
    x = patterns.detach()
    if x.is_complex():
        raise ValueError(f"{of}patterns of real numbers are needed, got {x.dtype}")
    if x.ndim < 2 or len(x) < least or x[0].numel() < features:
        needed = f"at least {least} stimuli" + (f" with {features} features" if features > 1 else "")
        raise ValueError(f"{of}{needed} are needed, got shape {tuple(x.shape)}")
    x = x.reshape(len(x), -1)
    x = x.to(torch.promote_types(x.dtype, torch.float32)) if x.is_floating_point() else x.double()
    # What is not finite shows in the extremes; they need no copy.
    low, high = x.aminmax(dim=1)
    finite = torch.isfinite(low) & torch.isfinite(high)
    if not finite.all():
        raise ValueError(f"{of}the pattern of stimulus {int((~finite).nonzero()[0])} is not finite")
    return x
