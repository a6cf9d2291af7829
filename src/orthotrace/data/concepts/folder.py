"""Concepts from folders of images."""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from PIL import Image
from pydantic import Field

from orthotrace.core.errors import UserError, checked, folder_at, nearest, one_line
from orthotrace.data.concepts.base import PARTS, ConceptPart, ConceptSets, checked_sets, split_off
from orthotrace.data.images import Images, extremes
from orthotrace.data.sources import Source
from orthotrace.data.sources.decode import eight_bits, pixels_of
from orthotrace.data.sources.folder import SUFFIXES

# Of a file "name.png" the mask is "name.mask.png".
MASK = ".mask"


@checked
def folder(
    source: Source,
    path: str,
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.2,
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2,
    negatives: str = "negatives",
) -> ConceptSets:
    """Concept sets from a folder of images for each concept, resized to the images of a data set.

    ``path/striped/*.png`` are images of "striped"; ``path/animal/dog/*.png`` of "animal/dog" and of "animal".
    The images of the other concepts and of the folder ``negatives`` are its negatives. A file "name.mask.png" beside
    "name.png" marks where the concept is: bright is inside. Folders ``path/train``, ``path/validation`` and
    ``path/test`` above the concepts give the parts; without them each concept is split, the same for every seed.

    Args:
        source: the data set that the network is trained on.
        path: the folder.
        validation: share of each concept's images in the validation part, in (0, 1).
        test: share of each concept's images in the test part, in (0, 1).
        negatives: name of the folder of images without any concept.

    Raises:
        UserError: no folder, no concepts, a folder without images, an image that cannot be read, a mask that is black
            or belongs to no image, or a concept with too few images.
    """
    top = folder_at(path)
    given = [(top / part).is_dir() for part in PARTS]
    if any(given) and not all(given):
        missing = PARTS[given.index(False)]
        raise UserError(f"{path} has no folder {missing}: give {', '.join(PARTS)}, or none of them", "path")
    found = {part: _files(top / part) for part in PARTS} if all(given) else _divided(_files(top), validation, test)
    own = {name for of in found.values() for name in of if name != negatives and not name.startswith(f"{negatives}/")}
    # Concepts that contain others are concepts too.
    names = sorted(
        {"/".join(parts[: end + 1]) for parts in (name.split("/") for name in own) for end in range(len(parts))}
    )
    if not names:
        raise UserError(f"{path} has no folders of images: one for each concept is needed", "path")
    if negatives != "negatives" and not any(name.split("/")[0] == negatives for of in found.values() for name in of):
        raise UserError(f"{path} has no folder '{negatives}'; {nearest(negatives, names)}", "negatives")
    _check_leaks(found)
    parts = {part: _part(of, names, source) for part, of in found.items()}
    return checked_sets(names, parts)


def _files(top: Path) -> dict[str, list[Path]]:
    """Concept -> the images in its own folder, both in order."""
    found: dict[str, list[Path]] = {}
    folders, masks = [], []
    # Folder -> itself and its parents with links resolved, so that a circle of links is left out.
    above = {top: {top.resolve()}}
    for folder, below, files in os.walk(top, followlinks=True):
        here = Path(folder)
        real = {name: (here / name).resolve() for name in below if name[0] != "."}
        # In place and sorted: os.walk follows this list, in the same order on every machine.
        below[:] = sorted(name for name, one in real.items() if one not in above[here])
        above |= {here / name: above[here] | {real[name]} for name in below}
        name = here.relative_to(top).as_posix()
        if name == ".":
            continue
        folders.append(name)
        for file in (here / one for one in sorted(files) if one[0] != "."):
            if file.suffix.lower() in SUFFIXES:
                if file.stem.endswith(MASK):
                    masks.append(file)
                else:
                    found.setdefault(name, []).append(file)
    for name in folders:
        if not any(one == name or one.startswith(f"{name}/") for one in found):
            raise UserError(f"the folder {top / name} has no images ({', '.join(sorted(SUFFIXES))})", "path")
    known = {file.with_suffix("") for of in found.values() for file in of}
    for mask in masks:
        if _of_mask(mask) not in known:
            raise UserError(f"the mask {mask} belongs to no image", "path")
    return found


