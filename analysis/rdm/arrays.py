"""The gate by which arrays of users come in: numpy, torch, pandas, scipy or lists, used by their values or refused.

What is refused is refused by one line that names the argument. Half precision, whole numbers and booleans count as what
they stand for; tensors are read without their gradients, sparse ones whole. Refused are complex numbers, text, objects,
ragged lists, tensors without values (meta), and masked entries where missing ones have no meaning.
"""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.core.errors import UserError, one_line

if TYPE_CHECKING:
    from torch import Tensor

Matrix = NDArray[np.float64]


def numbers(values: Tensor | ArrayLike, name: str, missing: bool = False) -> Matrix:
    """Real numbers of any kind as float64; what is float64 already is not copied.

    Args:
        values: the array.
        name: of the argument, for errors.
        missing: entries may be missing: NaN, masked, or NA in pandas; they become NaN.

    Raises:
        UserError: what real refuses.

    Example:
        >>> numbers([[1, 2], [3, 4]], "x")
        array([[1., 2.],
               [3., 4.]])
        >>> numbers(np.ma.masked_invalid([1.0, np.nan]), "rdms", missing=True)
        array([ 1., nan])
    """
    found = real(values, name, missing)
    with np.errstate(over="ignore"):
        return found.astype(np.float64, copy=False)


def finite(values: Tensor | ArrayLike, name: str) -> Matrix:
    """As numbers, without NaN and infinities.

    Raises:
        UserError: what real refuses, or an entry that is not finite; says where.

    Example:
        >>> finite([1.0, float("inf")], "x")
        Traceback (most recent call last):
        ...
        orthotrace.core.errors.UserError: x: entry 1 is inf: finite numbers are needed
    """
    found = numbers(values, name)
    if not np.isfinite(found).all():
        place = tuple(int(one[0]) for one in np.nonzero(~np.isfinite(found)))
        shown = place[0] if len(place) == 1 else place
        raise UserError(f"entry {shown} is {found[place]}: finite numbers are needed", name)
    return found


def real(values: Tensor | ArrayLike, name: str, missing: bool = False) -> NDArray[Any]:
    """An array of real numbers in its own type, without a copy where possible; for the rest see numbers.

    Raises:
        UserError: not real numbers, ragged, without values, or masked.

    Example:
        >>> real(["a", "b"], "x")
        Traceback (most recent call last):
        ...
        orthotrace.core.errors.UserError: x: real numbers are needed, got text (<U1)
    """
    try:
        found = np.asarray(_plain(values, name, missing))
    except UserError:
        raise
    # Whatever a foreign class or torch says of what cannot be an array.
    except Exception as error:
        raise _no_array(error, name) from error
    if found.dtype.kind not in "biuf":
        kinds = {"c": "complex numbers", "O": "objects", "U": "text", "S": "text", "M": "dates", "m": "durations"}
        raise UserError(f"real numbers are needed, got {kinds.get(found.dtype.kind, 'records')} ({found.dtype})", name)
    return found


def labels(values: Any, name: str, number: int | None = None, what: str = "stimuli") -> NDArray[Any]:
    """Labels of things, (n,): numbers or text.

    Args:
        values: the labels.
        name: of the argument, for errors.
        number: of things; None for any.
        what: they are.

    Raises:
        UserError: masked or missing labels, or not one of each thing.

    Example:
        >>> labels(["b", "a"], "labels", 2)
        array(['b', 'a'], dtype='<U1')
    """
    found = described(values, name)
    if found.ndim != 1 or (number is not None and len(found) != number):
        raise UserError(f"{number} {what} and labels of shape {found.shape}: give one of each", name)
    if any(one is None or one != one for one in found.tolist()):
        raise UserError("some are missing (None, NaN or NA): give one of each", name)
    return found


def described(values: Any, name: str) -> NDArray[Any]:
    """Anything of things, such as labels or times, as an array.

    Raises:
        UserError: masked or ragged.
    """
    try:
        return np.asarray(_plain(values, name, missing=False, anything=True))
    except UserError:
        raise
    except Exception as error:
        raise _no_array(error, name) from error


