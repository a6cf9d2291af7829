from __future__ import annotations

import numpy as np
import pytest
import torch
from images import encoded

from orthotrace.core.errors import UserError
from orthotrace.data.sources import folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ORTHOTRACE_CACHE", str(tmp_path / "cache"))


def fill(top, classes=("cat", "dog"), count=10, side=6):
    for shade, name in enumerate(classes, start=1):
        (top / name).mkdir(parents=True)
        for number in range(count):
            (top / name / f"{number}.png").write_bytes(encoded(np.full((side, side), 10 * shade + number, np.uint8)))
    return str(top)


def test_a_share_of_each_class_is_the_test_part(tmp_path):
    path = fill(tmp_path / "data")
    source = folder(path, test_share=0.3)
    assert source.classes == ("cat", "dog") and source.name == "data" and source.shape == (1, 6, 6)
    assert torch.bincount(source.test.labels).tolist() == [3, 3]
    shades = torch.cat([source.train.images, source.test.images])[:, 0, 0, 0].tolist()
    assert sorted(shades) == sorted([*range(10, 20), *range(20, 30)])
    labels = torch.cat([source.train.labels, source.test.labels]).tolist()
    assert all(shade // 10 - 1 == label for shade, label in zip(shades, labels, strict=True))
    assert torch.equal(folder(path, test_share=0.3).test.images, source.test.images)


def test_hidden_folders_are_no_images(tmp_path):
    path = fill(tmp_path / "data")
    (tmp_path / "data" / "cat" / ".hidden").mkdir()
    (tmp_path / "data" / "cat" / ".hidden" / "x.png").write_bytes(encoded(np.zeros((6, 6), np.uint8)))
    source = folder(path)
    assert len(source.train) + len(source.test) == 20


def test_parts_of_their_own(tmp_path):
    fill(tmp_path / "data" / "train"), fill(tmp_path / "data" / "val", count=2)
    source = folder(str(tmp_path / "data"), test="val")
    assert (len(source.train), len(source.test)) == (20, 4)


@pytest.mark.parametrize(
    ("make", "options", "line"),
    [
        (lambda top: None, {}, "path: there is no folder"),
        (lambda top: top.mkdir(), {}, "has no folders: one for each class is needed"),
        (lambda top: (top / "cat").mkdir(parents=True), {}, "cat has no images"),
        (lambda top: fill(top, count=1), {}, "class cat leaves one part empty; at least two of each class are needed"),
        (
            lambda top: fill(top, count=2),
            {},
            "test_share: 0.2 of the 2 images of class cat leaves one part empty; give another share",
        ),
        (lambda top: fill(top / "train"), {}, "path: "),
        (
            lambda top: (fill(top / "train"), fill(top / "test", ("cat", "cow"))),
            {},
            "the class cow has images in one part",
        ),
        (lambda top: (fill(top), fill(top / "big", ("cow",), side=9)), {}, "has 6 x 6 pixels, "),
        (lambda top: (fill(top), (top / "cat" / "x.png").write_text("no")), {}, "cat/x.png cannot be decoded"),
        (lambda top: fill(top), {"test_share": 1.0}, "test_share: input should be less than 1"),
    ],
)
def test_folders_that_cannot_be(tmp_path, make, options, line):
    make(tmp_path / "data")
    with pytest.raises(UserError) as error:
        folder(str(tmp_path / "data"), **options)
    assert line in str(error.value) and "\n" not in str(error.value)
