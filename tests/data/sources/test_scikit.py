import sys

import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.data.sources import digits


def test_digits_are_the_real_ones_in_fixed_parts():
    source = digits()
    assert source.train.images.shape == (1437, 1, 8, 8) and source.test.images.shape == (360, 1, 8, 8)
    assert float(source.train.inputs().min()) == 0 and float(source.train.inputs().max()) == 1
    assert source.classes == tuple("0123456789")
    counts = torch.bincount(source.test.labels)
    assert int(counts.min()) >= 34 and int(counts.max()) <= 37
    assert torch.equal(digits().test.images, source.test.images)
    # No image is in both parts.
    both = torch.cat([source.train.images, source.test.images]).flatten(1)
    assert len(both.unique(dim=0)) == 1797


def test_scale():
    assert torch.allclose(digits(scale=20.0).train.inputs(), 20 * digits().train.inputs())


@pytest.mark.parametrize("scale", [0, -1, float("inf"), float("nan"), "x"])
def test_scales_that_cannot_be(scale):
    with pytest.raises(UserError, match="scale"):
        digits(scale=scale)


def test_they_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    train, test = train_test_split(range(1797), test_size=360, stratify=data.target, random_state=0)
    for part, places in ((digits().train, train), (digits().test, test)):
        assert torch.equal(part.inputs()[:, 0], torch.from_numpy(data.images[places] / 16).float())
        assert part.labels.tolist() == data.target[places].tolist()


def test_scikit_learn_is_not_imported_twice(tmp_path, monkeypatch):
    """What it gives is kept in the cache; without one, all goes as with it."""
    monkeypatch.setenv("ORTHOTRACE_CACHE", str(tmp_path / "cache"))
    first = digits()
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "sklearn.datasets", None)
        again = digits()
    (tmp_path / "file").touch()
    monkeypatch.setenv("ORTHOTRACE_CACHE", str(tmp_path / "file" / "cache"))
    without = digits()
    for other in (again, without):
        assert torch.equal(other.train.images, first.train.images)
        assert torch.equal(other.test.labels, first.test.labels)
        assert other.train.scaling == first.train.scaling and other.classes == first.classes


@pytest.mark.parametrize("name", ["about.json", "train.npy", "test.npy"])
@pytest.mark.parametrize("content", ["{}", None])
def test_an_entry_that_is_damaged_beyond_notice_does_no_harm(tmp_path, monkeypatch, name, content):
    """Without the digests that would tell."""
    monkeypatch.setenv("ORTHOTRACE_CACHE", str(tmp_path))
    first = digits()
    (folder,) = tmp_path.iterdir()
    for path in folder.iterdir():
        if path.name not in ("about.json", *(f"{one}.npy" for one in ("images", "labels", "train", "test"))):
            path.unlink()
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    again = digits()
    assert torch.equal(again.train.images, first.train.images) and again.classes == first.classes
