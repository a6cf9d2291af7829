"""Activations of any kind as matrices, checked in one place."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from orthotrace.analysis.rdm.arrays import real, strided
from orthotrace.core.errors import UserError, one_line

# Entries above which float32 stays what it is: twice as fast, in half of the memory, to some six digits.
LARGE = 2**21


class UndefinedPatternsError(UserError):
    """Patterns of which a measure is undefined, such as the correlation of a constant one.

    Args:
        stimuli: their places.
        why: it is undefined.
    """

    def __init__(self, stimuli: Sequence[int], why: str) -> None:
        super().__init__(f"the pattern of stimulus {stimuli[0]} {why}")
        self.stimuli = list(stimuli)
        self.why = why


def matrix(
    patterns: Tensor | ArrayLike,
    least: int = 3,
    features: int = 1,
    name: str = "",
    key: str = "patterns",
    missing: bool = False,
) -> Tensor:
    """Activations (n, ...) as a matrix (n, p) of float64; of more than two million entries in float32, if they are.

    Args:
        patterns: of any kind that arrays.real takes; tensors stay on their device. Half precision counts as float32.
        least: stimuli.
        features: of a stimulus, at least.
        name: of the representation, for errors.
        key: name of the argument, likewise.
        missing: entries may be missing: they are NaN.

    Raises:
        UserError: too few stimuli or features, what arrays.real refuses, or entries that are not finite; names the
            first stimulus.

    Example:
        >>> matrix(np.ones((3, 2, 2), dtype=np.float16)).shape
        torch.Size([3, 4])
    """
    of = f"the {name} representation: " if name else ""
    try:
        # A tensor stays on its device.
        x = strided(patterns, key) if isinstance(patterns, Tensor) else _tensor(real(patterns, key, missing))
    except RuntimeError as error:
        raise UserError(f"is no array: {one_line(error)}", key) from error
    if x.ndim < 2 or len(x) < least or x[0].numel() < features:
        needed = f"at least {least} stimuli" + (f" with {features} features" if features > 1 else "")
        raise UserError(f"{of}{needed} are needed, got shape {tuple(x.shape)}", key)
    x = x.reshape(len(x), -1)
    small = x.is_floating_point() and x.dtype != torch.float64
    x = x.to(torch.float32 if small and x.numel() > LARGE else torch.float64)
    # What is not finite shows in the extremes; they need no copy.
    there = torch.nan_to_num(x, nan=0.0, posinf=torch.inf, neginf=-torch.inf) if missing else x
    finite = torch.isfinite(there.amax(1)) & torch.isfinite(there.amin(1))
    if not finite.all():
        raise UserError(f"{of}the pattern of stimulus {int((~finite).nonzero()[0])} is not finite", key)
    return x


def with_gaps(
    patterns: Tensor | ArrayLike, missing: bool, features: int = 1, key: str = "patterns"
) -> NDArray[np.float64] | None:
    """Patterns that miss channels, if they may and do."""
    if not missing:
        return None
    x = matrix(patterns, features=features, key=key, missing=True).double().cpu().numpy()
    return x if np.isnan(x).any() else None


def _tensor(array: NDArray[Any]) -> Tensor:
    kind = array.dtype.kind == "f" and array.dtype.itemsize <= 8
    with warnings.catch_warnings(), np.errstate(over="ignore"):
        # torch takes native arrays without negative strides.
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=") if kind else np.float64)
        # It is read, never written.
        warnings.filterwarnings("ignore", message=".*not writable.*")
        return torch.from_numpy(array)
