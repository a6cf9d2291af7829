"""The pictures of docs/gallery.md: those of an analysis, and those that Python alone draws.

orthotrace-train --multirun hydra.sweep.dir=runs/gallery method=finetune,gpm seed=0,1,2 stream.tasks=4 \
  'model.hidden=[64,64]' trainer.max_epochs=3 trainer.batch_size=128
orthotrace-analyze runs=runs/gallery tasks=all readout=true 'factors=[method,seeds.init]'
orthotrace-train --multirun hydra.sweep.dir=runs/dropped stream=single seed=0,1,2,3,4 'model.hidden=[64,64]' \
  trainer.max_epochs=10 regularizer=dropout
orthotrace-analyze runs=runs/dropped dropout.samples=32
python scripts/gallery.py runs/gallery/analysis runs/dropped/analysis
"""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from orthotrace.analysis import figures, inference
from orthotrace.analysis.networks.storage import read_rdms
from orthotrace.analysis.studies.consistency import between_networks
from orthotrace.core.files import whole
from orthotrace.results.statistics import mean_interval

FOLDER = Path(__file__).parents[1] / "docs" / "figures" / "gallery"
# Dots an inch: a column is 525 wide.
DOTS = 150


def keep(name: str, content: bytes) -> None:
    """A PNG of 300 dots an inch, half as large and with a palette of 256 colours."""
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    small = picture.resize((picture.width * DOTS // 300, picture.height * DOTS // 300), Image.Resampling.LANCZOS)
    with whole(FOLDER / f"{name}.png") as temporary:
        small.quantize(256).save(temporary, "png", optimize=True)


def drawn(name: str, figure: Figure) -> None:
    """Keep a figure."""
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    keep(name, content.getvalue())


def main(analysis: Path, dropped: Path) -> None:
    """Draw all of them: of an analysis, and of one of networks with dropout."""
    keep("dropout", (dropped / "figures" / "dropout.png").read_bytes())
    for path in sorted((analysis / "figures").glob("*.png")):
        keep(path.stem, path.read_bytes())
    with (analysis / "stimuli.csv").open(encoding="utf-8", newline="") as file:
        labels = np.array([int(row["label"]) for row in csv.DictReader(file)])
    last = sorted((analysis / "rdms").glob("*task4.safetensors"))
    read = [read_rdms(path) for path in last]
    layers = read[0].rdm_descriptors["name"].tolist()
    of = {
        method: {
            layer: [one.dissimilarities[number] for one, path in zip(read, last, strict=True) if method in path.name]
            for number, layer in enumerate(layers)
        }
        for method in ("finetune", "gpm")
    }
    upper = np.triu_indices(len(labels), 1)
    rng = np.random.default_rng(0)
    models = {
        "same class": (labels[:, None] != labels[None])[upper].astype(float),
        "difference of digits": abs(labels[:, None] - labels[None])[upper].astype(float),
        "random": rng.random(len(upper[0])),
        **{f"finetune, {layer}": np.mean(of["finetune"][layer], axis=0) for layer in layers[:1]},
    }
    consistency = {method: {layer: between_networks(rdms) for layer, rdms in by.items()} for method, by in of.items()}
    with figures.styled():
        found = inference.bootstrap(models, np.stack(of["gpm"]["relu1"]), over="rdms", resamples=500)
        drawn("models", figures.model_comparison(found)[0])
        maps = {method: {layer: np.mean(rdms, axis=0) for layer, rdms in by.items()} for method, by in of.items()}
        classes = [str(number) for number in range(10)]
        lines = [
            [
                lambda: figures.consistency_by_layer(consistency),
                lambda: figures.rdm_maps(maps, classes, len(labels) // 10),
            ],
            [lambda: figures.model_comparison(found)],
        ]
        drawn("panel", figures.panel(lines)[0])
        made_up(rng)


def made_up(rng: np.random.Generator) -> None:
    """A figure whose numbers are made up here."""

    def around(mean: float) -> Any:
        return mean_interval((mean + 0.03 * rng.standard_normal(5)).tolist())

    def courses(steps: list[int], fall: float) -> Any:
        return {
            "a network": {
                f"layer {layer}": {step: around(0.95 - 0.12 * layer * np.exp(-fall * step)) for step in steps}
                for layer in range(1, 6)
            }
        }

    drawn("trajectory", figures.trajectory(courses([0, 1, 2, 5, 10, 20, 35], -0.005))[0])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
