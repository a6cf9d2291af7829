"""Parquet in the schema of the hub: found, decoded, refused."""

from __future__ import annotations

import shutil
import time
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from images import encoded, pictures, real, write_tables

from orthotrace.core.errors import UserError
from orthotrace.data.sources import table

REAL = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ORTHOTRACE_CACHE", str(tmp_path / "cache"))


def rewrite(file: Path, **columns) -> None:
    """The same file with some columns replaced, or removed where None."""
    content = pq.read_table(file)
    for name, values in columns.items():
        content = content.drop_columns([name])
        if values is not None:
            content = content.append_column(name, values)
    pq.write_table(content, file)


@pytest.mark.parametrize("colours", [False, True])
def test_images_are_the_pixels_that_were_encoded(tmp_path, colours):
    source = table(path=str(write_tables(tmp_path / "data", 3, 5, 8, colours)))
    labels = np.tile(np.arange(3), 5)
    expected = torch.tensor(np.array(pictures(15, labels, 8, colours, seed=0)))
    expected = expected.permute(0, 3, 1, 2) if colours else expected[:, None]
    assert torch.equal(source.train.images, expected) and source.train.store.dtype == torch.uint8
    assert source.train.labels.tolist() == labels.tolist() and source.classes == ("class0", "class1", "class2")
    assert source.name == "data" and len(source.test) == 15
    inputs = source.train.inputs().double()
    assert abs(float(inputs.mean())) < 1e-6 and float(inputs.std((0, 2, 3), correction=0).mean()) == pytest.approx(1)
    plain = table(path=str(tmp_path / "data"), normalise=False).train.inputs()
    assert torch.allclose(plain, expected / 255)


def test_decoded_once(tmp_path, monkeypatch):
    path = str(write_tables(tmp_path / "data"))
    first = table(path=path)
    monkeypatch.setattr("orthotrace.data.sources.decode._Images.write", None)
    assert torch.equal(table(path=path).train.images, first.train.images)
    # Of the same content elsewhere, too; other options decode anew.
    shutil.copytree(path, tmp_path / "copy")
    assert torch.equal(table(path=str(tmp_path / "copy")).train.images, first.train.images)
    with pytest.raises(TypeError):
        table(path=path, size=4)


def test_columns_are_found_by_type_or_named(tmp_path):
    source = table(
        path=str(write_tables(tmp_path, 4, 3, label="fine_label", image="img", superclasses=2)),
        label="fine_label",
        superclass="coarse_label",
    )
    assert source.superclasses == ("group0", "group1", "group0", "group1")
    found = table(path=str(tmp_path), superclass="coarse_label")
    assert found.superclasses == source.superclasses and found.classes == source.classes


def test_bytes_and_numbers_without_the_schema_of_the_hub(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (6, 5, 5), dtype=np.uint8)
    for part in ("train", "test"):
        columns = {"picture": [encoded(one) for one in pixels], "digit": pa.array([3, 7, 3, 7, 3, 7], pa.int64())}
        pq.write_table(pa.table(columns), tmp_path / f"{part}.parquet")
    source = table(path=str(tmp_path))
    assert source.classes == ("3", "7") and source.train.labels.tolist() == [0, 1] * 3
    assert torch.equal(source.train.images[:, 0], torch.tensor(pixels))


def test_the_name_of_a_folder_is_a_data_set_of_the_hub_too(tmp_path):
    write_tables(tmp_path / "data", 3, 4)
    hub, local = table(name=str(tmp_path)), table(path=str(tmp_path))
    assert torch.equal(hub.train.images, local.train.images) and hub.classes == local.classes
    with pytest.raises(UserError, match="has no part 'valid'"):
        table(name=str(tmp_path), test="valid")


def test_without_a_network_the_way_out_is_told(monkeypatch):
    def unreachable(*args):
        raise ConnectionError("Couldn't reach 'ylecun/mnist' on the Hub")

    monkeypatch.setattr("datasets.load_dataset", unreachable)
    with pytest.raises(UserError) as error:
        table(name="ylecun/mnist")
    assert str(error.value) == (
        "name: the data set cannot be loaded from the hub (Couldn't reach 'ylecun/mnist' on the Hub); without a network "
        "give a local folder of its Parquet files: dataset.path=FOLDER"
    )


def test_sizes_are_made_one(tmp_path):
    path = str(write_tables(tmp_path, colours=True))
    assert table(path=path, size=4).shape == (3, 4, 4)
    assert table(path=path, size=(4, 6), channels=1).shape == (1, 4, 6)


