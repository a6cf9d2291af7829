"""Recordings of event cameras: which pixel became brighter or darker, and when."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from orthotrace.core.errors import UserError, one_line

# How the addresses of AEDAT files are read: functions of tonic.io.
Camera = Literal["dvs_128", "dvs_ibm", "dvs_red", "davis_346", "dvs_346mini"]
Windows = Literal["time", "count"]
SUFFIXES = (".bin", ".npy", ".npz", ".h5", ".hdf5", ".aedat")
# Names of the address, the time and the polarity in files that name them.
FIELDS = ("x", "y", "t", "p")
# An event of this row says that the clock of the camera has turned over, which happens every so many microseconds.
OVERFLOW_ROW, OVERFLOW = 240, 2**13
# Whole numbers up to here are addresses of a camera.
LARGEST = 4096


@dataclass(frozen=True)
class Recording:
    """Events in the order of their times.

    Attributes:
        x: columns, (n,), from 0.
        y: rows, (n,), from 0.
        t: times, (n,), whole numbers, mostly microseconds.
        p: 1 where the pixel became brighter, 0 where darker, (n,).
    """

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    t: NDArray[np.int64]
    p: NDArray[np.int64]

    @classmethod
    def of(cls, x: Any, y: Any, t: Any, p: Any) -> Recording:
        """From arrays of whole numbers; polarities may be 0 and 1, or -1 and 1.

        Raises:
            UserError: no events, arrays of other shapes or values.

        Example:
            >>> Recording.of([3, 1], [0, 2], [20, 10], [-1, 1]).x
            array([1, 3])
        """
        given = {name: np.asarray(one) for name, one in zip(FIELDS, (x, y, t, p), strict=True)}
        first = given["x"].shape
        for name, one in given.items():
            if one.ndim != 1 or one.shape != first:
                raise UserError(f"{name} has the shape {one.shape}, x {first}: one number for each event is needed")
            if one.dtype != bool and not (np.isfinite(one).all() and (one == np.round(one)).all()):
                raise UserError(f"{name} has values that are no whole numbers")
        if not first[0]:
            raise UserError("there are no events")
        for name in ("x", "y"):
            if given[name].min() < 0 or given[name].max() >= LARGEST:
                raise UserError(f"{name} has values out of 0 to {LARGEST - 1}")
        if not set(np.unique(given["p"]).tolist()) <= {-1, 0, 1}:
            raise UserError("p has values other than 0 and 1, or -1 and 1")
        order = np.argsort(given["t"], kind="stable")
        whole = {name: one.astype(np.int64)[order] for name, one in given.items()}
        return cls(whole["x"], whole["y"], whole["t"], (whole["p"] > 0).astype(np.int64))

    @property
    def size(self) -> tuple[int, int]:
        """The least (height, width) that has all events."""
        return int(self.y.max()) + 1, int(self.x.max()) + 1

    def frames(self, steps: int, size: tuple[int, int], windows: Windows = "time") -> NDArray[np.uint8]:
        """How many events each pixel had in each window of time; every event is in one.

        Args:
            steps: number of windows.
            size: (height, width) of the camera.
            windows: of equal length in time, or with equal counts of events (up to one).

        Returns:
            (2 steps, height, width): the darker, then the brighter of the first window, of the second, and so on; at
            most 255 of each.

        Example:
            >>> recording = Recording.of(x=[0, 1, 1], y=[0, 0, 0], t=[0, 5, 9], p=[1, 0, 1])
            >>> recording.frames(2, (1, 2))[:, 0].tolist()
            [[0, 0], [1, 0], [0, 1], [0, 1]]
        """
        if windows == "time":
            # As integers: the last event is in the last window.
            start, length = self.t[0], self.t[-1] - self.t[0] + 1
            window = (self.t - start) * steps // length
        else:
            window = np.arange(len(self.t)) * steps // len(self.t)
        places = ((2 * window + self.p) * size[0] + self.y) * size[1] + self.x
        counts = np.bincount(places, minlength=2 * steps * size[0] * size[1])
        return counts.clip(max=255).astype(np.uint8).reshape(2 * steps, *size)


def read_recording(path: Path, camera: Camera | None = None) -> Recording:
    """Read the events of one file.

    Args:
        path: .bin as N-MNIST has them; .npy, a structured array with the fields x, y, t, p; .npz or HDF5 with arrays of
            these names, in HDF5 at the top or in the group "events"; .aedat, which tonic reads where it is installed.
        camera: of an .aedat file.

    Raises:
        UserError: a file that cannot be read, or holds no events; names it.
    """
    try:
        return Recording.of(*_arrays(path, camera))
    except UserError as error:
        raise UserError(f"{path}: {error.message}", error.key or "path") from error
    except Exception as error:  # a damaged file makes each library raise something else
        raise UserError(f"{path} cannot be read: {one_line(error)}", "path") from error


def _arrays(path: Path, camera: Camera | None) -> list[Any]:
    suffix = path.suffix.lower()
    if suffix == ".bin":
        return _nmnist(path)
    if suffix == ".npy":
        found = np.load(path, allow_pickle=False)
        if set(FIELDS) - set(found.dtype.names or ()):
            raise UserError("a structured array with the fields x, y, t and p is needed")
        return [found[name] for name in FIELDS]
    if suffix == ".npz":
        # Of a damaged file numpy would leave it open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return _named(archive)
    if suffix == ".aedat":
        return _by_tonic(path, camera)
    h5py = _installed("h5py", "HDF5")
    with h5py.File(path, "r") as file:
        return [one[()] for one in _named(file.get("events", file))]


def _named(found: Any) -> list[Any]:
    missing = [name for name in FIELDS if name not in found]
    if missing:
        raise UserError(f"there is no array {missing[0]}: {', '.join(FIELDS)} are needed")
    return [found[name] for name in FIELDS]


def _nmnist(path: Path) -> list[Any]:
    """Five bytes an event: the column, the row, the polarity in one bit, the time in 23."""
    raw = np.fromfile(path, dtype=np.uint8)
    if len(raw) % 5:
        raise UserError(f"{len(raw)} bytes are no whole number of events of five bytes")
    x, y, high, middle, low = raw.reshape(-1, 5).T.astype(np.int64)
    turned = y == OVERFLOW_ROW
    t = ((high & 127) << 16 | middle << 8 | low) + OVERFLOW * np.cumsum(turned)
    return [one[~turned] for one in (x, y, t, high >> 7)]


def _by_tonic(path: Path, camera: Camera | None) -> list[Any]:
    if camera is None:
        raise UserError("the camera of .aedat files must be told, such as dvs_128", "camera")
    # Some readers give the time of the start too.
    *_, events = getattr(_installed("tonic.io", "AEDAT"), f"read_{camera}")(str(path))
    _check_length(path, len(events))
    return [events[name] for name in FIELDS]


def _check_length(path: Path, count: int) -> None:
    """Events of version 2 take eight bytes each; tonic takes some for lines of the header, see findings/.

    Raises:
        UserError: there are more, or other ones, in the file.
    """
    content = path.read_bytes()
    if not content.startswith(b"#!AER-DAT2"):
        return
    start = 0
    while content[start : start + 1] == b"#" and (end := content.find(b"\n", start)) > 0 and content[end - 1] == 13:
        start = end + 1
    if len(content) - start != 8 * count:
        there = (len(content) - start) / 8
        raise UserError(f"tonic reads {count} events where there are {there:g}: write it as .npz, with x, y, t and p")


def _installed(module: str, what: str) -> Any:
    package = module.split(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UserError(f"{what} files need the package {package}: pip install {package}") from error