def _of_mask(mask: Path) -> Path:
    """The image of a mask, without its suffix."""
    return mask.with_name(mask.stem.removesuffix(MASK))


def _check_leaks(files: dict[str, dict[str, list[Path]]]) -> None:
    """Warn of images that are in two parts, and so are not held out."""
    seen: dict[bytes, tuple[str, Path]] = {}
    twice = []
    for part, of in files.items():
        for file in (file for own in of.values() for file in own):
            try:
                content = hashlib.sha256(file.read_bytes()).digest()
            except OSError as error:
                raise UserError(f"{file} cannot be read as an image ({one_line(error)})", "path") from error
            other, first = seen.setdefault(content, (part, file))
            if other != part:
                twice.append(f"{file} ({part}) is {first} ({other})")
    if twice:
        more = f", and {len(twice) - 1} more" if len(twice) > 1 else ""
        warnings.warn(f"images are in two parts, so not held out: {twice[0]}{more}; keep one of each", stacklevel=4)


def _divided(files: dict[str, list[Path]], validation: float, test: float) -> dict[str, dict[str, list[Path]]]:
    found: dict[str, dict[str, list[Path]]] = {part: {} for part in PARTS}
    if validation + test >= 1:
        raise UserError(f"{validation} for validation and {test} for the test leave nothing for training", "validation")
    for number, (name, of) in enumerate(files.items()):
        if len(of) < len(PARTS) + 1:
            raise UserError(
                f"the folder '{name}' has too few images ({len(of)}): four are needed, two of them for the test",
                "path",
            )
        held = [max(least, round(share * len(of))) / len(of) for share, least in ((test, 2), (validation, 1))]
        for part, places in zip(("test", "validation", "train"), split_off(len(of), held, number), strict=True):
            found[part][name] = [of[place] for place in places.tolist()]
    return found


def _part(files: dict[str, list[Path]], names: list[str], source: Source) -> ConceptPart:
    """The images of all concepts, decoded."""
    channels, height, width = source.shape
    size = (height, width)
    stored = source.train.store
    images, masks, has = [], [], []
    masked = False
    for name, of in files.items():
        concepts = [name == one or name.startswith(f"{one}/") for one in names]
        # A photograph in JPEG may have a mask in PNG.
        beside = sorted(one for folder in {file.parent for file in of} for one in folder.iterdir())
        there = {_of_mask(one): one for one in beside if one.suffix.lower() in SUFFIXES and one.stem.endswith(MASK)}
        for file in of:
            images.append(_decoded(file, channels, size))
            mask = there.get(file.with_suffix(""))
            masked |= mask is not None
            masks.append(np.ones(size) if mask is None else _decoded(mask, 1, size)[0] / 255)
            if any(concepts) and not masks[-1].any():
                raise UserError(f"the mask {mask} is black all over: bright is where the concept is", "path")
            has.append(concepts)
    pixels = torch.from_numpy(np.stack(images)) if images else torch.zeros(0, channels, *size, dtype=torch.uint8)
    # The pixels of the data set may have another range, such as floating numbers in [0, 1].
    if stored.dtype != torch.uint8 or int(stored[:1000].max()) <= 16:
        dark, bright = (value.float() for value in extremes(stored[:1000]))
        scaled = dark + pixels.float() / 255 * (bright - dark)
        pixels = (scaled if stored.is_floating_point() else scaled.round()).to(stored.dtype)
    part = Images(pixels, torch.zeros(len(pixels), dtype=torch.int64), scaling=source.train.scaling)
    weights = torch.from_numpy(np.stack(masks)).float() if masked else None
    return ConceptPart(part, torch.tensor(has).view(-1, len(names)), weights)


def _decoded(file: Path, channels: int, size: tuple[int, int]) -> np.ndarray:
    """Pixels (channels, height, width), uint8."""
    try:
        with Image.open(file) as opened:
            return pixels_of(eight_bits(opened), channels, size)
    except Exception as error:
        raise UserError(f"{file} cannot be read as an image ({one_line(error)})", "path") from error
