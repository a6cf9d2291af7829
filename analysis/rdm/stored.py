"""RDMs in files, as a stack of which comparisons read what they need: many more than fit into memory."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.rdm import memory
from orthotrace.analysis.rdm.arrays import numbers
from orthotrace.core.errors import UserError
from orthotrace.core.folders import cannot_write

Matrix = NDArray[np.float64]
# Numbers in files.
KIND = np.dtype("<f8")
# Entries at once, where all are looked at.
PART = 2**21


@dataclass(frozen=True)
class StoredRdm:
    """One upper triangle in a file.

    Attributes:
        path: of the file.
        offset: bytes before it.
        entries: its number of entries, (m,).
        folder: that goes with the last RDM in it; None where the file stays.
    """

    path: Path
    offset: int
    entries: int
    folder: memory.Scratch | None = field(default=None, repr=False, compare=False)

    def read(self, start: int = 0, stop: int | None = None) -> Matrix:
        """Some of its entries.

        Raises:
            UserError: the file is not what it was.
        """
        stop = self.entries if stop is None else min(stop, self.entries)
        try:
            found = np.fromfile(self.path, KIND, stop - start, offset=self.offset + KIND.itemsize * start)
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: the same command makes it again") from error
        if len(found) != stop - start:
            raise UserError(f"{self.path} is shorter than it was: the same command makes it again")
        return found.astype(np.float64, copy=False)


@dataclass(frozen=True, eq=False)
class StoredStack:
    """RDMs in files as a stack (k, m): parts of it are arrays, and np.asarray reads all, where they fit into memory.

    The comparisons of compare take it as any other stack. Those of RDMs as vectors read it part by part; the others say
    what they would need where that is too much.

    Attributes:
        rdms: where each is.

    Raises:
        UserError: none, or of several sizes.

    Example:
        >>> found = stored(iter([[1.0, 2.0, 4.0], [3.0, 1.0, 2.0]]))
        >>> found.shape, found[1], found[:, 1:]
        ((2, 3), array([3., 1., 2.]), array([[2., 4.],
               [1., 2.]]))
    """

    rdms: tuple[StoredRdm, ...]

    def __post_init__(self) -> None:
        sizes = {one.entries for one in self.rdms}
        if len(sizes) != 1:
            raise UserError(f"RDMs of one size are needed, got {sorted(sizes)} entries", "rdms")

    @property
    def shape(self) -> tuple[int, int]:
        """(k, m)."""
        return len(self.rdms), self.rdms[0].entries

    @property
    def ndim(self) -> int:
        """As that of an array."""
        return 2

    @property
    def size(self) -> int:
        """The number of all entries."""
        return self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return len(self.rdms)

    def __iter__(self) -> Iterator[Matrix]:
        return (one.read() for one in self.rdms)

    def __getitem__(self, key: Any) -> Any:
        """One RDM, (m,); some RDMs, as a stack in files; or some entries of all, (k, entries)."""
        if isinstance(key, tuple):
            rows, columns = key
            if rows != slice(None) or not isinstance(columns, slice):
                raise TypeError("of RDMs in files some entries of all are read")
            start, stop, _ = columns.indices(self.shape[1])
            found = np.empty((len(self), max(0, stop - start)))
            for one, into in zip(self.rdms, found, strict=True):
                into[:] = one.read(start, stop)
            return found
        if isinstance(key, (int, np.integer)):
            return self.rdms[key].read()
        chosen = self.rdms[key] if isinstance(key, slice) else tuple(self.rdms[place] for place in key)
        return StoredStack(chosen)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        memory.need(
            8 * self.size,
            f"to hold {len(self)} RDMs of {self.shape[1]} entries at once, which this takes,",
            "leave it out",
        )
        found = self[:, :]
        return found if dtype is None else found.astype(dtype, copy=False)

    def parts(self) -> Iterator[Matrix]:
        """All entries, some of one RDM at a time."""
        for one, start in itertools.product(self.rdms, range(0, self.shape[1], PART)):
            yield one.read(start, start + PART)

    def complete(self) -> bool:
        """Whether no entry is missing (NaN).

        Raises:
            UserError: entries that are infinite; names the first RDM.
        """
        whole = True
        for number, one in enumerate(self.rdms):
            for start in range(0, one.entries, PART):
                found = one.read(start, start + PART)
                if np.isinf(found).any():
                    raise UserError(f"RDM {number} has entries that are not finite", "rdms")
                whole = whole and not np.isnan(found).any()
        return whole


Stack: TypeAlias = "Matrix | StoredStack"


def stored(rdms: ArrayLike | Iterable[ArrayLike], folder: Path | str | None = None) -> StoredStack:
    """RDMs written to files as they come, so that one is held at a time.

    Args:
        rdms: upper triangles, (m,) each, as an iterator gives them; or a stack. Missing entries are NaN.
        folder: that is made, of files rdm0.npy and so on, which stay there; None for a folder of the system, or that of
            memory.within, until the stack is let go of.

    Returns:
        The stack (k, m).

    Raises:
        UserError: no RDMs, of several sizes, not of numbers or of infinite ones, or a disk that is full.

    Example:
        >>> from orthotrace.analysis.rdm import compare
        >>> compare.spearman(stored([[1.0, 2.0, 9.0], [1.0, 3.0, 2.0]])).round(6)
        array([[1. , 0.5],
               [0.5, 1. ]])
    """
    each: Iterable[Any] = rdms if isinstance(rdms, (Iterator, list, tuple)) else _stack(rdms)
    found, place = [], Path(tempfile.gettempdir() if folder is None else folder)
    try:
        own = memory.Scratch() if folder is None else None
        place = place if own is None else own.path
        place.mkdir(parents=True, exist_ok=True)
        for one in each:
            found.append(_written(place / f"rdm{len(found)}.npy", numbers(one, "rdms", missing=True), own))
            # Not while the next one is made.
            del one
    except OSError as error:
        raise cannot_write(place, error) from error
    if not found:
        raise UserError("no RDMs are given", "rdms")
    return StoredStack(tuple(found))


def _stack(rdms: Any) -> Matrix:
    """Of any kind: frames would give their columns."""
    found = numbers(rdms, "rdms", missing=True)
    if found.ndim != 2:
        raise UserError(f"a stack (k, m) of upper triangles of RDMs is needed, got shape {found.shape}", "rdms")
    return found


def _written(path: Path, rdm: Matrix, folder: memory.Scratch | None) -> StoredRdm:
    if rdm.ndim != 1:
        raise UserError(f"an upper triangle (m,) is needed, got shape {rdm.shape}", "rdms")
    if np.isinf(rdm).any():
        raise UserError(f"{path.stem} has entries that are not finite", "rdms")
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": KIND.str, "fortran_order": False, "shape": rdm.shape})
        offset = file.tell()
        rdm.astype(KIND, copy=False).tofile(file)
    return StoredRdm(path, offset, len(rdm), folder)


class StoredByName(MutableMapping[str, Matrix]):
    """Name -> RDM, each in a file: what is set is written, what is asked for is read.

    Args:
        rdms: where those are that there are already.

    Example:
        >>> found = StoredByName()
        >>> found["fc1"] = np.array([1.0, 2.0, 4.0])
        >>> found["fc1"], list(found), found.files["fc1"].entries
        (array([1., 2., 4.]), ['fc1'], 3)
    """

    def __init__(self, rdms: Mapping[str, StoredRdm] | None = None) -> None:
        self.files = dict(rdms or {})

    def __getitem__(self, name: str) -> Matrix:
        return self.files[name].read()

    def __setitem__(self, name: str, rdm: Matrix) -> None:
        self.files[name] = stored([rdm]).rdms[0]

    def __delitem__(self, name: str) -> None:
        del self.files[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def __contains__(self, name: object) -> bool:
        return name in self.files


def some(rdms: Mapping[str, Matrix], names: Iterable[str]) -> MutableMapping[str, Matrix]:
    """Those of some names that are there; of files none is read.

    Example:
        >>> list(some({"a": np.ones(3), "b": np.ones(3)}, ["b", "c"]))
        ['b']
    """
    if isinstance(rdms, StoredByName):
        return StoredByName({name: rdms.files[name] for name in names if name in rdms})
    return {name: rdms[name] for name in names if name in rdms}


def together(rdms: Iterable[tuple[Mapping[str, Matrix], str]]) -> Any:
    """RDMs by their names in several mappings, as a stack: see stacked.

    Example:
        >>> together([({"a": np.ones(3)}, "a"), ({"a": np.zeros(3)}, "a")])
        array([[1., 1., 1.],
               [0., 0., 0.]])
    """
    return stacked([of.files[name] if isinstance(of, StoredByName) else of[name] for of, name in rdms])


def stacked(rdms: Sequence[StoredRdm | ArrayLike]) -> Any:
    """RDMs as a stack: in files where all are, else in memory.

    Example:
        >>> stacked([np.array([1.0, 2.0, 3.0]), np.array([2.0, 1.0, 3.0])]).shape
        (2, 3)
    """
    files = [one for one in rdms if isinstance(one, StoredRdm)]
    if len(files) == len(rdms):
        return StoredStack(tuple(files))
    return np.stack([one.read() if isinstance(one, StoredRdm) else np.asarray(one) for one in rdms])