def spoil(folder: Path, what: str) -> None:
    train, test = (next(folder.glob(f"{part}*")) for part in ("train", "test"))
    images = pq.read_table(train)["image"].to_pylist()
    kind = pq.read_table(train)["image"].type
    if what == "mixed":
        images[7] = {"bytes": encoded(np.zeros((9, 8), dtype=np.uint8)), "path": None}
    if what == "corrupt":
        images[5] = {"bytes": b"no image", "path": None}
    if what == "truncated":
        images[6] = {"bytes": images[6]["bytes"][:40], "path": None}
    if what == "absent":
        images[2] = None
    if what == "coloured":
        images[3] = {"bytes": encoded(np.zeros((8, 8, 3), dtype=np.uint8)), "path": None}
    if what in ("mixed", "corrupt", "truncated", "absent", "coloured"):
        rewrite(train, image=pa.array(images, kind))
    if what == "no label":
        rewrite(test, label=None)
    if what == "no test":
        test.unlink()
    if what == "no parquet":
        train.write_text("label,image")
    if what == "nothing":
        train.unlink(), test.unlink()


BAD = {
    "mixed": "size: row 7 of train-00000-of-00001.parquet has 9 x 8 pixels, row 0 of train-00000-of-00001.parquet has 8 x 8",
    "corrupt": "skip_corrupt: row 5 of train-00000-of-00001.parquet cannot be decoded (cannot identify image file",
    "truncated": "skip_corrupt: row 6 of train-00000-of-00001.parquet cannot be decoded",
    "absent": "path: row 2 of train-00000-of-00001.parquet has no image",
    "coloured": "channels: row 3 of train-00000-of-00001.parquet has colours, row 0 of train-00000-of-00001.parquet has none",
    "no label": "label: test-00000-of-00001.parquet has no column 'label'",
    "no parquet": "path: FOLDER/train-00000-of-00001.parquet is not a Parquet file",
    "no test": "path: FOLDER has no test*.parquet; there is train-00000-of-00001.parquet",
    "nothing": "path: FOLDER has no train*.parquet; there is no Parquet file at all",
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_named_on_one_line_and_nothing_is_kept(tmp_path, what):
    folder = write_tables(tmp_path / "data")
    spoil(folder, what)
    with pytest.raises(UserError) as error:
        table(path=str(folder))
    line = str(error.value)
    assert line.startswith(BAD[what].replace("FOLDER", str(folder))) and "\n" not in line
    assert not list((tmp_path / "cache").glob("*"))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, "path: give a folder of Parquet files"),
        ({"path": "nowhere"}, "path: there is no folder nowhere"),
        ({"image": "picture"}, "image: there is no column 'picture'"),
        ({"label": "lable"}, "label: there is no column 'lable'; did you mean 'label'?"),
        ({"superclass": "coarse"}, "superclass: there is no column 'coarse'"),
        ({"test": "valid"}, "path: "),
        ({"size": 0}, "size: "),
        ({"channels": 2}, "channels: "),
    ],
)
def test_options_that_cannot_be(tmp_path, options, line):
    if options and "path" not in options:
        options = {"path": str(write_tables(tmp_path)), **options}
    with pytest.raises(UserError) as error:
        table(**options)
    assert str(error.value).startswith(line)


def test_two_columns_that_may_be_labels(tmp_path):
    with pytest.raises(UserError, match=r"label: several columns may be meant \(label, coarse_label\): name one"):
        table(path=str(write_tables(tmp_path, superclasses=2)))


def test_corrupt_images_can_be_left_out_and_are_counted(tmp_path):
    folder = write_tables(tmp_path / "data")
    whole = table(path=str(folder)).train
    spoil(folder, "corrupt")
    for _ in range(2):
        with pytest.warns(UserWarning, match="1 corrupt images of the train part are left out"):
            source = table(path=str(folder), skip_corrupt=True)
        rest = torch.tensor([place for place in range(len(whole)) if place != 5])
        assert torch.equal(source.train.images, whole.images[rest])
        assert torch.equal(source.train.labels, whole.labels[rest])


present = pytest.mark.skipif(not REAL.is_dir(), reason="the real images are not beside the project")


