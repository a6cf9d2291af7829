"""Stimuli of networks from elsewhere: folders, arrays, labels in files, and their scaling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from orthotrace.analysis.networks.shown import of_array, of_file, of_source, scaled
from orthotrace.core.errors import UserError
from orthotrace.data.sources import digits


@pytest.fixture
def pictures(tmp_path):
    """Two images of each of two classes, of one shade each."""
    for shade, name in enumerate(["b/2.png", "a/1.png", "b/1.png", "a/2.png"]):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 6), 51 * shade, dtype=np.uint8)).save(tmp_path / "pictures" / name)
    return tmp_path / "pictures"


def test_a_folder_of_classes_is_sorted_and_scaled(pictures):
    found = of_file(pictures)
    assert found.classes == ("a", "b") and found.per_class == 2 and found.images.shape == (4, 1, 4, 6)
    assert found.images[:, 0, 0, 0].tolist() == pytest.approx([0.2, 0.6, 0.4, 0.0])
    assert of_file(pictures, size=3).images.shape == (4, 1, 3, 3)
    assert of_file(pictures, per_class=1, classes=["b", "a"]).images[:, 0, 0, 0].tolist() == pytest.approx([0.4, 0.2])


def test_a_folder_of_images_alone_has_no_classes(pictures):
    with pytest.raises(UserError, match="three stimuli or more"):
        of_file(pictures / "a")
    Image.fromarray(np.zeros((4, 6), dtype=np.uint8)).save(pictures / "a" / "3.png")
    found = of_file(pictures / "a")
    assert not found.named and len(found.labels) == 3 and not found.labels.any()
    assert of_file(pictures / "a", labels=[1, 0, 1], per_class=1).places.tolist() == [1, 0]


def test_images_that_differ_or_are_none_are_named(pictures):
    Image.fromarray(np.zeros((5, 6), dtype=np.uint8)).save(pictures / "b" / "3.png")
    with pytest.raises(UserError, match=r"3\.png has 5 x 6 pixels, .*1\.png 4 x 6; stimuli\.size=\[4,6\] resizes all"):
        of_file(pictures)
    (pictures / "b" / "3.png").write_bytes(b"half")
    with pytest.raises(UserError, match=r"stimuli\.path: .*3\.png cannot be decoded"):
        of_file(pictures)
    (pictures / "empty").mkdir()
    with pytest.raises(UserError, match="has no images"):
        of_file(pictures / "empty")
    with pytest.raises(UserError, match=r"no\.jpg is neither a folder of images nor ends in \.npy"):
        of_file("no.jpg")


@pytest.mark.parametrize("name", ["labels.npy", "labels.txt"])
def test_an_array_with_labels_in_a_file(tmp_path, name):
    images, labels = np.arange(6, dtype=np.uint8).reshape(6, 1) * 51, ["x", "y", "x", "y", "y", "x"]
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", labels)
    (tmp_path / "labels.txt").write_text("\n".join(labels))
    found = of_file(tmp_path / "images.npy", str(tmp_path / name))
    assert found.classes == ("x", "y") and found.places.tolist() == [0, 2, 5, 1, 3, 4]
    assert found.images.flatten().tolist() == pytest.approx([0, 0.4, 1, 0.2, 0.6, 0.8])
    assert found.descriptors()["class"].tolist() == ["x"] * 3 + ["y"] * 3


@pytest.mark.parametrize("kind", [np.int64, np.int16, np.uint16])
def test_whole_numbers_may_be_tokens(kind):
    found = of_array(np.arange(6, dtype=kind).reshape(3, 2))
    assert found.images.dtype == torch.int64 and found.images.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert scaled(found, std=0.5).images.tolist() == [[0, 2], [4, 6], [8, 10]]
    assert of_array([[0.0, 1], [2, 3], [4, 5]]).images.dtype == torch.float32


def test_a_data_set_is_shown_as_to_runs():
    found = of_source(digits(), per_class=2)
    assert len(found.labels) == 20 and found.order is None and found.classes == tuple("0123456789")
    assert len(of_source(digits()).labels) == 200


def test_scaling_by_channel():
    found = of_array(torch.ones(4, 2, 3, 3))
    assert scaled(found) is found
    by = scaled(found, [1.0, 0.5], 0.25)
    assert by.images[0, :, 0, 0].tolist() == [0, 2] and by.digest != found.digest
    with pytest.raises(UserError, match=r"stimuli\.mean: 3 numbers for 2 channels"):
        scaled(found, [1.0, 2.0, 3.0])