def kinds_of(found: NDArray[Any], name: str) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The different labels in sorted order, and the place of each label among them.

    Raises:
        UserError: labels without an order, such as numbers and text.

    Example:
        >>> kinds_of(np.array(["b", "a", "b"]), "labels")[1]
        array([1, 0, 1])
    """
    try:
        kinds, which = np.unique(found, return_inverse=True)
    except TypeError as error:
        raise UserError("labels of one kind are needed, all numbers or all text", name) from error
    return kinds, which


def flags(values: Any, name: str) -> NDArray[np.bool_]:
    """True or false, of any shape, also as 1 and 0.

    Raises:
        UserError: what real refuses, or another number.

    Example:
        >>> flags([1, 0], "has")
        array([ True, False])
    """
    found = real(values, name)
    if not np.isin(found, (0, 1)).all():
        raise UserError("true or false is needed for each", name)
    return found.astype(bool)


def index_of(values: Any) -> Any:
    """The index of a pandas frame or series; None of all else."""
    pandas = sys.modules.get("pandas")
    known = pandas is not None and isinstance(values, (pandas.DataFrame, pandas.Series))
    return values.index if known else None


def is_plain(index: Any) -> bool:
    """Whether an index but counts the rows: 0, 1, 2, ..."""
    from pandas import RangeIndex

    return index.equals(RangeIndex(len(index)))


def same_index(**given: Any) -> None:
    """Refuse frames and series of pandas whose rows are labelled otherwise, or alike in another order.

    Arrays, and frames whose index but counts their rows, are taken in their own order.

    Raises:
        UserError: names both arguments.
    """
    found = {name: index for name, one in given.items() if (index := index_of(one)) is not None}
    for (first, one), (name, other) in itertools.combinations(found.items(), 2):
        if len(one) != len(other) or one.equals(other):
            continue
        # Rows that are counted may be those of any names, but not those of a shuffled frame.
        counted = is_plain(one) or is_plain(other)
        if not counted or set(one) == set(other):
            raise UserError(
                f"its index is not that of {first}, or in another order: align them, or give both by .to_numpy()", name
            )


def unit_of(values: NDArray[Any], low: float = 1e-50, high: float = 1e50) -> float:
    """What to divide by, so that squares and sums stay numbers: 1 within the bounds, else the largest entry in size.

    Example:
        >>> unit_of(np.array([3.0, -4.0])), unit_of(np.array([3e200, -4e200])), unit_of(np.zeros(2))
        (1.0, 4e+200, 1.0)
    """
    largest = float(max(values.max(), -values.min())) if values.size else 0.0
    return 1.0 if low < largest < high or largest == 0 else largest


def representable(found: Any, name: str) -> Any:
    """What was computed of finite numbers, where it is finite itself.

    Raises:
        UserError: it overflows.
    """
    if not np.isfinite(found).all():
        raise UserError("what is computed of entries of this size is too large a number: scale them", name)
    return found


def scaled_back(found: Any, unit: float, power: int, name: str) -> Any:
    """A result from units of the largest entry in its own: times the unit to a power.

    Raises:
        UserError: it overflows, or an entry that is not 0 underflows to 0.

    Example:
        >>> scaled_back(np.array([0.0, 2.0]), 10.0, 2, "x")
        array([  0., 200.])
    """
    if unit == 1:
        return found
    with np.errstate(over="ignore", under="ignore"):
        result = found * unit if power == 1 else found * unit * unit
    if not np.isfinite(result).all() or ((result == 0) & (np.asarray(found) != 0)).any():
        raise UserError(f"squares of entries of {unit:.3g} overflow or underflow: scale them", name)
    return result


def is_symmetric(values: Matrix) -> bool:
    """Whether a matrix is square, and symmetric but for rounding.

    Example:
        >>> is_symmetric(np.array([[0.0, 1e-30], [2e-30, 0.0]]))
        False
    """
    if values.ndim != 2 or values.shape[0] != values.shape[1] or not values.size:
        return False
    unit = float(np.abs(values).max()) or 1.0
    return bool(np.abs(values / unit - values.T / unit).max() <= 1e-8)


def strided(values: Tensor, name: str) -> Tensor:
    """A tensor of real numbers that has values, whole and without gradients; on its device, in its type.

    Raises:
        UserError: names what it is instead.
    """
    import torch

    x = values.detach()
    if type(values).__name__ == "MaskedTensor":
        raise UserError("is a masked tensor: fill in what is masked, or leave it out", name)
    if x.is_complex():
        raise UserError(f"real numbers are needed, got complex numbers ({x.dtype})", name)
    if x.is_meta:
        raise UserError("is on the meta device, where tensors have no values: move the computation to a real one", name)
    if x.is_nested:
        raise UserError("is ragged (a nested tensor): pad it, or give one array for each", name)
    if x.dtype in (torch.uint16, torch.uint32, torch.uint64):
        # torch can do little with these.
        x = x.double() if x.dtype == torch.uint64 else x.long()
    if x.is_floating_point() and x.itemsize == 1:
        x = x.float()
    if x.is_quantized:
        x = x.dequantize()
    return (x if x.layout == torch.strided else x.to_dense()).resolve_neg()


def is_tensor(values: Any) -> bool:
    """Whether it is of torch, which is not imported for what comes without it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(values, torch.Tensor)


