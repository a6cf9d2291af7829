"""One array in every kind in which users have it: those that stand for the same numbers, and those that are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import sparse

Make = Callable[[np.ndarray], Any]


def read_only(x: np.ndarray) -> np.ndarray:
    found = x.copy()
    found.flags.writeable = False
    return found


def strided(x: np.ndarray) -> np.ndarray:
    found = np.full([2 * size for size in x.shape], np.nan)
    at = tuple(slice(None, None, 2) for _ in x.shape)
    found[at] = x
    return found[at]


def backwards(x: np.ndarray) -> np.ndarray:
    return np.flip(np.flip(x).copy())


def frame(x: np.ndarray) -> Any:
    return pd.Series(x) if x.ndim == 1 else pd.DataFrame(x, columns=[f"c{number}" for number in range(x.shape[1])])


def nullable(x: np.ndarray) -> Any:
    return frame(x).astype("Float64")


def negated(x: np.ndarray) -> torch.Tensor:
    """The imaginary part of a conjugate, which torch negates when it is read."""
    return torch.complex(torch.zeros(x.shape, dtype=torch.float64), torch.tensor(-x)).conj().imag


def with_entry(value: Any) -> Make:
    def make(x: np.ndarray) -> Any:
        found = x.astype(object if isinstance(value, (str, type(None))) else x.dtype)
        found.flat[1] = value
        return found

    return make


def masked(x: np.ndarray) -> np.ma.MaskedArray:
    mask = np.zeros(x.shape, dtype=bool)
    mask.flat[1] = True
    return np.ma.array(np.where(mask, 1e6, x), mask=mask)


def ragged(x: np.ndarray) -> Any:
    rows = x.tolist()
    return [*rows, rows[0][:-1]] if x.ndim > 1 else [rows, rows[:-1]]


# The same numbers.
SAME: dict[str, Make] = {
    "list": lambda x: x.tolist(),
    "tuple": lambda x: tuple(x.tolist()),
    "list of arrays": list,
    "list of tensors": lambda x: [torch.tensor(one, requires_grad=True) for one in x],
    "Fortran order": np.asfortranarray,
    "not contiguous": strided,
    "negative strides": backwards,
    "read-only": read_only,
    "big-endian": lambda x: x.astype(">f8"),
    "long double": lambda x: x.astype(np.longdouble),
    "not masked": lambda x: np.ma.array(x),
    "frame": frame,
    "nullable frame": nullable,
    "tensor": torch.tensor,
    "tensor with gradient": lambda x: torch.tensor(x, requires_grad=True),
    "parameter": lambda x: torch.nn.Parameter(torch.tensor(x)),
    "tensor, not contiguous": lambda x: torch.tensor(np.moveaxis(x, 0, -1).copy()).movedim(-1, 0),
    "tensor, negated": negated,
    "tensor, expanded": lambda x: torch.tensor(np.stack([x, x]))[1],
    "sparse tensor": lambda x: torch.tensor(x).to_sparse(),
    "scipy sparse": lambda x: sparse.csr_array(x) if x.ndim == 2 else x,
    "matrix": lambda x: np.asmatrix(x) if x.ndim == 2 else x,
}
# Numbers that this kind rounds; right is the answer for what it has.
ROUNDED: dict[str, Make] = {
    "float32": lambda x: x.astype(np.float32),
    "float16": lambda x: x.astype(np.float16),
    "float32 tensor": lambda x: torch.tensor(x, dtype=torch.float32),
    "float16 tensor": lambda x: torch.tensor(x, dtype=torch.float16),
    "bfloat16 tensor": lambda x: torch.tensor(x, dtype=torch.bfloat16),
    "float8 tensor": lambda x: torch.tensor(x, dtype=torch.float32).to(torch.float8_e4m3fn),
    "int64": lambda x: np.round(5 * x).astype(np.int64),
    "int32 tensor": lambda x: torch.tensor(np.round(5 * x), dtype=torch.int32),
    "uint8": lambda x: np.abs(np.round(5 * x)).astype(np.uint8),
    "uint16 tensor": lambda x: torch.tensor(np.abs(np.round(5 * x)).astype(np.uint16)),
    "bool": lambda x: x > 0.3,
    "bool tensor": lambda x: torch.tensor(x > 0.3),
    "nullable whole frame": lambda x: frame(np.round(5 * x)).astype("Int64"),
}
# One line each.
REFUSED: dict[str, Make] = {
    "complex": lambda x: x + 1j,
    "complex tensor": lambda x: torch.tensor(x + 1j),
    "text": lambda x: x.astype(str),
    "bytes": lambda x: x.astype("S8"),
    "objects": with_entry(None),
    "text in it": with_entry("a"),
    "dates": lambda x: np.abs(x).astype("datetime64[s]"),
    "records": lambda x: np.zeros(x.shape, dtype=[("a", float)]),
    "ragged": ragged,
    "nested tensor": lambda x: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
    "meta tensor": lambda x: torch.empty(x.shape, device="meta"),
    "infinite": with_entry(np.inf),
    "minus infinity": with_entry(-np.inf),
    "infinite tensor": lambda x: torch.tensor(with_entry(np.inf)(x)),
    "too large": lambda x: x.astype(np.longdouble) * np.longdouble(10) ** 400,
    "0-d": lambda x: np.array(1.0),
    "a number": lambda x: 1.0,
    "empty": lambda x: np.zeros((0, *x.shape[1:])),
    "empty list": lambda x: [],
    "nothing": lambda x: None,
    "a name": lambda x: "x",
    "a dictionary": lambda x: {"x": 1},
    "frame with text": lambda x: frame(x).astype(object) if x.ndim == 1 else frame(x).assign(c0="a"),
}
# One line each, but where entries may be missing.
MISSING: dict[str, Make] = {
    "NaN": with_entry(np.nan),
    "masked": masked,
    "list of masked": lambda x: list(masked(x)) if x.ndim > 1 else masked(x).tolist(),
    "NA": lambda x: frame(with_entry(np.nan)(x)).astype("Float64"),
}
