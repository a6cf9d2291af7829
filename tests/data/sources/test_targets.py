"""Images with targets of a regression, in arrays and in archives."""

import numpy as np
import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.data.sources import archive, targets

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
VALUES = np.linspace(-1, 1, 12).reshape(6, 2)
TASKS = np.array([0, 0, 2, 2, 7, 7])
CONTENT = {"train_images": IMAGES, "train_targets": VALUES, "test_images": IMAGES, "test_targets": VALUES}


def test_targets_are_a_column_each():
    source = targets(IMAGES, VALUES[:, 0], IMAGES, VALUES[:, 0])
    assert source.regression and source.classes == ("target 1",) and source.tasks is None
    assert torch.equal(source.train.labels, torch.tensor(VALUES[:, :1]).float())
    two = targets(IMAGES, VALUES, IMAGES, VALUES, classes=["age", "weight"])
    assert torch.equal(two.test.labels, torch.tensor(VALUES).float()) and two.classes == ("age", "weight")


@pytest.mark.parametrize("names", [TASKS, np.array(["a", "a", "b", "b", "c", "c"])])
def test_tasks_that_are_told(names):
    source = targets(**CONTENT, train_tasks=names, test_tasks=names[::-1].copy(), limit=1)
    assert source.tasks == tuple(map(str, sorted(set(names.tolist()))))
    # The first image of each task.
    assert source.train.tasks.tolist() == [0, 1, 2] and source.test.tasks.tolist() == [2, 1, 0]
    assert torch.equal(source.train.labels, torch.tensor(VALUES[::2]).float())


def test_a_limit_without_tasks_is_of_a_part():
    source = targets(**CONTENT, limit=4)
    assert len(source.train) == len(source.test) == 4 and len(source.train.images) == 4


def test_an_archive_of_a_regression(tmp_path):
    file = tmp_path / "mine.npz"
    np.savez(file, **CONTENT, train_tasks=TASKS, test_tasks=TASKS, classes=np.array(["age", "weight"]))
    source = archive(str(file))
    assert source.name == "mine" and source.classes == ("age", "weight") and source.tasks == ("0", "2", "7")
    np.savez(file, **CONTENT, train_labels=np.arange(6))
    with pytest.raises(UserError, match="path: .* has train_labels and train_targets: keep one kind"):
        archive(str(file))
    np.savez(file, **{key: value for key, value in CONTENT.items() if key != "test_targets"})
    with pytest.raises(UserError, match="has no array 'test_targets'"):
        archive(str(file))
    np.savez(file, **{**CONTENT, "train_targets": np.arange(6)})
    with pytest.raises(UserError, match=r"path: .*mine.npz, train_targets: targets are floating numbers \(got int64"):
        archive(str(file))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"train_targets": np.arange(6)}, "train_targets: targets are floating numbers (got int64; classes are"),
        ({"test_targets": np.array(list("abcdef"))}, "test_targets: targets are floating numbers (got <U1)"),
        ({"train_targets": VALUES.astype(complex)}, "train_targets: targets are floating numbers (got complex128)"),
        ({"train_targets": VALUES[:5]}, "train_targets: (6,) or (6, k) expected, got the shape (5, 2)"),
        ({"train_targets": VALUES[:, :, None]}, "train_targets: (6,) or (6, k) expected"),
        ({"train_targets": VALUES[:, :0]}, "train_targets: (6,) or (6, k) expected"),
        ({"test_targets": VALUES[:, 0]}, "test_targets: 1 for each image, in training 2"),
        ({"train_targets": np.where(VALUES[2, 0] == VALUES, np.nan, VALUES)}, "1 of 6 targets are not finite, the fi"),
        ({"train_targets": VALUES * 1e300}, "train_targets: 6 of 6 targets are not finite, the first of image 0"),
        ({"classes": ["age"]}, "classes: 1 names for 2 targets"),
        ({"train_tasks": TASKS}, "test_tasks: is missing, where the other part has tasks"),
        ({"train_tasks": TASKS[:5], "test_tasks": TASKS}, "train_tasks: 6 whole numbers or names of tasks expected"),
        ({"train_tasks": TASKS, "test_tasks": TASKS / 1}, "test_tasks: 6 whole numbers or names of tasks expected"),
        ({"train_tasks": TASKS, "test_tasks": np.array(list("abcdef"))}, "test_tasks: one part has numbers"),
    ],
)
def test_targets_that_cannot_be(change, line):
    with pytest.raises(UserError) as raised:
        targets(**{**CONTENT, **change})
    assert line in str(raised.value) and "\n" not in str(raised.value)
