"""Encoded images decoded once, into an array on disk."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orthotrace.core.errors import UserError, one_line
from orthotrace.data.cache import cached, stored
from orthotrace.data.images import Images, Scaling
from orthotrace.data.sources.base import Source

CHUNK = 1024


@dataclass(frozen=True)
class Row:
    """One image before it is decoded.

    Attributes:
        place: for messages: "row 3 of train.parquet", or a file.
        image: its encoded bytes, or its file.
        label: a whole number, or a name.
        superclass: a whole number, a name, or None.
    """

    place: str
    image: bytes | Path
    label: int | str
    superclass: int | str | None = None


@dataclass(frozen=True)
class Part:
    """The rows of a part, and how many there are.

    Attributes:
        rows: makes them, one after another.
        count: how many.
    """

    rows: Callable[[], Iterable[Row]]
    count: int


@dataclass(frozen=True)
class Decoding:
    """How images are decoded.

    Attributes:
        size: (height, width) to which images are resized; None keeps them, and all must have one.
        channels: 1 for grey, 3 for colours; None for those of the first image.
        skip_corrupt: leave out what cannot be decoded, and count it.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    skip_corrupt: bool = False


def decoded(
    name: str,
    key: str,
    parts: dict[str, Part],
    decoding: Decoding,
    classes: list[str] | None,
    superclasses: list[str] | None,
    normalise: bool,
) -> Source:
    """A source from encoded images: decoded into the cache where it is not there yet.

    Args:
        name: of the data set.
        key: of its content and of the decoding.
        parts: "train" and "test".
        decoding: how.
        classes: names by label, where labels are whole numbers; None takes what occurs.
        superclasses: names, likewise.
        normalise: scale to mean 0 and deviation 1 of the training images, channel by channel; else to [0, 1].

    Raises:
        UserError: names the first image that is corrupt or differs in size, or the class of two superclasses.
    """
    folder, about = cached(key, lambda folder: _decode_all(folder, parts, decoding, classes, superclasses))
    for part, skipped in about["skipped"].items():
        if skipped:
            warnings.warn(f"{name}: {skipped} corrupt images of the {part} part are left out", stacklevel=2)
    scaling = Scaling(tuple(about["mean"]), tuple(about["std"])) if normalise else Scaling(std=(255.0,))
    made = {}
    for part in ("train", "test"):
        images, mapped = stored(folder / f"{part}_images.npy")
        labels, _ = stored(folder / f"{part}_labels.npy")
        made[part] = Images(images, labels, scaling=scaling, mapped=mapped)
    groups = about["superclasses"]
    return Source(name, made["train"], made["test"], tuple(about["classes"]), tuple(groups) if groups else None)


def _decode_all(
    folder: Path,
    parts: dict[str, Part],
    decoding: Decoding,
    classes: list[str] | None,
    superclasses: list[str] | None,
) -> dict[str, Any]:
    labels: dict[str, list[Any]] = {}
    groups: dict[Any, Counter[Any]] = {}
    skipped: dict[str, int] = {}
    images = _Images(decoding)
    for part, content in parts.items():
        kept = images.write(folder / f"{part}_images.npy", part, content)
        labels[part] = [label for label, _ in kept]
        skipped[part] = content.count - len(kept)
        for label, superclass in kept:
            if superclass is not None:
                groups.setdefault(label, Counter())[superclass] += 1
    known = _classes([*labels["train"], *labels["test"]], classes)
    for part, values in labels.items():
        np.save(folder / f"{part}_labels.npy", np.array([known[value] for value in values], dtype=np.int64))
    train, _ = stored(folder / "train_images.npy")
    scaling = Scaling.of([train])
    return {
        "classes": classes or [str(value) for value in known],
        "superclasses": _superclasses(groups, known, superclasses),
        "mean": scaling.mean,
        "std": scaling.std,
        "skipped": skipped,
    }


def _classes(labels: list[Any], names: list[str] | None) -> dict[Any, int]:
    """Label as it is stored -> number of the class."""
    found = sorted(set(labels))
    if names is None:
        return {value: number for number, value in enumerate(found)}
    wrong = [value for value in found if not 0 <= value < len(names)]
    if wrong:
        raise UserError(f"the label {wrong[0]} is none of the {len(names)} classes: are these images labelled?")
    return {number: number for number in range(len(names))}


