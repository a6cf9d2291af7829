#!/usr/bin/env bash
# neurobench 2.3.0: accuracy on a part of the data is divided by all of it: a perfect network has .5, or 2.
#
# Metrics of each batch are added up by its number of examples, and divided by len(dataloader.dataset), also where the
# loader does not give that many. With a sampler over the examples of one task, with drop_last, or with a sampler that
# draws more than there are, accuracy, mean squared error, sMAPE and activation sparsity are off by that factor, without
# a word. The documentation has sparsity as "the number of zero activations over the total number of activations".
# SynapticOperations is divided by the examples that were seen, and right.
# ActivationSparsityByLayer, "layer by layer", takes the last part of a layer's name: all layers "1" of nn.Sequential
# blocks, or "act" of residual blocks, are one entry. Of layers with .05 and .97 there is one with .66.
# Right would be the number of examples seen, and the whole name. What helps: torch.utils.data.Subset in place of a
# sampler, no drop_last, and names that no other block has.
# Seen with Python 3.11, torch 2.13.0, snntorch 1.0.0, 100 examples, batches of 32, labels that are the network's own.
# Accuracy and sparsity: all 1.00, .66; half by Subset 1.00, .66; half by SubsetRandomSampler .50, .33; drop_last .96,
# .63; 200 by WeightedRandomSampler 2.00, 1.33.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
# It asks for torchaudio, numba and tonic too, which are not needed here.
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check \
  torch==2.13.0 snntorch==1.0.0 numpy==2.4.6 tqdm==4.70.1
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check --no-deps neurobench==2.3.0
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import torch
from neurobench.benchmarks import Benchmark
from neurobench.metrics.workload import (
    ActivationSparsity,
    ActivationSparsityByLayer,
    ClassificationAccuracy,
    SynapticOperations,
)
from neurobench.models import TorchModel
from torch import nn
from torch.utils.data import DataLoader, Subset, SubsetRandomSampler, TensorDataset, WeightedRandomSampler

torch.set_num_threads(1)
torch.manual_seed(0)


class Network(nn.Module):
    """Two blocks, of which the second is nearly silent."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(6, 10), nn.ReLU())
        self.second = nn.Sequential(nn.Linear(10, 20), nn.ReLU())
        self.head = nn.Linear(20, 3)
        with torch.no_grad():
            self.first[0].bias += 1
            self.second[0].bias -= 1

    def forward(self, inputs):
        return self.head(self.second(self.first(inputs)))


network = Network()
inputs = torch.randn(100, 6)
with torch.no_grad():
    data = TensorDataset(inputs, network(inputs).argmax(1))


def sparsity(layers, part):
    with torch.no_grad():
        hidden = [network.first(inputs[part]), network.second(network.first(inputs[part]))]
    return float(torch.cat([hidden[layer].flatten() == 0 for layer in layers]).float().mean())


def run(loader):
    metrics = [ClassificationAccuracy, ActivationSparsity, ActivationSparsityByLayer, SynapticOperations]
    return Benchmark(TorchModel(network), loader, [], [lambda scores: scores.argmax(1)], [[], metrics]).run(quiet=True)


half = list(range(50))
loaders = {
    "all": DataLoader(data, batch_size=32),
    "half, by Subset": DataLoader(Subset(data, half), batch_size=32),
    "half, by a sampler": DataLoader(data, batch_size=32, sampler=SubsetRandomSampler(half)),
    "drop_last": DataLoader(data, batch_size=32, drop_last=True),
    "200 by a sampler": DataLoader(data, batch_size=32, sampler=WeightedRandomSampler(torch.ones(100), 200)),
}
found = {name: run(loader) for name, loader in loaders.items()}
for name, result in found.items():
    operations = result["SynapticOperations"]["Dense"]
    accuracy, zeros = result["ClassificationAccuracy"], result["ActivationSparsity"]
    print(f"{name}: accuracy {accuracy:.3f}, sparsity {zeros:.3f}, dense operations {operations:.0f}")
layers = found["all"]["ActivationSparsityByLayer"]
by_hand = {"first.1": sparsity([0], range(100)), "second.1": sparsity([1], range(100))}
print(f"sparsity by layer {layers}, by hand {by_hand}")


def near(value, wanted):
    return abs(value - wanted) < 1e-3


for name in ("all", "half, by Subset"):
    part = half if "half" in name else range(100)
    right = found[name]["ClassificationAccuracy"], found[name]["ActivationSparsity"]
    assert near(right[0], 1) and near(right[1], sparsity([0, 1], part)), "the comparison itself is wrong"
assert len({result["SynapticOperations"]["Dense"] for result in found.values()}) == 1, "the comparison itself is wrong"
for name, factor in (("half, by a sampler", 0.5), ("drop_last", 0.96), ("200 by a sampler", 2)):
    assert near(found[name]["ClassificationAccuracy"], factor), "neurobench behaves in another way now"
by_sampler = found["half, by a sampler"]["ActivationSparsity"]
assert near(by_sampler, sparsity([0, 1], half) / 2), "neurobench behaves in another way now"
assert list(layers) == ["1"], "neurobench behaves in another way now"
assert near(layers["1"], sparsity([0, 1], range(100))), "neurobench behaves in another way now"
assert abs(by_hand["first.1"] - by_hand["second.1"]) > 0.3, "the comparison itself is wrong"
PYTHON
