"""Images of CIFAR-100 as they are, and as published loaders of its superclasses read them: a figure of docs/results.

python scripts/planes.py FOLDER_OF_CIFAR100_PARQUET
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from drawing import save

from orthotrace.analysis.figures.style import now, styled
from orthotrace.data.sources.preparation import planes_as_pixels
from orthotrace.data.sources.table import table

FIGURE = Path("docs/figures/planes.png")
# The first test images.
COUNT = 8


def main() -> None:
    """Read the images, and draw both rows."""
    stored = table(path=sys.argv[1], image="img", label="fine_label").test.pixels(slice(0, COUNT))
    with styled():
        wide = now().single
        figure, panels = plt.subplots(2, 1, figsize=(wide, 2 * wide / COUNT + 0.35), layout="constrained")
        for panel, images, title in zip(
            panels,
            (stored, planes_as_pixels(stored)),
            ("as they are", "planes of colours read as pixels"),
            strict=True,
        ):
            # White between the images.
            framed = torch.nn.functional.pad(images, (1, 1, 0, 0), value=255)
            panel.imshow(torch.cat([*framed], 2).permute(1, 2, 0), interpolation="none")
            panel.set_title(title)
            panel.axis("off")
        save(figure, panels, FIGURE)


if __name__ == "__main__":
    main()
