#!/usr/bin/env bash
# simtorch 0.2.1: CKA over a data loader is the sum over batches divided by the number of layers, not of batches: with
# more batches than layers, CKA of a network with itself is above 1.
#
# CKA, DeltaCKA and Procrustes add up a matrix for each batch, and divide by the length of the last matrix, which is the
# number of layers of the first network. Values grow with the size of the data, and halve when twice as many layers are
# looked at. The heat map has no fixed scale, so that it looks right. unbiased=True is stored and never looked at.
# Right would be the mean over batches (or, since CKA of a small batch is biased, sums of HSIC over batches).
# Seen with Python 3.11, torch 2.13.0, a network of 2 layers against itself in batches of 50: .50 with one batch, 1.00
# with two, 2.00 with four, where a layer meets itself; the same with unbiased=True.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
install() { "$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"; }
install torch==2.13.0 numpy==2.4.6 tqdm==4.70.1 seaborn==0.13.2
# Its other requirement, torchvision, is never imported.
install --no-deps simtorch==0.2.1
cd "$folder"
"$folder/env/bin/python" -W ignore - 2>progress <<'PYTHON' || { cat progress; exit 1; }
import numpy as np
import torch
from simtorch.model import SimilarityModel
from simtorch.similarity import CKA
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
network = nn.Sequential(nn.Linear(10, 20), nn.Tanh(), nn.Linear(20, 5))
inputs = torch.randn(200, 10)
for batches in (1, 2, 4):
    for unbiased in (False, True):
        first, second = (SimilarityModel(network, layers_to_include=["0", "2"]) for _ in range(2))
        data = DataLoader(TensorDataset(inputs[: 50 * batches]), batch_size=50)
        values = CKA(first, second, unbiased=unbiased).compute(data)
        print(f"{batches} batches of 50, unbiased={unbiased}: a layer with itself {np.diag(values).round(3)}")
        assert np.allclose(np.diag(values), batches / 2, atol=1e-5)
PYTHON
