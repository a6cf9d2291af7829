#!/usr/bin/env bash
# repsim 0.1.5: svcca takes nothing away: the directions are made of one size before the small ones are looked for.
#
# The first step of SVCCA keeps the directions of a representation that have 99 % of its variance, since the rest is
# noise (Raghu et al., NeurIPS 2017); the documentation says that too. Here an orthonormal basis is made before that
# step. All directions of it have the same variance, so 99 % of the variance are 99 % of the directions, noise or not.
# What comes is CCA, slightly damaged, and a representation is not even 1 with itself, as it is divided by the number of
# directions from before. Nothing is told.
# Right would be the step on the representation itself, and the number of directions that were kept.
# Seen with Python 3.11, 200 inputs, 4 shared directions in 30 features, noise with a thousandth of the variance: svcca
# .245 (.967 with itself), cca .255; SVCCA by numpy, which keeps 4 directions, 1.000. It is built from source: a
# compiler is needed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check repsim==0.1.5 numpy==2.4.6
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from repsim import cca, svcca


def directions(features, kept):
    """An orthonormal basis of the directions that have this part of the variance."""
    left, sizes, _ = np.linalg.svd(features - features.mean(0), full_matrices=False)
    part = np.cumsum(sizes**2) / np.sum(sizes**2)
    return left[:, :np.searchsorted(part, kept) + 1]


def mean_squared_correlation(first, second, kept):
    """CCA, summarized by the mean of the squares, which is the default of repsim ("yanai")."""
    first, second = directions(first, kept), directions(second, kept)
    correlations = np.linalg.svd(first.T @ second, compute_uv=False)
    return first.shape[1], np.sum(correlations**2) / min(first.shape[1], second.shape[1])


rng = np.random.default_rng(0)
# Features with a mean, as behind a ReLU.
shared = rng.standard_normal((200, 4))
one, other = (shared @ rng.standard_normal((4, 30)) + 0.06 * rng.standard_normal((200, 30)) + 3 for _ in range(2))
values, plain = svcca([one, other]), cca([one, other])
kept, right = mean_squared_correlation(one, other, 0.99)
_, right_plain = mean_squared_correlation(one, other, 1 - 1e-12)
print(f"svcca {values[0, 1]:.3f}, with itself {values[0, 0]:.3f}; cca {plain[0, 1]:.3f}")
print(f"by numpy: SVCCA {right:.3f} with {kept} directions; CCA {right_plain:.3f}")
assert kept == 4 and right > 0.95, "the example is another one now"
assert abs(plain[0, 1] - right_plain) < 1e-6, "repsim behaves in another way now"
assert values[0, 1] < 0.4 and abs(values[0, 1] - plain[0, 1]) < 0.05, "repsim behaves in another way now"
assert values[0, 0] < 0.99, "repsim behaves in another way now"
PYTHON