def _superclasses(groups: dict[Any, Counter[Any]], known: dict[Any, int], names: list[str] | None) -> list[str] | None:
    if not groups:
        return None
    found = []
    for value in known:
        of_class = groups.get(value, Counter({None: 1}))
        if len(of_class) > 1:
            raise UserError(f"class {value} belongs to several superclasses: {sorted(of_class)}", "superclass")
        (group,) = of_class
        found.append(str(group) if names is None or group is None else names[group])
    return found


class _Images:
    """Decodes images into arrays; all parts alike."""

    def __init__(self, decoding: Decoding) -> None:
        self.decoding = decoding
        # (place, height, width, channels) of the first image, to which the others are held.
        self.first: tuple[str, int, int, int] | None = None

    def write(self, path: Path, part: str, content: Part) -> list[tuple[Any, Any]]:
        """Decode a part into a file; label and superclass of each image that is in it."""
        from rich.console import Console
        from rich.progress import track

        store: Any = None
        kept: list[tuple[Any, Any]] = []
        with ThreadPoolExecutor() as pool:
            rows = track(
                self._decoded(pool, content.rows()),
                f"decoding {part} images",
                total=content.count,
                transient=True,
                disable=not Console().is_terminal,
            )
            for row, pixels in rows:
                if pixels is None:
                    continue
                if store is None:
                    store = np.lib.format.open_memmap(path, "w+", np.uint8, (content.count, *pixels.shape))
                store[len(kept)] = pixels
                kept.append((row.label, row.superclass))
        if store is None:
            raise UserError(f"the {part} part has no images")
        store.flush()
        if len(kept) < content.count:
            whole = np.load(path, mmap_mode="r")
            shorter = path.with_name(f"shorter_{path.name}")
            np.save(shorter, whole[: len(kept)])
            shorter.replace(path)
        return kept

    def _decoded(self, pool: ThreadPoolExecutor, rows: Iterable[Row]) -> Iterator[tuple[Row, NDArray[np.uint8] | None]]:
        remaining = iter(rows)
        while chunk := list(islice(remaining, CHUNK)):
            for row, pixels in zip(chunk, pool.map(self._open, chunk), strict=True):
                yield row, None if pixels is None else self._fitting(row, pixels)

    def _open(self, row: Row) -> NDArray[np.uint8] | None:
        from PIL import Image

        try:
            with Image.open(io.BytesIO(row.image) if isinstance(row.image, bytes) else row.image) as image:
                image = eight_bits(image)
                grey = image.mode in ("1", "L")
                channels = self.decoding.channels or (1 if grey else 3)
                if self.decoding.channels is None and self.first is not None and self.first[3] == 3:
                    channels = 3
                image = image.convert("L" if channels == 1 else "RGB")
                if self.decoding.size is not None:
                    height, width = self.decoding.size
                    image = image.resize((width, height), Image.Resampling.BILINEAR)
                pixels = np.asarray(image)
        # What a damaged file makes a decoder raise is not one class.
        except Exception as error:
            if self.decoding.skip_corrupt:
                return None
            raise UserError(
                f"{row.place} cannot be decoded ({one_line(error)}); skip_corrupt=true leaves such images out",
                "skip_corrupt",
            ) from error
        return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)

    def _fitting(self, row: Row, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        channels, height, width = pixels.shape
        if self.first is None:
            self.first = (row.place, height, width, channels)
        place, *expected, colours = self.first
        if [height, width] != expected:
            raise UserError(
                f"{row.place} has {height} x {width} pixels, {place} has {expected[0]} x {expected[1]}: "
                f"give size=[{expected[0]},{expected[1]}] to resize all",
                "size",
            )
        if channels != colours:
            if colours == 3:
                return np.repeat(pixels, 3, axis=0)
            raise UserError(f"{row.place} has colours, {place} has none: give 1 (grey) or 3", "channels")
        return pixels


def eight_bits(image: Any) -> Any:
    """A Pillow image in 8 bits: of 16 bits the upper 8, which Pillow itself would cut off at white.

    Raises:
        ValueError: pixels of 32 bits, which have no fixed range.

    Example:
        >>> from PIL import Image
        >>> eight_bits(Image.new("I;16", (1, 1), 20000)).getpixel((0, 0))
        78
    """
    from PIL import Image

    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode} have no fixed range; give them as arrays")
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)) if image.mode.startswith("I;16") else image
