"""Contrast normalisation and ZCA against dense float64 oracles; fitted on the training part, cached, verified."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from composed import composed

from orthotrace.config.build import build
from orthotrace.core.errors import UserError
from orthotrace.data.images import Images
from orthotrace.data.sources import arrays, preparation
from orthotrace.data.sources.preparation import EPSILON, contrast_normalised, prepared, zca

RNG = np.random.default_rng(0)
SHAPE = (3, 4, 2)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ORTHOTRACE_CACHE", str(tmp_path / "cache"))
    # More than one block.
    monkeypatch.setattr(preparation, "ROWS", 7)
    return tmp_path / "cache"


def source(train=40, kind=np.uint8):
    # A first image of one shade, and pixels that depend on each other.
    images = [RNG.integers(0, 200, (count, *SHAPE)).cumsum(3).clip(0, 255).astype(kind) for count in (train, 9)]
    images[0][0] = 77
    return arrays(images[0], np.arange(train) % 3, images[1], np.arange(9) % 3)


def pixels(part):
    return part.images.double().flatten(1).numpy()


def normalised(rows):
    """Image by image."""
    return np.stack([(row - row.mean()) / row.std() if np.ptp(row) else np.zeros_like(row) for row in rows])


def whitened(rows, train):
    """By the singular values of the centred training images, another way than that of the code."""
    centred = train - train.mean(0)
    _, values, directions = np.linalg.svd(centred)
    variances = np.zeros(len(directions))
    variances[: len(values)] = values**2 / len(train)
    return (rows - train.mean(0)) @ (directions.T / np.sqrt(variances + EPSILON)) @ directions


# Fewer images than values of one too.
@pytest.mark.parametrize("train", [40, 12])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_each_preparation_is_its_dense_oracle(train, kind):
    given = source(train, kind)
    rows = {name: normalised(pixels(given.part(name))) for name in ("train", "test")}
    for name in ("train", "test"):
        expected = {"gcn": rows[name], "gcn_zca": whitened(rows[name], rows["train"])}
        for what, of in expected.items():
            part = prepared(given, what).part(name)
            assert part.inputs().dtype == torch.float32 and torch.equal(part.labels, given.part(name).labels)
            assert np.allclose(part.inputs().flatten(1).numpy(), of, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_planes_are_read_as_pixels_value_by_value(kind):
    given = source(kind=kind)
    channels, height, width = SHAPE
    for name in ("train", "test"):
        part = prepared(given, "planes").part(name)
        found, stored = part.inputs().numpy(), given.part(name).images.numpy()
        assert found.dtype == np.float32 and torch.equal(part.labels, given.part(name).labels)
        for image, of in zip(found, stored, strict=True):
            values = [of[c, i, j] for c in range(channels) for i in range(height) for j in range(width)]
            for i, j, c in np.ndindex(height, width, channels):
                expected = np.float32(values[(i * width + j) * channels + c])
                assert image[c, i, j] == (expected / np.float32(255) if kind == np.uint8 else expected)


def test_images_of_one_channel_have_no_planes():
    grey = RNG.integers(0, 200, (4, 1, 4, 4)).astype(np.uint8)
    with pytest.raises(UserError, match="preparation: images of one channel have no planes of colours: set none"):
        prepared(arrays(grey, np.arange(4), grey, np.arange(4)), "planes")


def test_none_is_the_source_itself_and_an_image_of_one_shade_is_0():
    given = source()
    assert prepared(given, "none") is given
    rows = torch.tensor([[0.1, 0.1, 0.1], [1e-9, 2e-9, 3e-9]], dtype=torch.float64)
    assert contrast_normalised(rows)[0].tolist() == [0, 0, 0]
    assert float(contrast_normalised(rows)[1].square().mean()) == pytest.approx(1)


def test_an_index_into_a_shared_store_is_followed(monkeypatch, tmp_path):
    given = source()
    store = torch.cat([given.test.store, given.train.store])
    both = Images(store, torch.zeros(len(store), dtype=torch.int64))
    shared = dataclasses.replace(given, train=both.take(torch.arange(9, 49)), test=both.take(torch.arange(9)))
    expected = prepared(given, "gcn_zca")
    # They have one place in the cache.
    assert prepared(shared, "gcn_zca").train.images.equal(expected.train.images)
    monkeypatch.setenv("ORTHOTRACE_CACHE", str(tmp_path / "another"))
    found = prepared(shared, "gcn_zca")
    for name in ("train", "test"):
        assert torch.equal(found.part(name).images, expected.part(name).images)


def test_prepared_once_and_again_where_the_cache_was_damaged(folder, monkeypatch):
    given = source()
    first = prepared(given, "gcn_zca").train.images.clone()
    (kept,) = folder.iterdir()
    made = []
    monkeypatch.setattr(preparation, "_prepare", lambda *a, of=preparation._prepare: made.append(1) or of(*a))
    assert torch.equal(prepared(given, "gcn_zca").train.images, first) and not made
    file = kept / "train.npy"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    assert torch.equal(prepared(given, "gcn_zca").train.images, first) and made
    # Other pixels, another preparation, another division into parts: another place in the cache.
    prepared(given, "gcn")
    prepared(source(), "gcn_zca")
    prepared(dataclasses.replace(given, train=given.train.take(torch.arange(39))), "gcn_zca")
    assert len(list(folder.iterdir())) == 4


def test_one_thread_prepares_since_another_number_has_other_bits(monkeypatch):
    threads, used = torch.get_num_threads(), []
    monkeypatch.setattr(preparation, "zca", lambda *a, of=zca: used.append(torch.get_num_threads()) or of(*a))
    torch.set_num_threads(2)
    try:
        prepared(source(), "gcn_zca")
        assert used == [1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_images_too_large_are_refused_before_anything_is_written(folder, monkeypatch):
    monkeypatch.setattr(preparation, "LARGEST", 23)
    with pytest.raises(UserError, match="preparation: images of 24 values are too large to be whitened: 23 at most"):
        prepared(source(), "gcn_zca")
    assert not folder.exists() and len(prepared(source(), "gcn").train) == 40


@pytest.mark.parametrize("dataset", ["digits", "arrays"])
def test_a_data_set_of_the_configuration_is_prepared(dataset, tmp_path):
    given, file = source(), tmp_path / "a.npz"
    np.savez(file, **{f"{n}_{w}": of for n in ("train", "test") for w, of in
                      (("images", given.part(n).images.numpy()), ("labels", given.part(n).labels.numpy()))})  # fmt: skip
    options = [f"dataset={dataset}", *([f"dataset.path={file}"] if dataset == "arrays" else [])]
    plain, made = (build(composed(*options, *more), "dataset") for more in ([], ["dataset.preparation=gcn"]))
    assert torch.equal(made.test.images, prepared(plain, "gcn").test.images)
