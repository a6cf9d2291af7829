#!/usr/bin/env bash
# torch_cka 0.21: a network is unlike itself where the loader shuffles, and rows bear the names of other layers.
#
# compare(loader) without a second loader draws two passes of the same one: with shuffle=True the two networks get other
# images in each batch. It warns that one loader is used for both, not of this. And export() names the rows in the order of
# named_modules, where a block comes before what is in it, while the rows are in the order in which layers were called,
# where a block comes last. So by default, with all modules, the row that is called "" (the network) is the first layer.
# Layers that are named one by one, none inside another, are right.
# Right would be one batch for both, and names by layer.
# Seen with Python 3.11, torch 2.13.0, a network beside its copy, 64 images in batches of 16: CKA of a layer with itself
# 1.000 in order, .012 shuffled. By default the row "" has .580 with "head", as "first" has where it is asked for by name;
# the outputs of the network are those of "head".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check torch_cka==0.21 torch==2.13.0 numpy==2.4.6 \
  tqdm==4.70.1 matplotlib==3.11.2
cd "$folder"
MPLBACKEND=agg "$folder/env/bin/python" -W ignore - <<'PYTHON'
import copy
from collections import OrderedDict

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch_cka import CKA

torch.manual_seed(0)
images = TensorDataset(torch.randn(64, 20))
network = nn.Sequential(
    OrderedDict(first=nn.Linear(20, 12), block=nn.Sequential(nn.Tanh(), nn.Linear(12, 8)), head=nn.Linear(8, 6))
)


def compared(shuffle=False, layers=None):
    cka = CKA(network, copy.deepcopy(network), "one", "copy", layers, layers, device="cpu")
    with torch.no_grad():
        cka.compare(DataLoader(images, 16, shuffle=shuffle))
    found = cka.export()
    return found["model1_layers"], found["CKA"]


names, by_name = compared(layers=["first", "head"])
_, shuffled = compared(shuffle=True, layers=["first", "head"])
print(f"a layer with itself: {by_name[0, 0]:.3f} in order, {shuffled[0, 0]:.3f} shuffled")
every, table = compared()
root, head = every.index(""), every.index("head")
print(f"all modules are called {every}; '' with 'head' {table[root, head]:.3f}, 'first' with 'head' by name {by_name[0, 1]:.3f}")
assert by_name[0, 0] > 0.999 and shuffled[0, 0] < 0.5, "torch_cka behaves in another way now"
assert table[root, head] < 0.99, "torch_cka behaves in another way now"
PYTHON
