"""Folders of finished runs, written without training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from orthotrace.results.run_folder import Run
from orthotrace.results.scores import summarise


def written(
    folder: Path,
    method: str = "gpm",
    seed: int = 0,
    accuracy: Any = None,
    overrides: tuple[str, ...] = (),
    name: str = "",
    **scores: Any,
) -> Run:
    """A run of a method, with the scores of an accuracy matrix and others as they are given."""
    matrix = accuracy or [[0.9, 0.1], [0.8, 0.8]]
    total = len(matrix)
    given = [f"method={method}", f"seed={seed}", *overrides]
    run = Run(folder / (name or ",".join(given)))
    run.hydra.mkdir(parents=True)
    config = OmegaConf.create({"dataset": {"_target_": "d"}, "stream": {"tasks": total}, "method": {}, "seed": seed})
    for one in overrides:
        OmegaConf.update(config, *one.replace("/", ".").split("=", 1))
    (run.hydra / "config.yaml").write_text(OmegaConf.to_yaml(config))
    (run.hydra / "overrides.yaml").write_text(OmegaConf.to_yaml(given))
    found = {
        "schema": 1, "method": method, "stream": "permuted", "scenario": "domain", "seeds": {"init": seed},
        "accuracy": matrix, "chance": [0.1] * total, "test_images": [360] * total, "capacity": None,
        "extra_memory_bytes": 0, "seconds": [1.0] * total, **summarise(matrix).as_dict(), "min_acc": None,
        "wc_acc": None, "val_acc": None, **scores,
    }  # fmt: skip
    run.scores_file.write_text(json.dumps(found))
    return run