def _plain(values: Any, name: str, missing: bool, anything: bool = False) -> Any:
    """What numpy reads rightly: without tensors, masks and frames, also within lists; labels may be anything."""
    if is_tensor(values):
        return _of_tensor(values, name)
    if isinstance(values, np.ma.MaskedArray):
        if not np.ma.getmaskarray(values).any():
            return values.data
        if not missing:
            raise UserError("has masked entries: fill them in, or leave out what is masked", name)
        return np.ma.filled(values.astype(np.float64), np.nan)
    if isinstance(values, np.ndarray):
        return values
    if isinstance(values, (list, tuple)):
        # Numbers and text need no look at each.
        if all(issubclass(kind, (int, float, str, np.generic)) for kind in set(map(type, values))):
            return values
        return [_plain(one, name, missing, anything) for one in values]
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(values, (pandas.DataFrame, pandas.Series)):
        return np.asarray(values) if anything else _of_frame(values, name)
    if "scipy.sparse" in sys.modules and sys.modules["scipy.sparse"].issparse(values):
        return values.toarray()
    return values


def _of_tensor(values: Tensor, name: str) -> NDArray[Any]:
    import torch

    x = strided(values, name).cpu()
    # numpy has neither bfloat16 nor floats of 8 bits.
    small = x.is_floating_point() and x.dtype not in (torch.float16, torch.float32, torch.float64)
    return (x.float() if small else x).numpy()


def _of_frame(values: Any, name: str) -> NDArray[Any]:
    """A frame or series by its values; NA, which pandas has for whole numbers too, as NaN."""
    from pandas.api.types import is_bool_dtype, is_complex_dtype, is_numeric_dtype

    columns = [("", values.dtype)] if values.ndim == 1 else values.dtypes.items()
    for column, kind in columns:
        if is_complex_dtype(kind) or not (is_numeric_dtype(kind) or is_bool_dtype(kind)):
            of = "" if values.ndim == 1 else f"column '{column}': "
            raise UserError(f"{of}real numbers are needed, got {kind}", name)
    kinds = {kind for _, kind in columns}
    same = len(kinds) == 1 and isinstance(next(iter(kinds)), np.dtype)
    return values.to_numpy() if same else values.to_numpy(dtype=np.float64, na_value=np.nan)


def _no_array(error: BaseException, name: str) -> UserError:
    ragged = "inhomogeneous" in str(error) or "same size" in str(error) or "could not broadcast" in str(error)
    return UserError("is ragged: rows of one length are needed" if ragged else f"is no array: {one_line(error)}", name)
