"""What every kind of data set has: a limit for trial runs, and names of classes where the files have none."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from images import encoded, write_tables

from orthotrace.core.errors import UserError
from orthotrace.data.sources import archive, arrays, digits, folder, several, table

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (24, 5, 5), dtype=np.uint8), np.tile([2, 0, 1], 8)
ARRAYS = {"train_images": IMAGES, "train_labels": LABELS, "test_images": IMAGES[:12], "test_labels": LABELS[:12]}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ORTHOTRACE_CACHE", str(tmp_path / "cache"))


def pictures(top):
    for name in ("cat", "dog"):
        (top / name).mkdir(parents=True)
        for number in range(20):
            (top / name / f"{number:02}.png").write_bytes(encoded(RNG.integers(0, 256, (6, 6), dtype=np.uint8)))
    return str(top)


def saved(path, **more):
    np.savez(path, **ARRAYS, **more)
    return str(path)


def numbered(folder):
    """Parquet files whose labels are mere numbers."""
    write_tables(folder, 3, 4)
    for file in folder.glob("*.parquet"):
        pq.write_table(pq.read_table(file).replace_schema_metadata(), file)
    return str(folder)


# Kind of data set -> from a folder: a function that reads it with options.
KINDS = {
    "arrays": lambda top: lambda **options: arrays(**ARRAYS, **options),
    "archive": lambda top: lambda path=saved(top / "a.npz"), **options: archive(path, **options),
    "folder": lambda top: lambda path=pictures(top / "p"), **options: folder(path, **options),
    "table": lambda top: lambda path=str(write_tables(top / "t", 3, 4)), **options: table(path=path, **options),
    "several": lambda top: (
        lambda path=str(write_tables(top / "s" / "one", 3, 4).parent), **options: several({"one": {}}, path, **options)[
            0
        ]
    ),
    "digits": lambda top: digits,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_takes_the_first_images_of_each_class_of_both_parts(tmp_path, kind):
    read = KINDS[kind](tmp_path)
    whole, small = read(), read(limit=2)
    assert small.classes == whole.classes and len(read(limit=1000).train) == len(whole.train)
    for part in ("train", "test"):
        all_of, few = whole.part(part), small.part(part)
        labels = all_of.labels.tolist()
        places = [place for place, label in enumerate(labels) if labels[:place].count(label) < 2]
        assert len(few) == 2 * len(whole.classes)
        assert torch.equal(few.images, all_of.images[places]) and torch.equal(few.labels, all_of.labels[places])
    if kind != "digits":
        # As if the data set had no other images.
        assert abs(float(small.train.inputs().double().mean())) < 1e-6


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "arrays"])
def test_a_limit_is_a_number_from_1(tmp_path, kind):
    with pytest.raises(UserError, match=r"limit: input should be greater than or equal to 1 \(got 0\)"):
        KINDS[kind](tmp_path)(limit=0)


NAMED = {
    "an archive with numbers": lambda top: lambda path=saved(top / "a.npz"), **options: archive(path, **options),
    "an archive with names": lambda top: (
        lambda path=saved(top / "a.npz", classes=np.array(["a", "b", "c"])), **options: archive(path, **options)
    ),
    "a table with numbers": lambda top: lambda path=numbered(top / "t"), **options: table(path=path, **options),
    "a table with names": lambda top: (
        lambda path=str(write_tables(top / "t", 3, 4)), **options: table(path=path, **options)
    ),
}


@pytest.mark.parametrize("kind", NAMED)
def test_classes_have_the_names_that_a_user_gives_them(tmp_path, kind):
    read = NAMED[kind](tmp_path)
    assert read(classes=["cat", "dog", 7]).classes == ("cat", "dog", "7")
    assert read().classes == {"numbers": ("0", "1", "2"), "names": ("a", "b", "c")}[kind.split()[-1]] or "table" in kind
    with pytest.raises(UserError, match="two classes have the name 'cat'"):
        read(classes=["cat", "dog", "cat"])
    with pytest.raises(UserError, match="names for|none of the 2 classes"):
        read(classes=["cat", "dog"])
