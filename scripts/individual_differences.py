"""What scripts/individual_differences.sh ends with: its analyses as one JSON, beside what was published, and a table.

python scripts/individual_differences.py FOLDER_OF_ANALYSES COMMAND
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from records import read_record, write_record

from orthotrace.analysis.networks.activations import activations
from orthotrace.analysis.networks.runs import stimuli_of
from orthotrace.analysis.studies.correspondence import accuracy
from orthotrace.core.files import read_json
from orthotrace.results.run_folder import Run

RUNS, RESULTS = Path("runs/individual_differences"), Path("scripts/results/individual_differences.json")
# All-CNN-C, ten weight seeds, Euclidean RDMs of 1000 images, layers 1 to 8, in a replication of Mehrer et al. 2020.
PUBLISHED = {
    "accuracy": [0.9011, 0.9143],
    "consistency_euclidean": [0.9986, 0.9882, 0.9798, 0.9646, 0.9412, 0.9045, 0.8373, 0.8293],
    "correspondence": {"pearson_rsa": 0.99, "cka": 0.99},
}


def consistency(content: dict[str, Any], what: str = "consistency") -> list[dict[str, Any]]:
    """Layer by layer, of the last epoch."""
    return [{key: row[key] for key in ("layer", "mean", "low", "high", "pairs")} for row in content[what]]


def correspondences(runs: Sequence[Run], layers: Sequence[str]) -> dict[str, float]:
    """How often the most similar layer of another network is the same one, by linear CKA and by SVCCA.

    CCA itself is 1 for all layers of more values than images; SVCCA takes the directions of 99 % of the variance.
    """
    stimuli = stimuli_of(runs[0], None, 100, None)
    grams: list[list[NDArray[Any]]] = []
    for run in runs:
        # One network in memory at a time. In float32, which is exact enough to tell layers apart.
        found = activations(run.network(), stimuli.images, list(layers))
        grams.append([_unit_gram(values) for _, values in found])
    bases = [[_basis(gram) for gram in of] for of in grams]
    scores = {
        "cka": (grams, lambda a, b: float((a * b).sum())),
        "svcca": (bases, lambda a, b: float(np.linalg.svd(a.T @ b, compute_uv=False).mean())),
    }
    return {
        name: accuracy(
            {
                (i, j): np.array([[of(x, y) for y in every[j]] for x in every[i]])
                for i, j in itertools.combinations(range(len(runs)), 2)
            }
        )
        for name, (every, of) in scores.items()
    }


def _unit_gram(values: torch.Tensor) -> NDArray[Any]:
    centred = values - values.mean(0)
    gram = (centred @ centred.T).double()
    return (gram / gram.norm()).numpy()


def _basis(gram: NDArray[Any]) -> NDArray[Any]:
    variances, directions = np.linalg.eigh(gram)
    kept = 1 + int((np.cumsum(variances[::-1]) < 0.99 * variances.sum()).sum())
    return directions[:, -kept:]


def main() -> None:
    """Read the analyses, write, and print a table."""
    folder = Path(sys.argv[1])
    found = {path.parent.name: read_json(path) for path in sorted(folder.glob("*/results.json"))}
    weights = found["weights"]
    (names,) = weights["runs"].values()
    runs = [Run(RUNS / name) for name in names]
    layers = weights["layers"]
    content = read_record(RESULTS) if RESULTS.is_file() else {}
    by_pearson = weights["correspondence"][0]["accuracy"] if weights["correspondence"] else None
    content[folder.name.removeprefix("analysis_")] = {
        "command": sys.argv[2],
        "images": "CIFAR-10 as Parquet; local copies may be JPEG, where the published numbers are of lossless images",
        "epochs": int(runs[0].config.trainer.max_epochs),
        "seeds": {name: len(of) for name, one in found.items() for of in one["runs"].values()},
        "accuracy": {name: of["acc"] for name, one in found.items() for of in one["scores"].values()},
        "consistency": {name: consistency(one) for name, one in found.items() if name != "epochs"},
        "centroid_consistency": {
            name: consistency(found[name], "centroid_consistency") for name in found.keys() & {"weights", "order"}
        },
        "epochs_consistency": [
            {"epoch": row["task"], "layer": row["layer"], "mean": row["mean"]} for row in found["epochs"]["consistency"]
        ],
        "correspondence": {"pearson_rsa": by_pearson, **correspondences(runs, layers)},
        "published": PUBLISHED,
    }
    write_record(RESULTS, content)
    means = {
        name: {row["layer"]: row["mean"] for row in one["consistency"]}
        for name, one in found.items()
        if name != "epochs"
    }
    print("layer".ljust(8), *(name.rjust(18) for name in means))
    for layer in layers:
        print(layer.ljust(8), *(f"{of[layer]:18.4f}" if layer in of else " " * 18 for of in means.values()))


if __name__ == "__main__":
    main()
