#!/usr/bin/env bash
# pytorch-cka 1.1.3: one feature with a large mean, as transformers have them, makes CKA of any value from 0 to 1.
#
# CKA does not depend on a constant that is added to a feature. The Gram matrices are made of the features as they come,
# in float32, and the mean is taken out only of sums over their products, by differences of numbers that are nearly the
# same. Nothing is told, and the result is clamped to [0, 1]. Residual streams have features of some hundreds ("massive
# activations", Sun et al., COLM 2024), and all layers of ReLU have a mean.
# Right would be centred features, before the product; float64 helps somewhat.
# Seen with Python 3.11, torch 2.13.0, 256 inputs, 768 features, a mean of 300 in one of them: CKA of a representation
# with itself 0, of two others 1.000 (.626 without the mean); with a mean of 1,000 both 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check pytorch-cka==1.1.3 torch==2.13.0
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import torch
from cka import cka_from_features

torch.manual_seed(0)
first = torch.randn(256, 768)
second = first @ torch.randn(768, 768) / 28 + torch.randn(256, 768) / 2
found = {}
for mean in (0, 100, 300, 1000):
    offset = torch.zeros(768)
    offset[5] = mean
    pairs = (first, first), (first, second)
    found[mean] = [round(float(cka_from_features(one + offset, other + offset)), 3) for one, other in pairs]
print(f"CKA with itself and with another representation, by the mean of one feature: {found}")
assert found[0][0] == 1 and 0.6 < found[0][1] < 0.65, "pytorch-cka behaves in another way now"
assert max(abs(found[mean][0] - 1) for mean in (300, 1000)) > 0.1, "pytorch-cka behaves in another way now"
assert max(abs(found[mean][1] - found[0][1]) for mean in (300, 1000)) > 0.1, "pytorch-cka behaves in another way now"
PYTHON
