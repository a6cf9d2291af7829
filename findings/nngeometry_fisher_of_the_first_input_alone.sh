#!/usr/bin/env bash
# nngeometry 0.4: weights that the loader's first tensor does not reach get a Fisher of zero; EWC leaves them free.
#
# The documentation has a function f(X, Y, Z) of all the tensors that the loader gives, and EWC as F.vTMv(w - w_a). The
# gradients are asked for with respect to the first tensor, and collected by hooks on the way to it. So the layers of a
# second input (a cue, a task, another modality) never run theirs: zeros, in every representation, without a word. Which
# branch it is depends on the order in the data set alone. Two more: a layer that is called twice counts with its last
# input in both calls (its author calls that a bug in issue 94, of 2025), and a parameter that belongs to a module with
# children is left out, though from_model takes "all parameters"; a leaf module that is not known raises.
# Right would be the gradients of all layers of the collection, or an error.
# Seen with Python 3.11, torch 2.13.0, 40 images and cues, 3 classes. Trace of the Fisher by nngeometry, and by autograd
# for one example at a time: image .626, .626; cue 0, .527; with cues first image 0, cue .527. Where the cue's weights
# are moved, EWC's term is 0 (.0028 by autograd) and the KL divergence of the outputs .0038. A layer called twice: .347,
# .376; the gain is not there (.0019).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
# It asks for torchvision too, which is not needed here.
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check torch==2.13.0 numpy==2.4.6
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check --no-deps nngeometry==0.4
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import torch
from nngeometry.metrics import FIM
from nngeometry.object import PMatDense, PMatDiag, PVector
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
torch.manual_seed(0)


class TwoInputs(nn.Module):
    """Images and cues meet in a hidden layer."""

    def __init__(self):
        super().__init__()
        self.image, self.cue, self.head = nn.Linear(6, 5), nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, images, cues):
        return self.head(torch.tanh(self.image(images) + self.cue(cues)))


class Recurrent(nn.Module):
    """A layer that is called twice, and a gain for each hidden unit."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(5))
        self.first, self.again, self.head = nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, images):
        hidden = torch.tanh(self.gain * self.first(images))
        return self.head(torch.tanh(self.again(torch.tanh(self.again(hidden)))))


def by_autograd(model, *inputs):
    """The diagonal of the Fisher by parameter: squared gradients of each example's log-probabilities, by their weight."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    diagonal = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
    for example in range(len(inputs[0])):
        logs = model(*(each[example : example + 1] for each in inputs)).log_softmax(1)[0]
        for log in logs:
            gradients = torch.autograd.grad(log, parameters, retain_graph=True)
            for name, gradient in zip(names, gradients, strict=True):
                diagonal[name] += log.exp().detach() * gradient**2 / len(inputs[0])
    return diagonal


def traces(model, tensors, function, representation=PMatDiag):
    """The trace of nngeometry's Fisher for each layer."""
    fisher = FIM(model, DataLoader(TensorDataset(*tensors), batch_size=10), representation, function=function)
    layers = PVector(fisher.generator.layer_collection, vector_repr=fisher.get_diag()).to_dict()
    return fisher, {name: sum(float(part.sum()) for part in parts) for name, parts in layers.items()}


def right(diagonal, layer):
    return sum(float(values.sum()) for name, values in diagonal.items() if name.split(".")[0] == layer)


images, cues = torch.randn(40, 6), torch.randn(40, 4)
model = TwoInputs()
exact = by_autograd(model, images, cues)
fisher, images_first = traces(model, (images, cues), lambda image, cue: model(image, cue))
_, dense = traces(model, (images, cues), lambda image, cue: model(image, cue), PMatDense)
_, cues_first = traces(model, (cues, images), lambda cue, image: model(image, cue))
for layer in ("image", "cue", "head"):
    print(f"{layer}: {images_first[layer]:.5f}, dense {dense[layer]:.5f}, cues first {cues_first[layer]:.5f}, ", end="")
    print(f"by autograd {right(exact, layer):.5f}")

with torch.no_grad():
    before = model(images, cues).log_softmax(1)
    start = PVector.from_model(model).clone()
    change = 0.1 * torch.randn_like(model.cue.weight)
    model.cue.weight += change
    after = model(images, cues).log_softmax(1)
    moved = PVector.from_model(model)
    term = float(fisher.vTMv(moved - start)) / 2
    wanted = float((exact["cue.weight"] * change**2).sum()) / 2
    divergence = float((before.exp() * (before - after)).sum(1).mean())
print(f"the cue's weights moved: EWC's term {term:.5f}, by autograd {wanted:.5f}, KL divergence {divergence:.5f}")

recurrent = Recurrent()
recurrent_exact = by_autograd(recurrent, images)
whole, found = traces(recurrent, (images,), recurrent)
missing = sum(parameter.numel() for parameter in recurrent.parameters()) - whole.size(0)
print(f"called twice: {found['again']:.5f}, by autograd {right(recurrent_exact, 'again'):.5f}")
print(f"gain: {missing} parameters are not there, by autograd {right(recurrent_exact, 'gain'):.5f}")

for layer in ("image", "head"):
    assert abs(images_first[layer] - right(exact, layer)) < 1e-4, "the comparison itself is wrong"
    assert abs(found["first"] - right(recurrent_exact, "first")) < 1e-4, "the comparison itself is wrong"
assert abs(cues_first["cue"] - right(exact, "cue")) < 1e-4, "the comparison itself is wrong"
assert images_first["cue"] == dense["cue"] == cues_first["image"] == term == 0, "nngeometry behaves in another way now"
assert min(right(exact, "cue"), right(exact, "image")) > 0.1 and divergence > 1e-4
assert abs(found["again"] / right(recurrent_exact, "again") - 1) > 0.05, "nngeometry behaves in another way now"
assert missing == 5, "nngeometry behaves in another way now"
PYTHON
