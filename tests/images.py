"""Small Parquet files in the schema of the hub, made for tests."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
from datasets import ClassLabel, Dataset, Features, Image
from PIL import Image as Picture


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    """The bytes of an image file."""
    out = io.BytesIO()
    Picture.fromarray(pixels).save(out, kind)
    return out.getvalue()


def pictures(count: int, labels: np.ndarray, side: int, colours: bool, seed: int) -> list[np.ndarray]:
    """Images that a network can tell: a bright bar whose place is the class."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        pixels = rng.integers(0, 60, (side, side, 3) if colours else (side, side), dtype=np.uint8)
        pixels[(2 * int(labels[number])) % side] = 250
        made.append(pixels)
    return made


def write_tables(
    folder: Path,
    classes: int = 4,
    per_class: int = 12,
    side: int = 8,
    colours: bool = False,
    image: str = "image",
    label: str = "label",
    superclasses: int = 0,
    test: str = "test",
) -> Path:
    """train-*.parquet and test-*.parquet with so many images of each class."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, part in enumerate(("train", test)):
        labels = np.tile(np.arange(classes), per_class)
        made = pictures(len(labels), labels, side, colours, seed)
        columns: dict = {image: [{"bytes": encoded(one), "path": None} for one in made], label: labels.tolist()}
        features: dict = {image: Image(), label: ClassLabel(names=[f"class{number}" for number in range(classes)])}
        if superclasses:
            columns["coarse_label"] = [int(one) % superclasses for one in labels]
            features["coarse_label"] = ClassLabel(names=[f"group{number}" for number in range(superclasses)])
        table = Dataset.from_dict(columns, Features(features))
        table.to_parquet(folder / f"{part}-00000-of-00001.parquet")
    return folder


REAL = Path(__file__).parents[2] / "shared" / "data"


def real(name: str, column: str, count: int) -> np.ndarray:
    """The first test images of a real data set that lies beside the checkout, (count, ...) uint8."""
    table = parquet.read_table(REAL / name / "test-00000-of-00001.parquet").slice(0, count)
    return np.stack([np.array(Picture.open(io.BytesIO(row["bytes"]))) for row in table[column].to_pylist()])
