"""A small regression, in four tasks whose targets are other functions of the same inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

TINY = (
    "dataset=arrays", "trainer.max_epochs=1", "trainer.batch_size=30", "trainer.accelerator=cpu", "model.hidden=[8]",
    "stream.tasks=2",
)  # fmt: skip


def content(targets: int = 2, images: int = 160) -> dict[str, np.ndarray]:
    """Arrays as dataset=arrays takes them; the last quarter is the test part."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(images, 1, 6)).astype(np.float32)
    tasks = np.arange(images) % 4
    weights = rng.normal(size=(4, 6, targets))
    values = np.tanh(np.einsum("if,ifk->ik", inputs[:, 0], weights[tasks])) + 0.01 * rng.normal(size=(images, targets))
    parts = {"images": inputs, "targets": values.astype(np.float32), "tasks": tasks}
    cut = 3 * images // 4
    return {f"train_{name}": of[:cut] for name, of in parts.items()} | {
        f"test_{name}": of[cut:] for name, of in parts.items()
    }


def written(folder: Path, **change: np.ndarray) -> Path:
    """The arrays in a file."""
    file = folder / "regression.npz"
    np.savez(file, **{**content(), **change})
    return file
