"""External data: RDMs or activations of brains, behaviour or other networks, in a file."""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from orthotrace.analysis.networks.storage import HDF5, read_arrays, read_rdms
from orthotrace.analysis.rdm.arguments import whole
from orthotrace.analysis.rdm.arrays import numbers
from orthotrace.analysis.rdm.rdms import Measure, RDMs
from orthotrace.core.errors import UserError

Kind = Literal["rdms", "activations"]


def read_outside(
    path: Path | str, stimuli: int, kind: Kind | None = None, measure: str | Measure = "correlation"
) -> RDMs:
    """RDMs from a file, one or several, such as one for each subject.

    RDMs are upper triangles (m,) or (k, m) with m = n (n - 1) / 2, or whole matrices (n, n) or (k, n, n). An entry that
    is missing is NaN, as of a stimulus without an answer. Other arrays of n stimuli are activations (n, ...), of which
    the RDM is made; square ones only if kind says so. Files that orthotrace or rsatoolbox wrote say what they hold.

    Args:
        path: .safetensors, .npy, or rsatoolbox's .h5 or .hdf5.
        stimuli: n: the data are of the same stimuli, in the same order.
        kind: what the arrays are; None to decide by their shape.
        measure: of RDMs of activations, as for RDMs.of.

    Raises:
        UserError: a file that is missing, damaged or of another kind, an array of another number of stimuli, a matrix
            that is no RDM, one that may be either, or what the measure refuses.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "brain.npy"
        >>> np.save(file, np.random.default_rng(0).random((5, 45)))
        >>> found = read_outside(file, stimuli=10)
        >>> len(found), found.stimuli
        (5, 10)
    """
    path = Path(path)
    whole(stimuli, "stimuli", 3)
    if kind not in (None, "rdms", "activations"):
        raise UserError(f"rdms or activations (got {kind})", "kind")
    arrays = read_arrays(path)
    # Of any other file, an array may be called so by chance.
    written = path.suffix in HDF5 or (path.suffix == ".safetensors" and path.with_suffix(".json").is_file())
    if written and "dissimilarities" in arrays and kind != "activations":
        found = read_rdms(path)
        if found.stimuli != stimuli:
            raise UserError(f"{path} has RDMs of {found.stimuli} stimuli, not of {stimuli}")
        try:
            _usable(found.dissimilarities)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        return found
    parts, names = [], []
    for name, values in sorted(arrays.items()):
        where = path.name if path.suffix == ".npy" else f"{path.name}, array '{name}'"
        given = np.asarray(values)
        if given.dtype.kind not in "biuf":
            raise UserError(f"{where} has entries of type {given.dtype}, no numbers")
        try:
            part = _triangles(numbers(given, where), stimuli, kind)
            if part is None:
                part = RDMs.of(given, measure).dissimilarities
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
        parts.append(part)
        names += [name] if len(part) == 1 else [f"{name}[{number}]" for number in range(len(part))]
    return RDMs(np.concatenate(parts), None, {}, {"name": np.array(names)})


def _triangles(values: NDArray[np.float64], n: int, kind: Kind | None) -> NDArray[np.float64] | None:
    """Upper triangles (k, m); None where the array is activations; a UserError where it is neither, or may be both."""
    m = n * (n - 1) // 2
    shape = values.shape
    whole = values.ndim in (2, 3) and shape[-2:] == (n, n)
    triangles = shape == (m,) or (values.ndim == 2 and shape[1] == m)
    may_be_activations = values.ndim > 1 and shape[0] == n
    if kind == "activations":
        if not may_be_activations:
            raise UserError(f"activations ({n}, ...) are needed, got shape {shape}")
        return None
    if whole:
        stack = values.reshape(-1, n, n)
        if _are_rdms(stack):
            return _usable(stack[:, *np.triu_indices(n, 1)])
        if not triangles:
            way = "; of activations say so by kind" if may_be_activations and kind is None else ""
            raise UserError(f"of shape {shape}, but not symmetric with zeros on the diagonal: no RDM{way}")
    if triangles and may_be_activations and kind is None:
        raise UserError(f"of shape {shape}, it may be {n} RDMs or activations of {n} stimuli: say which by kind")
    if triangles:
        return _usable(np.atleast_2d(values))
    if kind == "rdms" or not may_be_activations:
        raise UserError(
            f"of shape {shape}, it is neither RDMs of {n} stimuli, ({m},), (k, {m}) or ({n}, {n}), nor activations "
            f"({n}, ...)"
        )
    return None


def _are_rdms(stack: NDArray[np.float64]) -> bool:
    """Whether matrices are symmetric with zeros on their diagonals, but for rounding."""
    size = float(np.nanmax(np.abs(stack), initial=0))
    own = np.abs(np.diagonal(stack, axis1=1, axis2=2))
    symmetric = np.allclose(stack, stack.transpose(0, 2, 1), rtol=0, atol=1e-6 * size, equal_nan=True)
    # Of a stimulus without any dissimilarity the diagonal is missing too.
    return bool(((own <= 1e-6 * size) | np.isnan(own)).all()) and symmetric


def _usable(rdms: NDArray[np.float64]) -> NDArray[np.float64]:
    if np.isinf(rdms).any():
        raise UserError("an RDM has infinite entries: NaN is for those that are missing")
    few = (~np.isnan(rdms)).sum(axis=1) < 3
    if few.any():
        raise UserError(f"RDM {int(np.argmax(few))} has fewer than three entries, the others are missing (NaN)")
    return rdms
