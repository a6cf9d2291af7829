#!/usr/bin/env bash
# ckatorch 1.0.3: CKA of two networks is that of the last batch of a data loader; all others are computed and thrown
# away.
#
# The documentation has CKA over k mini-batches, by sums of HSIC over all of them (Nguyen et al., ICLR 2021). The value
# of each batch is stored in the place of that of the batch before. drop_last=True is refused, so the batch that counts
# is what is left over: with 100 inputs in batches of 32 it is 4 of them. With shuffle the values are a mean over 10
# epochs by default, which is of 10 small batches and looks stable; the rest of the data has no say, and nothing is
# told.
# Right would be the sums over all batches, as documented.
# Seen with Python 3.11, torch 2.13.0, 100 sequences of 12 tokens, batches of 32: .327 for data whose last 4 sequences
# are like the others, and .327 for data of which all but those 4 are different; by numpy .320 and .534.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check ckatorch==1.0.3 torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/env/bin/python" -W ignore - 2>"$folder/progress" <<'PYTHON' || { cat "$folder/progress"; exit 1; }
import numpy as np
import torch
from ckatorch import CKA
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(16, 32), nn.Linear(32, 32)

    def forward(self, tokens):
        return self.second(torch.relu(self.first(tokens)))


def unbiased(first, second):
    """HSIC of two Gram matrices by the unbiased estimator of Song et al. (2012)."""
    n = len(first)
    first, second = first - np.diag(np.diag(first)), second - np.diag(np.diag(second))
    pairs = first.sum() * second.sum() / (n - 1) / (n - 2)
    return (np.sum(first * second) + pairs - 2 / (n - 2) * np.sum(first @ second)) / (n * (n - 3))


def by_numpy(inputs):
    """CKA of the second layers, by sums over all sequences."""
    with torch.no_grad():
        one, other = ([f @ f.T for f in net(inputs).double().numpy()] for net in networks)
    total = [sum(map(unbiased, *pair)) for pair in ((one, other), (one, one), (other, other))]
    return total[0] / np.sqrt(total[1] * total[2])


def by_ckatorch(inputs, **options):
    cka = CKA(*networks, layers=["second"], first_name="one", second_name="other")
    return cka(DataLoader(TensorDataset(inputs), batch_size=32), **options).item()


torch.manual_seed(0)
networks = Network(), Network()
alike = torch.randn(100, 12, 16)
different = torch.randn(100, 12, 16) * torch.linspace(0.01, 10, 16)
different[96:] = alike[96:]
values = [by_ckatorch(inputs, epochs=1) for inputs in (alike, different)]
right = [by_numpy(inputs) for inputs in (alike, different)]
left_over = by_numpy(alike[96:])
print(f"ckatorch {values[0]:.3f} and, all but the last 4 of 100 sequences changed, {values[1]:.3f}")
print(f"by numpy {right[0]:.3f} and {right[1]:.3f}, of the last 4 alone {left_over:.3f}")
assert values[0] == values[1] and abs(values[0] - left_over) < 1e-4, "ckatorch behaves in another way now"
assert abs(right[1] - values[1]) > 0.1, "ckatorch behaves in another way now"
PYTHON
