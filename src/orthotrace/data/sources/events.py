"""Recordings of event cameras in folders, one for each class, as frames over time."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field

from orthotrace.core.errors import UserError, checked
from orthotrace.data.cache import cached, content_hash, stored
from orthotrace.data.images import Images, Scaling
from orthotrace.data.recordings import SUFFIXES, Camera, Windows, read_recording
from orthotrace.data.sources.base import Limit, PartName, Source
from orthotrace.data.sources.folder import parts_of
from orthotrace.data.sources.table import Size

logger = logging.getLogger(__name__)
# Raised when the same recordings would become other frames.
VERSION = 1


@checked
def events(
    path: str,
    steps: Annotated[int, Field(ge=1, le=1024)] = 10,
    windows: Windows = "time",
    size: Size | None = None,
    camera: Camera | None = None,
    train: str = "train",
    test: str = "test",
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2,
    normalise: bool = False,
    limit: Limit | None = None,
) -> Source:
    """Recordings in a folder for each class, as frames: images of 2 x steps channels.

    Folders are as those of images: ``path/train/CLASS/*`` and ``path/test/CLASS/*``, or ``path/CLASS/*``. Files are
    .bin (N-MNIST), .npy, .npz, HDF5 or .aedat, see recordings.read_recording.

    Args:
        path: the folder.
        steps: frames of each recording.
        windows: "time" for frames of equal length, "count" for frames of equally many events.
        size: (height, width) of the camera, or one number; None for the least that has all events.
        camera: of .aedat files: a reader of tonic.io.
        train: name of the folder of the training part.
        test: name of the folder of the test part.
        test_share: share of each class in the test part, where there are no folders of parts, in (0, 1).
        normalise: scale each channel to mean 0 and standard deviation 1 over the training frames; else the inputs are
            numbers of events.
        limit: recordings of each class in each part at most, the first ones; None for all.

    Raises:
        UserError: no folder, no classes, a class without recordings, or a recording that cannot be read, is empty, or
            has events beyond the size; names it.
    """
    top, parts = parts_of(path, train, test, test_share, SUFFIXES, "recordings")
    classes = tuple(parts["train"])
    files: dict[PartName, list[Path]] = {
        name: [file for of in parts[name].values() for file in of[:limit]] for name in ("train", "test")
    }
    every = [file for of in files.values() for file in of]
    given = (size, size) if isinstance(size, int) else size
    key = content_hash(every, "events", VERSION, [len(of) for of in files.values()], steps, windows, given, camera)
    folder, _ = cached(key, lambda folder: _write(folder, files, steps, windows, given, camera))
    found: dict[str, Images] = {}
    for name in files:
        labels = [number for number, of in enumerate(parts[name].values()) for _ in of[:limit]]
        store, mapped = stored(folder / f"{name}.npy")
        found[name] = Images(store, torch.tensor(labels), mapped=mapped)
    scaling = Scaling.of([found["train"].store]) if normalise else Scaling()
    return Source(top.name, found["train"], found["test"], classes).scaled(scaling)


def _write(
    folder: Path,
    files: dict[PartName, list[Path]],
    steps: int,
    windows: Windows,
    size: tuple[int, int] | None,
    camera: Camera | None,
) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import track

    quiet = not Console().is_terminal
    every = [file for of in files.values() for file in of]
    if size is None:
        largest = np.zeros(2, dtype=int)
        for file in track(every, "size of the camera", transient=True, disable=quiet):
            largest = np.maximum(largest, read_recording(file, camera).size)
        size = int(largest[0]), int(largest[1])
    full = 0
    for name, of in files.items():
        shape = (len(of), 2 * steps, *size)
        store: Any = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint8, shape)
        for place, file in enumerate(track(of, f"frames of {name} recordings", transient=True, disable=quiet)):
            recording = read_recording(file, camera)
            if any(one > most for one, most in zip(recording.size, size, strict=True)):
                raise UserError(f"{file} has events up to {recording.size}, beyond {size}", "size")
            store[place] = recording.frames(steps, size, windows)
            full += int((store[place] == 255).sum())
        store.flush()
    if full:
        logger.warning("%d pixels have 255 events or more in a frame, and count 255; more steps keep them apart", full)
    return {"size": size}
