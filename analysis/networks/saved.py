"""Activations on disk, a file for each network: .npy, .safetensors or HDF5, read one layer at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from orthotrace.analysis.networks.storage import HDF5
from orthotrace.analysis.rdm.arrays import numbers
from orthotrace.core.digests import digest_of
from orthotrace.core.errors import UserError
from orthotrace.core.files import read

PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth")
REFUSED = "reading a pickle runs what is in it, so it is refused"


class SavedLayers:
    """The activations of the layers of a network, (n, ...) each: the first axis is that of the stimuli.

    All other axes are flattened: channels may come first or last, since no measure of stimuli depends on the order of
    units.

    Args:
        given: a file: .npy of one layer, which is called after the file; .safetensors or HDF5 with an array for each
            layer, in the order of the file or by their names; or name -> array.

    Raises:
        UserError: a file that is missing, damaged, empty or of another kind, a pickle, or layers of different numbers
            of stimuli.

    Example:
        >>> saved = SavedLayers({"conv1": np.zeros((5, 2, 3)), "fc": np.ones((5, 4))})
        >>> saved.stimuli, saved.layer("conv1").shape
        (5, torch.Size([5, 6]))
    """

    def __init__(self, given: Path | str | Mapping[str, Any]) -> None:
        self.path = None if isinstance(given, Mapping) else Path(given)
        self._arrays = given if isinstance(given, Mapping) else {}
        self.told = "activations" if self.path is None else str(self.path)
        if self.path is None:
            self.shapes = {str(name): tuple(np.shape(array)) for name, array in self._arrays.items()}
        else:
            self.shapes = self._shapes(self.path)
        if not self.shapes:
            raise UserError(f"{self.told} holds no arrays", "activations")
        for name, shape in self.shapes.items():
            if len(shape) < 2 or not math.prod(shape):
                raise UserError(
                    f"{self.told}, layer '{name}': (stimuli, ...) are needed, got shape {shape}", "activations"
                )
        counts = {name: shape[0] for name, shape in self.shapes.items()}
        first = next(iter(counts))
        if other := next((name for name, count in counts.items() if count != counts[first]), None):
            raise UserError(
                f"{self.told}: layer '{first}' has {counts[first]} stimuli, layer '{other}' {counts[other]}; the first "
                "axis is that of the stimuli",
                "activations",
            )

    @property
    def stimuli(self) -> int:
        """How many."""
        return next(iter(self.shapes.values()))[0]

    @cached_property
    def digest(self) -> str | None:
        """SHA-256 of the file; None of arrays in memory."""
        return None if self.path is None else digest_of(self.path)

    def layer(self, name: str, rows: Tensor | None = None) -> Tensor:
        """The activations of a layer, (rows, features).

        Raises:
            UserError: they are no finite numbers.
        """
        values = self._arrays[name] if self.path is None else self._read(self.path, name)
        if not isinstance(values, Tensor):
            values = torch.from_numpy(np.array(numbers(values, f"{self.told}, layer '{name}'")))
        values = values.detach().cpu()
        if not values.is_floating_point():
            values = values.double()
        if not values.isfinite().all():
            raise UserError(f"{self.told}, layer '{name}': some values are not finite", "activations")
        return (values if rows is None else values[rows]).reshape(-1 if rows is None else len(rows), values[0].numel())

    def _shapes(self, path: Path) -> dict[str, tuple[int, ...]]:
        if path.suffix == ".npy":
            return {path.stem: read(path, lambda file: plain_npy(file).shape, _again(path))}
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            def shapes(file: Path) -> dict[str, tuple[int, ...]]:
                with safe_open(file, "pt") as opened:
                    return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118

            return read(path, shapes, _again(path))
        if path.suffix in HDF5:
            return read(path, _datasets, _again(path))
        if path.suffix in PICKLES:
            raise UserError(
                f"{path} is a pickle: {REFUSED}; where you trust it, convert it: numpy.save('{path.stem}.npy', array), "
                "or safetensors.numpy.save_file({layer: array}, '" + f"{path.stem}.safetensors')",
                "activations",
            )
        raise UserError(f"{path} ends in none of .npy, .safetensors, .h5 and .hdf5", "activations")

    def _read(self, path: Path, name: str) -> Any:
        if path.suffix == ".npy":
            return read(path, plain_npy, _again(path))
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            def tensor(file: Path) -> Tensor:
                with safe_open(file, "pt") as opened:
                    return opened.get_tensor(name)

            return read(path, tensor, _again(path))

        def dataset(file: Path) -> Any:
            import h5py

            with h5py.File(file, "r") as opened:
                return np.asarray(opened[name])

        return read(path, dataset, _again(path))


def plain_npy(file: Path) -> Any:
    """An array of numpy.save, mapped from its file.

    Raises:
        UserError: it holds objects, as a pickle, which is refused.
        ValueError: another file.
    """
    with file.open("rb") as opened:
        if opened.read(6) != b"\x93NUMPY":
            raise ValueError("it is not of numpy.save")
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        if "Object arrays" not in str(error) and "Python objects" not in str(error):
            raise
        raise UserError(
            f"{file} holds objects, as a pickle: {REFUSED}; where you trust it, convert it: numpy.save('{file.name}', "
            f"numpy.stack(list(numpy.load('{file.name}', allow_pickle=True))))",
            "activations",
        ) from error


def _datasets(file: Path) -> dict[str, tuple[int, ...]]:
    """Every array of numbers of an HDF5 file by its path."""
    import h5py

    found: dict[str, tuple[int, ...]] = {}

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.shape is not None and node.dtype.kind in "biuf":
            found[name] = tuple(node.shape)

    with h5py.File(file, "r") as opened:
        opened.visititems(visit)
    return found


def _again(path: Path) -> str:
    return f"write {path.name} again"
