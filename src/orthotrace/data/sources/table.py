"""Images in tables: data sets of the Hugging Face hub, and local Parquet files of the same schema."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from orthotrace.core.errors import UserError, checked, folder_at, one_line, refuse_unknown
from orthotrace.data.cache import content_hash
from orthotrace.data.sources.base import Limit, Source, check_names
from orthotrace.data.sources.decode import Decoding, Row, Rows, decoded
from orthotrace.data.sources.preparation import Preparation, prepared

if TYPE_CHECKING:
    from datasets import Features

Size = Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]


@checked
def table(
    name: str | None = None,
    path: str | None = None,
    subset: str | None = None,
    train: str = "train",
    test: str = "test",
    image: str | None = None,
    label: str | None = None,
    superclass: str | None = None,
    size: Size | None = None,
    channels: Literal[1, 3] | None = None,
    skip_corrupt: bool = False,
    normalise: bool = True,
    classes: list[str | int] | None = None,
    limit: Limit | None = None,
    preparation: Preparation = "none",
) -> Source:
    """Images from a data set of the Hugging Face hub, or from a local folder of its Parquet files.

    Decoded once, and cached under a hash of the content.

    Args:
        name: of the data set on the hub; with a path only the name that is shown.
        path: a local folder with train*.parquet and test*.parquet, at any depth, instead of the hub.
        subset: of the data set on the hub, where it has several.
        train: the split of the training part; of local files the beginning of their names.
        test: the split of the test part, likewise.
        image: the column of images; None for the only one of such a type.
        label: the column of labels; None for the only one of such a type.
        superclass: the column of superclasses, where there is one.
        size: in pixels to which images are resized, one number or (height, width); None where all have one size.
        channels: 1 for grey, 3 for colours; None for those of the first image.
        skip_corrupt: leave out images that cannot be decoded, with a warning.
        normalise: scale each channel to mean 0 and standard deviation 1 over the training images; else to [0, 1].
        classes: names by label; None for those in the files, or the labels.
        limit: images of each class in each part at most, the first ones; None for all.
        preparation: "gcn" for global contrast normalisation of each image, "gcn_zca" for ZCA whitening after it,
            "planes" for planes of colours read as pixels (see planes_as_pixels), each in place of any other scaling;
            "none" for neither.

    Raises:
        UserError: the hub cannot be reached, a file is missing or damaged, a part or a column is absent or not the
            only one of its type, or an image is corrupt or of another size.
    """
    if name is None and path is None:
        raise UserError("give a folder of Parquet files, or the name of a data set on the hub", "path")
    decoding = Decoding((size, size) if isinstance(size, int) else size, channels, skip_corrupt, limit)
    made = parts_at(name, path, subset, train, test)
    features = made["train"].features
    columns = _columns(features, image, label, superclass)
    for part in made.values():
        refuse_unknown(filter(None, columns), part.features, f"{part.name} has no column", "label")
    names = _names(features, columns[1])
    if _names(made["test"].features, columns[1]) != names:
        raise UserError(
            "the classes of the test part have other names, or another order, than those of training", "label"
        )
    # The number of files: where the training part ends and the test part begins.
    options = (
        columns,
        *decoding.key(),
        {part: (content.fingerprint, len(content.files)) for part, content in made.items()},
    )
    source = decoded(
        name or Path(str(path)).name,
        content_hash([file for part in made.values() for file in part.files], *options),
        {part: Rows(lambda content=content: content.rows(columns), content.count) for part, content in made.items()},
        decoding,
        names,
        _names(features, columns[2]),
        normalise,
    )
    source = prepared(source, preparation)
    if classes is None:
        return source
    if len(classes) != len(source.classes):
        raise UserError(f"{len(classes)} names for {len(source.classes)} classes", "classes")
    return replace(source, classes=check_names(classes))


def parts_at(name: str | None, path: str | None, subset: str | None, train: str, test: str) -> dict[str, Any]:
    """The training and the test part of a table, in a folder or on the hub, see table.

    Raises:
        UserError: the hub cannot be reached, a file is missing or damaged, or a part is absent.
    """
    return _local(path, train, test) if path is not None else _hub(str(name), subset, train, test)


Columns = tuple[str, str, str | None]


class _Parquet:
    """Local Parquet files of one part."""

    fingerprint = None

    def __init__(self, files: list[Path]) -> None:
        from datasets import Features
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile

        self.files = files
        self.name = files[0].name
        self.count = 0
        for file in files:
            try:
                opened = ParquetFile(file)
            except (OSError, ArrowException) as error:
                raise UserError(f"{file} is not a Parquet file ({one_line(error)[:80]})", "path") from error
            features = Features.from_arrow_schema(opened.schema_arrow)
            if self.count and features != self.features:
                raise UserError(
                    f"{file.name} and {files[0].name} have other columns, or other names of classes", "path"
                )
            self.count += opened.metadata.num_rows
            self.features = features

    def rows(self, columns: Columns) -> Iterator[Row]:
        for file, first, batch in self._batches([column for column in columns if column]):
            yield from _rows(batch, columns, file.name, first)

    def values(self, columns: list[str]) -> Iterator[tuple[Any, ...]]:
        """The values of columns, row by row."""
        for _, _, batch in self._batches(columns):
            yield from zip(*(batch[column] for column in columns), strict=True)

    def _batches(self, columns: list[str]) -> Iterator[tuple[Path, int, dict[str, list[Any]]]]:
        """Rows in batches: their file, the number of the first, and their columns."""
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile

        for file in self.files:
            first = 0
            try:
                for batch in ParquetFile(file).iter_batches(256, columns=columns):
                    yield file, first, batch.to_pydict()
                    first += batch.num_rows
            except (OSError, ArrowException) as error:
                raise UserError(f"{file} is damaged ({one_line(error)[:80]})", "path") from error


class _Hub:
    """One split of a data set of the hub, as the library datasets holds it."""

    files: Sequence[Path] = ()

    def __init__(self, part: Any, name: str) -> None:
        self.part = part
        self.name = name
        self.features = part.features
        self.count = len(part)
        self.fingerprint = part._fingerprint

    def rows(self, columns: Columns) -> Iterator[Row]:
        # Encoded bytes, as in a Parquet file.
        chosen = self.part.select_columns([column for column in columns if column]).with_format("arrow")
        for first in range(0, self.count, 256):
            yield from _rows(chosen[first : first + 256].to_pydict(), columns, self.name, first)

    def values(self, columns: list[str]) -> Iterator[tuple[Any, ...]]:
        """The values of columns, row by row."""
        chosen = self.part.select_columns(columns).with_format("arrow")
        for first in range(0, self.count, 256):
            batch = chosen[first : first + 256].to_pydict()
            yield from zip(*(batch[column] for column in columns), strict=True)


def _rows(content: dict[str, list[Any]], columns: Columns, name: str, first: int) -> Iterator[Row]:
    image, label, superclass = columns
    groups = content[superclass] if superclass else [None] * len(content[label])
    for number, (picture, value, group) in enumerate(zip(content[image], content[label], groups, strict=True), first):
        place = f"row {number} of {name}"
        if isinstance(picture, dict):
            picture = picture["bytes"] if picture["bytes"] is not None else Path(str(picture["path"]))
        if picture is None or value is None:
            raise UserError(f"{place} has no {'image' if picture is None else 'label'}", "path")
        yield Row(place, picture, value, group)


def _local(path: str, train: str, test: str) -> dict[str, Any]:
    there = sorted(folder_at(path).rglob("*.parquet"))
    found = {}
    for key, name in (("train", train), ("test", test)):
        files = [file for file in there if file.name == f"{name}.parquet" or file.name.startswith(f"{name}-")]
        files = files or [file for file in there if file.name.startswith(name)]
        if not files:
            listed = ", ".join(file.name for file in there) or "no Parquet file at all"
            raise UserError(f"{path} has no {name}*.parquet; there is {listed}; name the part by {key}=", "path")
        found[key] = _Parquet(files)
    both = {file.name for file in found["train"].files} & {file.name for file in found["test"].files}
    if both:
        raise UserError(f"{min(both)} belongs to both parts; name them apart by train= and test=", "test")
    return found


def _hub(name: str, subset: str | None, train: str, test: str) -> dict[str, Any]:
    import datasets

    # It would report each of five attempts; the error below is enough.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        loaded: Any = datasets.load_dataset(name, subset)
    # The library raises errors of many other libraries where the network is missing.
    except Exception as error:
        raise UserError(
            f"the data set cannot be loaded from the hub ({one_line(error)[:120]}); without a network give a local "
            "folder of its Parquet files: dataset.path=FOLDER",
            "name",
        ) from error
    found = {}
    for key, part in (("train", train), ("test", test)):
        refuse_unknown([part], loaded, f"{name} has no part", key)
        found[key] = _Hub(loaded[part], f"{name}, {part}")
    return found


def _columns(features: Features, image: str | None, label: str | None, superclass: str | None) -> Columns:
    """The columns, named or found by their types."""
    for key, column in (("image", image), ("label", label), ("superclass", superclass)):
        refuse_unknown([] if column is None else [column], features, "there is no column", key)
    from datasets import ClassLabel, Image, Value

    def only(key: str, *tests: Any) -> str:
        for test in tests:
            fitting = [column for column, feature in features.items() if test(feature) and column != superclass]
            if len(fitting) == 1:
                return fitting[0]
            if fitting:
                raise UserError(f"several columns may be meant ({', '.join(fitting)}): name one", key)
        raise UserError(f"no column has the type of one; name it: there are {', '.join(features)}", key)

    def encoded(feature: Any) -> bool:
        return (isinstance(feature, dict) and "bytes" in feature) or (
            isinstance(feature, Value) and feature.dtype in ("binary", "large_binary")
        )

    def countable(feature: Any) -> bool:
        return isinstance(feature, Value) and (feature.dtype.startswith(("int", "uint")) or feature.dtype == "string")

    return (
        image or only("image", lambda feature: isinstance(feature, Image), encoded),
        label or only("label", lambda feature: isinstance(feature, ClassLabel), countable),
        superclass,
    )


def _names(features: Features, column: str | None) -> list[str] | None:
    names = None if column is None else getattr(features[column], "names", None)
    return None if names is None else [str(name) for name in names]
