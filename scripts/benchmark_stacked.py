"""Networks trained together over the same ones trained one after another.

    python scripts/benchmark_stacked.py [--device cpu] [--seeds 20] [--images 512] [--epochs 1] [--networks mlp ...]

Prints one JSON record for each network and method: {case, device, seeds, together_s, alone_s, lone_runs, limit}:
seconds of all of them together, of one alone (mean of three, after one that is not counted), and how many lone runs the
first is worth; on a GPU at most limit is wanted, and seeds is what one after another costs. Whole runs, with tests and
checkpoints.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import torch
from benchmark_training import BATCH, MOMENTUM, RATE, coloured
from measuring import measured
from torch import nn

from orthotrace.core.seeds import Seeds, derived
from orthotrace.data.sources import Source, digits
from orthotrace.data.streams import Permuted
from orthotrace.methods import Method
from orthotrace.methods.finetune import Finetune
from orthotrace.methods.gpm import GPM
from orthotrace.methods.hlop import HLOP
from orthotrace.models.convnet import ConvNet
from orthotrace.models.mlp import MLP
from orthotrace.models.tiny import Tiny10
from orthotrace.results.run_folder import Run
from orthotrace.training.experiment import Experiment
from orthotrace.training.settings import Components, Optimization, Training
from orthotrace.training.stacked import StackedExperiment

NETWORKS: dict[str, Callable[..., nn.Module]] = {"mlp": MLP, "tiny_10": Tiny10, "convnet": ConvNet}
METHODS: dict[str, Callable[[], Method]] = {
    "finetune": Finetune,
    "gpm": lambda: GPM(energy=0.97, samples=125),
    "hlop": lambda: HLOP(rows=10),
}
LIMIT, LONE = 2.0, 3


def made(folder: Path, seed: int, network: str, method: str, source: Source, epochs: int, device: str) -> Experiment:
    """A run of one seed."""
    stream = Permuted(source, tasks=2, seed=seed)
    torch.manual_seed(derived(seed))
    model = NETWORKS[network](stream.shape, len(stream.classes))
    names = {"method": method, "stream": "permuted"}
    return Experiment(
        Run(folder / str(seed)),
        Components(stream, model, METHODS[method](), Seeds(*[seed] * 6), names),
        Optimization(lambda parameters: torch.optim.SGD(parameters, RATE, MOMENTUM)),
        Training.of(epochs, BATCH),
        {"accelerator": "gpu" if device == "cuda" else device, "devices": 1},
    )


def compared(network: str, method: str, seeds: int, source: Source, epochs: int, device: str) -> dict[str, object]:
    """The record of a network and a method."""

    def alone(seed: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            made(Path(folder), seed, network, method, source, epochs, device).run()

    def together() -> None:
        with tempfile.TemporaryDirectory() as folder:
            each = [made(Path(folder), seed, network, method, source, epochs, device) for seed in range(seeds)]
            StackedExperiment(each).run()

    alone(0)
    one = fmean(measured(lambda seed=seed: alone(seed))[0] for seed in range(LONE))
    every = measured(together)[0]
    return {
        "case": f"{method}, {network}", "device": device, "seeds": seeds, "together_s": round(every, 2),
        "alone_s": round(one, 3), "lone_runs": round(every / one, 2), "limit": LIMIT,
    }  # fmt: skip


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--images", type=int, default=512, help="generated ones of 3 x 32 x 32, of the convolutions")
    parser.add_argument("--epochs", type=int, default=1, help="of each of two tasks")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for network in given.networks:
        source = digits() if network == "mlp" else coloured(given.images)
        for method in given.methods:
            print(json.dumps(compared(network, method, given.seeds, source, given.epochs, given.device)), flush=True)


if __name__ == "__main__":
    main()