@present
@pytest.mark.parametrize("count", [300, pytest.param(10000, marks=pytest.mark.whole)])
def test_real_test_images(tmp_path, count):
    """The smaller files, or their first images, as both parts."""
    found = {}
    for name in ("mnist", "cifar10"):
        (file,) = REAL.glob(f"{name}/**/test-*.parquet")
        (tmp_path / name).mkdir()
        for part in ("train", "test"):
            pq.write_table(pq.read_table(file).slice(0, count), tmp_path / name / f"{part}-0.parquet")
        found[name] = table(path=str(tmp_path / name))
    mnist, cifar = found.values()
    assert (len(mnist.train), len(mnist.test), mnist.shape) == (count, count, (1, 28, 28))
    if count == 10000:
        assert mnist.train.scaling.mean[0] / 255 == pytest.approx(0.1325, abs=5e-5)
        assert torch.bincount(cifar.train.labels).tolist() == [1000] * 10
    else:
        assert cifar.train.labels.tolist() == pq.read_table(file)["label"].to_pylist()[:count]
        pixels, photographs = real("mnist", "image", count), real("cifar10", "img", count)
        assert mnist.train.scaling.mean[0] == pytest.approx(pixels.mean(), rel=1e-6)
        assert torch.equal(mnist.test.images[:, 0], torch.from_numpy(pixels))
        assert torch.equal(cifar.test.images, torch.from_numpy(photographs).permute(0, 3, 1, 2))
    assert mnist.train.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert cifar.shape == (3, 32, 32) and cifar.classes[3] == "cat"


@present
@pytest.mark.whole
def test_real_digits_and_photographs(monkeypatch, tmp_path):
    mnist = table(path=str(REAL / "mnist"))
    assert (len(mnist.train), len(mnist.test), mnist.shape) == (60000, 10000, (1, 28, 28))
    assert mnist.train.scaling.mean[0] / 255 == pytest.approx(0.1307, abs=5e-5)
    assert mnist.train.scaling.std[0] / 255 == pytest.approx(0.3081, abs=5e-5)
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    cifar = table(path=str(REAL / "cifar10"))
    start = time.perf_counter()
    again = table(path=str(REAL / "cifar10"))
    assert time.perf_counter() - start < 2
    assert again.shape == (3, 32, 32) and again.classes[3] == "cat" and len(cifar.train) == 50000
    assert torch.bincount(again.train.labels).tolist() == [5000] * 10


def test_no_warnings_while_decoding(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table(path=str(write_tables(tmp_path)))


def shard(folder: Path, name: str, values, names=None) -> None:
    """A Parquet file of images that hold one value each."""
    from datasets import ClassLabel, Dataset, Features, Image

    folder.mkdir(exist_ok=True)
    images = [{"bytes": encoded(np.full((4, 4), value, np.uint8)), "path": None} for value in values]
    labels = ClassLabel(names=names or ["a", "b"])
    content = {"image": images, "label": [number % 2 for number in range(len(values))]}
    Dataset.from_dict(content, Features({"image": Image(), "label": labels})).to_parquet(folder / f"{name}.parquet")


def test_a_file_that_moves_to_the_other_part_is_decoded_anew(tmp_path):
    for folder, files in {"one": ("train-0", "train-1", "test-0"), "two": ("train-0", "test-0", "test-1")}.items():
        for number, name in enumerate(files):
            shard(tmp_path / folder, name, (10 * number + 1, 10 * number + 2))
    sizes = [
        (len(source.train), len(source.test)) for source in (table(path=str(tmp_path / f)) for f in ("one", "two"))
    ]
    assert sizes == [(4, 2), (2, 4)]


def test_no_file_is_in_both_parts(tmp_path):
    shard(tmp_path, "cifar_0", (1, 2)), shard(tmp_path, "cifar_test_0", (3, 4))
    with pytest.raises(UserError, match=r"test: cifar_test_0.parquet belongs to both parts"):
        table(path=str(tmp_path), train="cifar", test="cifar_test")


def test_classes_in_another_order_are_refused(tmp_path):
    shard(tmp_path / "a", "train", (1, 2), ["cat", "dog"]), shard(tmp_path / "a", "test", (1, 2), ["dog", "cat"])
    with pytest.raises(UserError, match="label: the classes of the test part have other names, or another order"):
        table(path=str(tmp_path / "a"))
    shard(tmp_path / "b", "train-0", (1, 2)), shard(tmp_path / "b", "train-1", (1, 2), ["b", "a"])
    shard(tmp_path / "b", "test-0", (1, 2))
    with pytest.raises(UserError, match=r"train-1.parquet and train-0.parquet have other columns, or other names"):
        table(path=str(tmp_path / "b"))
