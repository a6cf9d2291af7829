#!/usr/bin/env bash
# torch 2.13.0: an orthogonal parametrization that is not square is zero after the first step of AdamW.
#
# The documentation of parametrizations.orthogonal has a matrix with orthonormal rows or columns, and "householder" as
# the default map where it is not square. That map keeps a sign for each column on the diagonal of the trained tensor, 1
# or -1, and reads it by int(). No gradient comes there, so Adam and SGD leave it alone. Weight decay does not: -.99999
# is read as 0, and the whole weight is 0, with a trivialization (the default) and without. AdamW decays by default. A
# weight of 0 gives the tensor no gradient either, so the layer is dead from then on: it passes its bias alone, and the
# network learns the largest class. Nothing is said. Square matrices have "matrix_exp" as the default and are right, as
# all are with it and with "cayley".
# Right would be the sign of the diagonal, or signs in a buffer. What helps: a group of parameters with weight_decay=0
# for parametrizations.weight.original, or orthogonal_map="cayley".
# Seen with Python 3.11, 20 inputs, an orthogonal layer of 40, 3 classes, 300 steps. All singular values after one step
# and after all, and accuracy: Adam 1, 1.00; AdamW 0, .42; SGD with a decay of 1e-4 0, .42; AdamW with "cayley", or
# without decay of that tensor, 1, 1.00; 20 x 20 with AdamW 1, 1.00.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import torch
from torch import nn
from torch.nn.utils.parametrizations import orthogonal

torch.set_num_threads(1)
draws = torch.Generator().manual_seed(0)
classes = torch.randint(3, (150,), generator=draws)
inputs = 2 * torch.randn(3, 20, generator=draws)[classes] + torch.randn(150, 20, generator=draws)


def adam(network):
    return torch.optim.Adam(network.parameters())


def adamw(network):
    return torch.optim.AdamW(network.parameters())


def sgd(network):
    return torch.optim.SGD(network.parameters(), lr=0.1, weight_decay=1e-4)


def adamw_without_decay_there(network):
    tensor = network[0].parametrizations.weight.original
    others = [parameter for parameter in network.parameters() if parameter is not tensor]
    return torch.optim.AdamW([{"params": [tensor], "weight_decay": 0.0}, {"params": others}])


def trained(optimizer, width=40, **options):
    """The least and largest singular value after one step, those after the last one, and the accuracy."""
    torch.manual_seed(0)
    layer = orthogonal(nn.Linear(20, width), **options)
    network = nn.Sequential(layer, nn.Tanh(), nn.Linear(width, 3))
    steps = optimizer(network)
    found = []
    for step in range(300):
        steps.zero_grad()
        nn.functional.cross_entropy(network(inputs), classes).backward()
        steps.step()
        if step in (0, 299):
            values = torch.linalg.svdvals(layer.weight.detach())
            found += [float(values.min()), float(values.max())]
    with torch.no_grad():
        return *found, float((network(inputs).argmax(1) == classes).float().mean())


runs = {
    "Adam": (adam, {}),
    "AdamW": (adamw, {}),
    "AdamW, no trivialization": (adamw, {"use_trivialization": False}),
    "AdamW, 10 x 20": (adamw, {"width": 10}),
    "SGD with weight decay": (sgd, {}),
    "AdamW, cayley": (adamw, {"orthogonal_map": "cayley"}),
    "AdamW, matrix_exp": (adamw, {"orthogonal_map": "matrix_exp"}),
    "AdamW without decay there": (adamw_without_decay_there, {}),
    "AdamW, 20 x 20": (adamw, {"width": 20}),
}
found = {name: trained(optimizer, **options) for name, (optimizer, options) in runs.items()}
for name, (least, largest, least_in_the_end, largest_in_the_end, accuracy) in found.items():
    print(f"{name}: singular values {least:.3f} to {largest:.3f} after one step, ", end="")
    print(f"{least_in_the_end:.3f} to {largest_in_the_end:.3f} after all, accuracy {accuracy:.2f}")
zero = ("AdamW", "AdamW, no trivialization", "AdamW, 10 x 20", "SGD with weight decay")
for name, values in found.items():
    if name in zero:
        assert not any(values[:4]) and values[4] < 0.5, "torch behaves in another way now"
    else:
        assert max(abs(value - 1) for value in values[:4]) < 1e-4 and values[4] > 0.95, "the comparison itself is wrong"
PYTHON
