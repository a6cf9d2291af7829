"""Encoded images, decoded once into an array on disk."""

import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orthotrace.core.errors import UserError, one_line
from orthotrace.data.cache import cached, stored
from orthotrace.data.images import Images, Scaling
from orthotrace.data.sources.base import Source, within

CHUNK = 1024


@dataclass(frozen=True)
class Row:
    """One image before it is decoded.

    Attributes:
        place: where it comes from, for error messages: "row 3 of train.parquet", or a file.
        image: its encoded bytes, or its file.
        label: an integer or a name.
        superclass: an integer, a name, or None.
    """

    place: str
    image: bytes | Path
    label: int | str
    superclass: int | str | None = None


@dataclass(frozen=True)
class Rows:
    """The rows of the training or the test part.

    Attributes:
        read: gives them, one after another.
        count: their number.
    """

    read: Callable[[], Iterable[Row]]
    count: int


@dataclass(frozen=True)
class Decoding:
    """How images are decoded.

    Attributes:
        size: (height, width) to which images are resized; None where all have one size.
        channels: 1 for grey, 3 for colours; None for those of the first image.
        skip_corrupt: leave out images that cannot be decoded, with a warning.
        limit: images of each class in each part at most, the first ones; None for all.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    skip_corrupt: bool = False
    limit: int | None = field(default=None, repr=False)

    def key(self) -> tuple[Any, ...]:
        """What it adds to the key of a cache; without a limit the same as before there was one."""
        return (self,) if self.limit is None else (self, self.limit)


def decoded(
    name: str,
    key: str,
    parts: dict[str, Rows],
    decoding: Decoding,
    classes: list[str] | None,
    superclasses: list[str] | None,
    normalise: bool,
) -> Source:
    """A source from encoded images, which are decoded where the cache does not have them.

    Args:
        name: of the data set.
        key: in the cache: a hash of the content and of how it is decoded.
        parts: "train" and "test".
        decoding: how images are decoded.
        classes: names by label, where labels are integers; None for the labels that occur.
        superclasses: likewise.
        normalise: scale each channel to mean 0 and standard deviation 1 over the training images; else to [0, 1].

    Raises:
        UserError: an image is corrupt or differs from the first in size, or a class has two superclasses.
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
    parts: dict[str, Rows],
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
        skipped[part] = images.read - len(kept)
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
    """Stored label -> index of the class."""
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
    """Decodes images into arrays, with one size and number of channels in all parts."""

    def __init__(self, decoding: Decoding) -> None:
        self.decoding = decoding
        # (place, height, width, channels) of the first image, which the others must match.
        self.first: tuple[str, int, int, int] | None = None
        # Images of the last part that were to be decoded.
        self.read = 0

    def write(self, path: Path, part: str, content: Rows) -> list[tuple[Any, Any]]:
        """Decode a part into a file, and return label and superclass of each image in it."""
        from rich.console import Console
        from rich.progress import track

        store: Any = None
        kept: list[tuple[Any, Any]] = []
        self.read = 0
        with ThreadPoolExecutor() as pool:
            rows = track(
                self._decoded(pool, self._limited(content.read())),
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
            whole = np.load(path, mmap_mode="r", allow_pickle=False)
            shorter = path.with_name(f"shorter_{path.name}")
            np.save(shorter, whole[: len(kept)])
            shorter.replace(path)
        return kept

    def _limited(self, rows: Iterable[Row]) -> Iterator[Row]:
        among = within(self.decoding.limit)
        for row in rows:
            if among(row.label):
                self.read += 1
                yield row

    def _decoded(self, pool: ThreadPoolExecutor, rows: Iterable[Row]) -> Iterator[tuple[Row, NDArray[np.uint8] | None]]:
        remaining = iter(rows)
        while chunk := list(islice(remaining, CHUNK)):
            for row, pixels in zip(chunk, pool.map(self._open, chunk), strict=True):
                yield row, None if pixels is None else self._fitting(row, pixels)

    def _open(self, row: Row) -> NDArray[np.uint8] | None:
        from PIL import Image

        try:
            with Image.open(io.BytesIO(row.image) if isinstance(row.image, bytes) else row.image) as opened:
                image = eight_bits(opened)
                channels = self.decoding.channels or (1 if image.mode in ("1", "L") else 3)
                if self.decoding.channels is None and self.first is not None and self.first[3] == 3:
                    channels = 3
                return pixels_of(image, channels, self.decoding.size)
        # A damaged file can make a decoder raise nearly anything.
        except Exception as error:
            if self.decoding.skip_corrupt:
                return None
            raise UserError(
                f"{row.place} cannot be decoded ({one_line(error)}); skip_corrupt=True leaves such images out",
                "skip_corrupt",
            ) from error

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


def pixels_of(image: Any, channels: int, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Pixels (channels, height, width) of a Pillow image of 8 bits, in grey (1) or colours (3), resized to a size."""
    from PIL import Image

    image = image.convert("L" if channels == 1 else "RGB")
    if size is not None:
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else np.moveaxis(pixels, 2, 0)


def eight_bits(image: Any) -> Any:
    """A Pillow image with 8 bits a channel: the upper 8 of 16 bits, which Pillow's own conversion would clip at white.

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
