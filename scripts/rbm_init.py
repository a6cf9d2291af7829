"""What restricted Boltzmann machines give a network that has few labels.

    python scripts/rbm_init.py FOLDER_OF_MNIST_PARQUET

Networks of 784-256-256-10 units on MNIST: machines of the first two layers learn from all training images but the last
5,000, without labels; then the whole network is trained on few labelled images, or on such as it was drawn. The
learning rate is the one of three that is best on the last 5,000. Three seeds; writes scripts/results/rbm_init.json and
goes on where it stopped; some ten minutes.
"""

from __future__ import annotations

import copy
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from records import read_record, write_record
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from orthotrace.core.seeds import derived, generator
from orthotrace.data.sources.table import table
from orthotrace.layers.dbn import dbn
from orthotrace.models.mlp import MLP, Nonlinearity

RESULTS = Path("scripts/results/rbm_init.json")
SEEDS, HELD_OUT, BATCH = 3, 5000, 20
RATES = (0.01, 0.05, 0.2)
# Labelled images of each class -> epochs over them.
LABELLED = {10: 200, 100: 40}
NONLINEARITIES: tuple[Nonlinearity, ...] = ("sigmoid", "relu")
MACHINES = {"epochs": 3, "lr": 0.1, "momentum": 0.9}


def accuracy(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Share of the images that are told right."""
    with torch.no_grad():
        return float((model(inputs).argmax(1) == labels).double().mean())


def trained(model: nn.Module, inputs: Tensor, labels: Tensor, rate: float, epochs: int, seed: int) -> nn.Module:
    """A copy that was trained on some images."""
    model, draws = copy.deepcopy(model), generator(seed, 3)
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum=0.9)
    for _ in range(epochs):
        for places in torch.randperm(len(inputs), generator=draws).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(model(inputs[places]), labels[places]).backward()
            optimizer.step()
    return model


def measure(source: Any, seed: int) -> list[dict[str, Any]]:
    """Of one seed: all nonlinearities, numbers of labels, with and without the machines."""
    inputs, labels = source.train.inputs(), source.train.labels
    held_out = inputs[-HELD_OUT:], labels[-HELD_OUT:]
    inputs, labels = inputs[:-HELD_OUT], labels[:-HELD_OUT]
    nets: dict[tuple[str, str], nn.Module] = {}
    seconds, learned = 0.0, {}
    for kind in NONLINEARITIES:
        torch.manual_seed(derived(seed))
        drawn = MLP((1, 28, 28), 10, hidden=[256, 256], nonlinearity=kind)
        nets[kind, "free"], nets[kind, "rbm_init"] = drawn, copy.deepcopy(drawn)
        if not learned:
            began = time.perf_counter()
            dbn(nets[kind, "rbm_init"], inputs, seed=derived(seed, 1), **MACHINES)
            seconds = time.perf_counter() - began
            learned = {
                name: value for name, value in nets[kind, "rbm_init"].state_dict().items() if name.startswith("fc")
            }
        nets[kind, "rbm_init"].load_state_dict(learned, strict=False)
    rows = []
    for each, epochs in LABELLED.items():
        draws = generator(seed, 4)
        of_classes = [(labels == one).nonzero().flatten() for one in range(10)]
        few = torch.cat([of[torch.randperm(len(of), generator=draws)[:each]] for of in of_classes])
        for (kind, weights), net in nets.items():
            found = {rate: trained(net, inputs[few], labels[few], rate, epochs, seed) for rate in RATES}
            best = max(RATES, key=lambda rate: accuracy(found[rate], *held_out))
            right = accuracy(found[best], source.test.inputs(), source.test.labels)
            rows.append(
                {
                    "seed": seed,
                    "nonlinearity": kind,
                    "weights": weights,
                    "labelled": 10 * each,
                    "rate": best,
                    "accuracy": round(right, 4),
                    "seconds_of_machines": round(seconds, 1),
                }
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure what is not there yet."""
    torch.set_num_threads(1)
    records: list[dict[str, Any]] = read_record(RESULTS)["records"] if RESULTS.is_file() else []
    # Pixels from 0 to 1, as binary units have them.
    source = table("ylecun/mnist", path=sys.argv[1] if len(sys.argv) > 1 else None, normalise=False)
    for seed in range(SEEDS):
        if not any(one["seed"] == seed for one in records):
            records += measure(source, seed)
        means: dict[str, dict[str, float]] = {}
        for one in records:
            key = f"{one['nonlinearity']}, {one['labelled']} labelled"
            same = [
                other["accuracy"]
                for other in records
                if all(other[name] == one[name] for name in ("nonlinearity", "labelled", "weights"))
            ]
            means.setdefault(key, {})[one["weights"]] = round(statistics.mean(same), 4)
        content = {
            "command": "python scripts/rbm_init.py FOLDER",
            "machines": MACHINES,
            "rates": list(RATES),
            "mean_accuracy": means,
            "records": records,
        }
        write_record(RESULTS, content)
        print(means, flush=True)


if __name__ == "__main__":
    main()
