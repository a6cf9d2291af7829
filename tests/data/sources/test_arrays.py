import numpy as np
import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.data.sources import archive, arrays
from orthotrace.data.streams import Permuted

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
LABELS = np.arange(6) % 3


@pytest.mark.parametrize("form", ["grey", "last", "first"])
def test_forms(form):
    colours = np.repeat(IMAGES[..., None], 3, axis=3)
    given = {"grey": IMAGES, "last": colours, "first": np.moveaxis(colours, 3, 1)}[form]
    source = arrays(given, LABELS, given[:3], LABELS[:3])
    assert source.shape == ((1, 5, 4) if form == "grey" else (3, 5, 4))
    assert torch.equal(source.train.images[:, 0], torch.tensor(IMAGES))


def test_floating_images_stay_as_they_are():
    given = torch.randn(6, 1, 5, 4, dtype=torch.float64)
    source = arrays(given, LABELS, given, LABELS, classes=["a", "b", "c"])
    assert torch.equal(source.train.inputs(), given.float()) and source.classes == ("a", "b", "c")


def test_an_archive_is_the_arrays_in_it(tmp_path):
    content = {"train_images": IMAGES, "train_labels": LABELS, "test_images": IMAGES, "test_labels": LABELS}
    np.savez(tmp_path / "mine.npz", **content, classes=np.array(["x", "y", "z"]))
    source = archive(str(tmp_path / "mine.npz"))
    assert source.name == "mine" and source.classes == ("x", "y", "z")
    assert torch.equal(source.train.inputs(), arrays(**content).train.inputs())
    np.savez(tmp_path / "less.npz", **{key: value for key, value in content.items() if key != "test_labels"})
    (tmp_path / "bad.npz").write_text("no")
    for file, line in {
        "less.npz": "no array 'test_labels'",
        "bad.npz": "damaged",
        "no.npz": "there is no file",
    }.items():
        with pytest.raises(UserError, match=line):
            archive(str(tmp_path / file))
    np.savez(tmp_path / "short.npz", **{**content, "train_labels": LABELS[:2]})
    with pytest.raises(UserError, match=r"path: .*short.npz, train_labels: 6 labels expected, got the shape \(2,\)"):
        archive(str(tmp_path / "short.npz"))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"train_images": IMAGES[0]}, "train_images: (n, height, width)"),
        ({"train_images": IMAGES.astype(np.int64)}, "train_images: uint8 or floating images expected"),
        ({"train_images": np.full((6, 5, 4), np.nan)}, "train_images: the images have values that are not finite"),
        ({"test_images": IMAGES[:, :4]}, "test_images: training images are (1, 5, 4), test images (1, 4, 4)"),
        ({"train_labels": LABELS[:-1]}, "train_labels: 6 labels expected"),
        ({"train_labels": LABELS - 1}, "train_labels: labels must be integers from 0"),
        ({"train_labels": LABELS / 2}, "train_labels: labels must be integers from 0"),
        ({"classes": ["a", "b"]}, "train_labels: the label 2 is none of the 2 classes"),
    ],
)
def test_arrays_that_cannot_be(change, line):
    given = {"train_images": IMAGES, "train_labels": LABELS, "test_images": IMAGES, "test_labels": LABELS}
    with pytest.raises(UserError) as error:
        arrays(**{**given, **change})
    assert str(error.value).startswith(line)


@pytest.mark.parametrize("shape", [(5,), (5, 4), (3, 5, 4), (2, 3, 5, 4)])
@pytest.mark.parametrize("kind", [np.uint8, np.float64, np.int32])
def test_inputs_of_any_rank(tmp_path, shape, kind):
    given = np.random.default_rng(0).integers(0, 200, (6, *shape)).astype(kind)
    content = {"train_images": given, "train_labels": LABELS, "test_images": given, "test_labels": LABELS}
    np.savez(tmp_path / "mine.npz", **content)
    source = archive(str(tmp_path / "mine.npz"), layout="any")
    inputs = source.train.inputs()
    assert source.shape == shape and inputs.shape == (6, *shape)
    if kind is np.uint8:
        assert abs(float(inputs.mean())) < 1e-5 and float(inputs.std(correction=0)) == pytest.approx(1, abs=1e-5)
    else:
        assert np.array_equal(inputs.numpy(), given.astype(np.float32))
    # A stream takes them as it takes images.
    stream = Permuted(source, tasks=2, validation=0)
    assert torch.equal(stream.test(1).images.flatten(1).sort().values, stream.test(0).images.flatten(1).sort().values)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (np.zeros(6), "train_images: (n, ...) expected, got (6,)"),
        (np.full((6, 2), np.inf), "train_images: the images have values that are not finite"),
        (np.full((6, 2), -1), "train_images: whole numbers are tokens, from 0"),
        (np.zeros((6, 2), dtype=bool), "train_images: real numbers expected"),
        (np.zeros((6, 2), dtype=complex), "train_images: real numbers expected"),
        (np.full((6, 2), "a"), "train_images: numbers expected"),
        (np.zeros((6, 0)), "train_images: (n, ...) expected, got (6, 0)"),
    ],
)
def test_inputs_of_any_rank_that_cannot_be(given, line):
    with pytest.raises(UserError) as refused:
        arrays(given, LABELS, given, LABELS, layout="any")
    assert str(refused.value).startswith(line)
