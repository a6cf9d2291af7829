"""Images in folders, one for each class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field

from orthotrace.core.errors import UserError, checked, folder_at
from orthotrace.core.seeds import generator
from orthotrace.data.cache import content_hash
from orthotrace.data.sources.base import Limit, Source
from orthotrace.data.sources.decode import Decoding, Row, Rows, decoded
from orthotrace.data.sources.preparation import Preparation, prepared
from orthotrace.data.sources.table import Size

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


@checked
def folder(
    path: str,
    train: str = "train",
    test: str = "test",
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2,
    size: Size | None = None,
    channels: Literal[1, 3] | None = None,
    skip_corrupt: bool = False,
    normalise: bool = True,
    limit: Limit | None = None,
    preparation: Preparation = "none",
) -> Source:
    """Images in a folder for each class.

    Either ``path/train/CLASS/*`` and ``path/test/CLASS/*``, or ``path/CLASS/*``, of which a random share of each class
    becomes the test part, the same for every seed.

    Args:
        path: the folder.
        train: name of the folder of the training part.
        test: name of the folder of the test part.
        test_share: share of each class in the test part, where there are no folders of parts, in (0, 1).
        size: in pixels to which images are resized, one number or (height, width); None where all have one size.
        channels: 1 for grey, 3 for colours; None for those of the first image.
        skip_corrupt: leave out images that cannot be decoded, with a warning.
        normalise: scale each channel to mean 0 and standard deviation 1 over the training images; else to [0, 1].
        limit: images of each class in each part at most, the first ones; None for all.
        preparation: "gcn" for global contrast normalisation of each image, "gcn_zca" for ZCA whitening after it,
            "planes" for planes of colours read as pixels (see planes_as_pixels), each in place of any other scaling;
            "none" for neither.

    Raises:
        UserError: no folder, no classes, a class without images, classes that differ between the parts, or an image
            that is corrupt or of another size.
    """
    top, parts = parts_of(path, train, test, test_share)
    rows = {
        part: [Row(str(file), file, name) for name, files in classes.items() for file in files]
        for part, classes in parts.items()
    }
    decoding = Decoding((size, size) if isinstance(size, int) else size, channels, skip_corrupt, limit)
    files = [row.image for part in rows.values() for row in part if isinstance(row.image, Path)]
    names = {part: [row.label for row in listed] for part, listed in rows.items()}
    source = decoded(
        top.name,
        content_hash(files, names, *decoding.key()),
        {part: Rows(lambda listed=listed: listed, len(listed)) for part, listed in rows.items()},
        decoding,
        None,
        None,
        normalise,
    )
    return prepared(source, preparation)


def parts_of(
    path: str, train: str, test: str, test_share: float, suffixes: tuple[str, ...] = SUFFIXES, what: str = "images"
) -> tuple[Path, dict[str, dict[str, list[Path]]]]:
    """The folder, and its training and test part: class -> its files, both sorted.

    Args:
        path: as for folder, like the three below.
        train: folder of the training part.
        test: folder of the test part.
        test_share: of each class.
        suffixes: of the files that count, in small letters.
        what: the files are, in words.

    Raises:
        UserError: as folder, of its folders and files.
    """
    top = folder_at(path)
    divided = [(top / part).is_dir() for part in (train, test)]
    if any(divided) and not all(divided):
        raise UserError(f"{path} has only one of the folders {train} and {test}", "path")
    if all(divided):
        parts = {"train": _files(top / train, suffixes, what), "test": _files(top / test, suffixes, what)}
    else:
        parts = _divided(_files(top, suffixes, what), test_share, what)
    if list(parts["train"]) != list(parts["test"]):
        other = sorted(set(parts["train"]) ^ set(parts["test"]))
        raise UserError(f"the class {other[0]} has {what} in one part only", "path")
    return top, parts


def _files(top: Path, suffixes: tuple[str, ...], what: str) -> dict[str, list[Path]]:
    """Class -> its files, both sorted."""
    classes = {}
    for folder in sorted(path for path in top.iterdir() if path.is_dir() and not path.name.startswith(".")):
        classes[folder.name] = sorted(
            file
            for file in folder.rglob("*")
            if file.suffix.lower() in suffixes
            and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        )
        if not classes[folder.name]:
            raise UserError(f"{folder} has no {what} ({', '.join(suffixes)})", "path")
    if not classes:
        raise UserError(f"{top} has no folders: one for each class is needed", "path")
    return classes


def _divided(classes: dict[str, list[Path]], share: float, what: str) -> dict[str, dict[str, list[Path]]]:
    parts: dict[str, dict[str, list[Path]]] = {"train": {}, "test": {}}
    for number, (name, files) in enumerate(classes.items()):
        held = round(share * len(files))
        if not 0 < held < len(files):
            todo = "at least two of each class are needed" if len(files) < 2 else f"give another share, or more {what}"
            raise UserError(
                f"{share} of the {len(files)} {what} of class {name} leaves one part empty; {todo}", "test_share"
            )
        order = torch.randperm(len(files), generator=generator(0, number)).tolist()
        parts["test"][name] = sorted(files[place] for place in order[:held])
        parts["train"][name] = sorted(files[place] for place in order[held:])
    return parts
