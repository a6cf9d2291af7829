"""What tables and folders share. Their own tests cover sizes, corrupt images and the cache."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from images import encoded, write_tables

from orthotrace.core.errors import UserError
from orthotrace.data import cache
from orthotrace.data.batches import Batches
from orthotrace.data.sources import table
from orthotrace.data.sources.decode import Decoding, Row, Rows, decoded


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ORTHOTRACE_CACHE", str(tmp_path / "cache"))


def source(key: str, labels, names=None, superclasses=None, **options):
    rows = [Row(f"row {n}", encoded(np.full((4, 4), n, np.uint8)), *pair) for n, pair in enumerate(labels)]
    parts = {part: Rows(lambda: rows, len(rows)) for part in ("train", "test")}
    return decoded("made", key, parts, Decoding(**options), names, superclasses, normalise=False)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF"])
def test_lossless_kinds_give_their_pixels(kind):
    pixels = np.random.default_rng(0).integers(0, 255, (4, 5), dtype=np.uint8)
    rows = [Row("row 0", encoded(pixels, kind), 0)]
    part = Rows(lambda: rows, 1)
    made = decoded("made", kind, {"train": part, "test": part}, Decoding(channels=1), None, None, normalise=True)
    assert torch.equal(made.train.images[0, 0], torch.tensor(pixels))


def test_sixteen_bits_keep_their_upper_eight_and_floating_pixels_are_refused():
    pixels = (np.arange(16, dtype=np.uint16) * 4000).reshape(4, 4)
    for key, given in {"wide": pixels, "floating": np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)}.items():
        rows = [Row("row 0", encoded(given, "PNG" if key == "wide" else "TIFF"), 0)]
        part = Rows(lambda rows=rows: rows, 1)
        if key == "wide":
            made = decoded("made", key, {"train": part, "test": part}, Decoding(), None, None, normalise=True)
            assert torch.equal(made.train.images[0, 0], torch.tensor((pixels >> 8).astype(np.uint8)))
            continue
        with pytest.raises(UserError, match="row 0 cannot be decoded .pixels of mode F have no fixed range"):
            decoded("made", key, {"train": part, "test": part}, Decoding(), None, None, normalise=True)


def test_labels_without_names_are_those_that_occur():
    made = source("a", [("dog",), ("cat",), ("dog",)])
    assert made.classes == ("cat", "dog") and made.train.labels.tolist() == [1, 0, 1]
    with pytest.raises(UserError, match="the label -1 is none of the 2 classes"):
        source("b", [(0,), (-1,)], names=["x", "y"])


def test_a_class_has_one_superclass():
    made = source("c", [(0, 1), (1, 0), (0, 1)], names=["x", "y"], superclasses=["small", "big"])
    assert made.superclasses == ("big", "small")
    with pytest.raises(UserError, match="superclass: class 0 belongs to several superclasses"):
        source("d", [(0, 1), (0, 0)], names=["x", "y"], superclasses=["small", "big"])


def test_images_too_large_for_the_memory_are_read_from_disk_by_workers(tmp_path, monkeypatch):
    folder = str(write_tables(tmp_path / "data", 4, 6))
    small = table(path=folder)
    monkeypatch.setattr(cache, "MEMORY_BYTES", 100)
    large = table(path=folder)
    assert large.train.mapped and not small.train.mapped
    for a, b in zip(Batches(small.train, 5, 0, 0), Batches(large.train, 5, 0, 0), strict=True):
        assert torch.equal(a.inputs, b.inputs) and torch.equal(a.labels, b.labels)
