"""The stimuli of networks that were given: of a data set, of a folder of images, of an array, or only their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orthotrace.analysis.networks.runs import Stimuli, digest_of, stimuli_from
from orthotrace.analysis.networks.saved import plain_npy
from orthotrace.analysis.rdm.arrays import numbers
from orthotrace.core.errors import UserError, one_line
from orthotrace.core.files import read
from orthotrace.data.sources.base import Source
from orthotrace.data.sources.decode import eight_bits, pixels_of
from orthotrace.data.sources.folder import SUFFIXES

# What stimuli without classes are called.
ALL = "stimuli"


def of_source(source: Source, per_class: int | None = None, classes: Sequence[str] | None = None) -> Stimuli:
    """The first test images of each class of a data set, as its scaling has them; 20 of each by default.

    Raises:
        UserError: as runs.stimuli_from.
    """
    return stimuli_from(source.test, source.classes, 20 if per_class is None else per_class, classes)


def of_file(
    path: Path | str,
    labels: Any = None,
    per_class: int | None = None,
    classes: Sequence[str] | None = None,
    size: int | Sequence[int] | None = None,
) -> Stimuli:
    """Stimuli of a folder of images, in [0, 1], or of an array in a .npy file.

    Args:
        path: a folder with a folder of images for each class, or with images alone; or a .npy file as of_array takes.
        labels: as for of_array; those of folders are their names.
        per_class: as for of_array.
        classes: as for of_array.
        size: in pixels to which images are resized, one number or (height, width); None where all have one size.

    Raises:
        UserError: no images, one that cannot be read or has another size, a file of another kind, or as of_array.
    """
    path = Path(path)
    if path.is_dir():
        images, names = _of_folder(path, (size, size) if isinstance(size, int) else size)
        if labels is not None and names is not None:
            raise UserError(f"{path} has a folder for each class already", "stimuli.labels")
        return of_array(images, names if labels is None else labels, per_class, classes)
    if path.suffix != ".npy":
        raise UserError(f"{path} is neither a folder of images nor ends in .npy", "stimuli.path")
    try:
        values = read(path, plain_npy, f"write {path.name} again")
    except UserError as error:
        raise UserError(error.message, "stimuli.path") from error
    return of_array(values, labels, per_class, classes)


def of_array(
    images: Any, labels: Any = None, per_class: int | None = None, classes: Sequence[str] | None = None
) -> Stimuli:
    """Stimuli of an array, sorted by class where there are labels.

    Args:
        images: (n, ...), as the networks take them; uint8 is divided by 255, other whole numbers may be tokens.
        labels: of each, (n,), numbers or names; or a file: .npy, or text with one in each line; None for no classes.
        per_class: the first so many of each class; None for all, of which each class must have as many.
        classes: which, in their order; None for all, sorted.

    Raises:
        UserError: no finite numbers, fewer than three stimuli, labels of another number, classes of different numbers,
            or too few of one.

    Example:
        >>> found = of_array(np.zeros((6, 1, 4, 4)), ["b", "a", "b", "a", "c", "c"])
        >>> found.classes, found.places.tolist()
        (('a', 'b', 'c'), [1, 3, 0, 2, 4, 5])
    """
    if isinstance(images, Tensor):
        tensor, kind = images.detach().cpu(), str(images.dtype).removeprefix("torch.")
    else:
        tensor, kind = torch.from_numpy(np.array(numbers(images, "stimuli"))), str(np.asarray(images).dtype)
        tensor = tensor.long() if kind.startswith(("int", "uint")) else tensor.float()
    if kind == "uint8":
        tensor = tensor.float() / 255.0
    return _sorted(tensor, len(tensor), labels, per_class, classes)


def of_number(
    count: int, labels: Any = None, per_class: int | None = None, classes: Sequence[str] | None = None
) -> Stimuli:
    """So many stimuli of which there are activations alone, sorted by class where there are labels, as of_array's.

    Example:
        >>> of_number(4, ["a", "b", "a", "b"]).order.tolist()
        [0, 2, 1, 3]
    """
    return _sorted(torch.zeros(count, 0), count, labels, per_class, classes)


def scaled(stimuli: Stimuli, mean: Any = None, std: Any = None) -> Stimuli:
    """The same stimuli less a mean, over a deviation, of each channel, as networks were trained.

    Raises:
        UserError: as many numbers as there are no channels.
    """
    if mean is None and std is None:
        return stimuli
    images = stimuli.images if stimuli.images.is_floating_point() else stimuli.images.float()
    for name, values in (("mean", mean), ("std", std)):
        if values is None:
            continue
        each = torch.as_tensor(values, dtype=images.dtype).flatten()
        if images.ndim < 2 or len(each) not in (1, images.shape[1]):
            channels = images.shape[1] if images.ndim > 1 else 0
            raise UserError(f"{len(each)} numbers for {channels} channels", f"stimuli.{name}")
        each = each.view(-1, *[1] * (images.ndim - 2))
        images = images - each if name == "mean" else images / each
    return replace(stimuli, images=images, digest=digest_of(images, stimuli.labels))


def _sorted(images: Tensor, count: int, labels: Any, per_class: int | None, classes: Sequence[str] | None) -> Stimuli:
    if count < 3:
        raise UserError(f"three stimuli or more are needed (got {count})", "stimuli")
    if labels is None:
        if classes is not None:
            raise UserError("stimuli without labels have no classes; give stimuli.labels", "stimuli.classes")
        order = torch.arange(count if per_class is None else min(per_class, count))
        chosen, names, per_class = torch.zeros(len(order), dtype=torch.long), [ALL], len(order)
    else:
        kinds, which = _labels(labels, count)
        names = kinds if classes is None else [str(one) for one in classes]
        if unknown := next((one for one in names if one not in kinds), None):
            raise UserError(f"no stimulus has the class '{unknown}'; there are: {', '.join(kinds)}", "stimuli.classes")
        if len(set(names)) < 2:
            raise UserError(f"stimuli of at least two classes are needed (got {len(set(names))})", "stimuli.classes")
        places = [np.flatnonzero(which == kinds.index(name)) for name in names]
        fewest, most = (pick(map(len, places)) for pick in (min, max))
        if per_class is None and fewest != most:
            raise UserError(
                f"classes have {fewest} to {most} stimuli, and figures need as many of each: "
                f"stimuli.per_class={fewest} takes the first {fewest}",
                "stimuli.per_class",
            )
        per_class = fewest if per_class is None else per_class
        if fewest < per_class:
            short = names[[len(one) for one in places].index(fewest)]
            raise UserError(f"class '{short}' has {fewest} stimuli, not {per_class}", "stimuli.per_class")
        order = torch.from_numpy(np.concatenate([one[:per_class] for one in places]))
        chosen = torch.arange(len(names)).repeat_interleave(per_class)
    images = images[order]
    # Of activations alone there is nothing else that tells stimuli apart.
    digest = digest_of(images if images.numel() else order, chosen)
    return Stimuli(images, chosen, tuple(names), per_class, None, digest, order, order, count, labels is not None)


def _labels(given: Any, count: int) -> tuple[list[str], NDArray[np.intp]]:
    """Names of the classes in their order, and the place of each label among them."""
    values = _from_file(Path(given)) if isinstance(given, (str, Path)) else given
    values = np.asarray(values.cpu() if isinstance(values, Tensor) else values)
    if values.shape != (count,) or values.dtype.kind not in "biuUS":
        raise UserError(
            f"{count} labels are needed, whole numbers or names, got {values.dtype} of shape {values.shape}",
            "stimuli.labels",
        )
    kinds, which = np.unique(values, return_inverse=True)
    return [one.decode() if isinstance(one, bytes) else str(one) for one in kinds.tolist()], which


def _from_file(path: Path) -> Any:
    try:
        if path.suffix == ".npy":
            return read(path, plain_npy, f"write {path.name} again")
        return read(path, lambda file: file.read_text("utf-8").split(), "write one label in each line")
    except UserError as error:
        raise UserError(error.message, "stimuli.labels") from error


def _of_folder(top: Path, size: Sequence[int] | None) -> tuple[Tensor, list[str] | None]:
    """Images in [0, 1], and the names of their folders; None where all lie in one."""
    from PIL import Image

    files = sorted(one for one in top.rglob("*") if one.suffix.lower() in SUFFIXES and not one.name.startswith("."))
    if not files:
        raise UserError(f"{top} has no images ({', '.join(SUFFIXES)})", "stimuli.path")
    pixels: list[NDArray[np.uint8]] = []
    channels = None
    for file in files:
        try:
            with Image.open(file) as opened:
                image = eight_bits(opened)
                channels = channels or (1 if image.mode in ("1", "L") else 3)
                pixels.append(pixels_of(image, channels, None if size is None else (size[0], size[1])))
        # A damaged file can make a decoder raise nearly anything.
        except Exception as error:
            raise UserError(f"{file} cannot be decoded ({one_line(error)})", "stimuli.path") from error
        if pixels[-1].shape != pixels[0].shape:
            height, width = pixels[0].shape[1:]
            raise UserError(
                f"{file} has {pixels[-1].shape[1]} x {pixels[-1].shape[2]} pixels, {files[0]} {height} x {width}; "
                f"stimuli.size=[{height},{width}] resizes all",
                "stimuli.size",
            )
    parents = [file.relative_to(top).parts[0] if file.parent != top else "" for file in files]
    if "" in parents and set(parents) != {""}:
        raise UserError(f"{top} has images both beside and inside folders", "stimuli.path")
    return torch.from_numpy(np.stack(pixels)).float() / 255, None if "" in parents else parents
