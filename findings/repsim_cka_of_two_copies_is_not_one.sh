#!/usr/bin/env bash
# repsim 0.1.5: CKA by the unbiased estimators is divided by biased ones: two copies of one representation are far from
# 1.
#
# cka(estimator="song") and cka(estimator="lange") make HSIC of two representations by the estimator that was asked for,
# and HSIC of each with itself, which it is divided by, by the biased one ("gretton") always; without a word. The
# diagonal of the result is set to 1, so it looks right. These estimators are there for few inputs and many features,
# where the biased CKA is near 1 for everything; there the other values are far too small, the more so the more features
# there are. So a layer with more features looks less like itself in another seed, and no value can be compared with a
# published one. hsic of the same package has what is needed: its quotient is right.
# Right would be the same estimator above and below, or an error.
# Seen with Python 3.11, 50 inputs: two copies .495 with 50 features, .089 with 512, .022 with 2048; two noisy versions
# of 512 features .056, by numpy and by the quotient of hsic .633. It is built from source: a compiler is needed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check repsim==0.1.5 numpy==2.4.6
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from repsim import cka, hsic


def unbiased(first, second):
    """HSIC of two linear kernels by the unbiased estimator of Song et al. (2012)."""
    n = len(first)
    first, second = first @ first.T, second @ second.T
    first, second = first - np.diag(np.diag(first)), second - np.diag(np.diag(second))
    pairs = first.sum() * second.sum() / (n - 1) / (n - 2)
    return (np.sum(first * second) + pairs - 2 / (n - 2) * np.sum(first @ second)) / (n * (n - 3))


rng = np.random.default_rng(0)
copies = {}
for features in (50, 512, 2048):
    one = rng.standard_normal((50, features))
    copies[features] = {name: float(cka([one, one.copy()], "linear", name)[0, 1]) for name in ("gretton", "song", "lange")}
    print(f"two copies, {features} features:", ", ".join(f"{name} {value:.3f}" for name, value in copies[features].items()))
base = rng.standard_normal((50, 512))
one, other = (base + 0.5 * rng.standard_normal((50, 512)) for _ in range(2))
value = float(cka([one, other], "linear", "song")[0, 1])
parts = hsic([one, other], "linear", "song")
quotient = float(parts[0, 1] / np.sqrt(parts[0, 0] * parts[1, 1]))
right = unbiased(one, other) / np.sqrt(unbiased(one, one) * unbiased(other, other))
print(f"two noisy versions: cka {value:.3f}, by the quotient of hsic {quotient:.3f}, by numpy {right:.3f}")
for values in copies.values():
    assert abs(values["gretton"] - 1) < 1e-6, "repsim behaves in another way now"
    assert max(values["song"], values["lange"]) < 0.9, "repsim behaves in another way now"
assert copies[2048]["song"] < copies[512]["song"] < copies[50]["song"], "repsim behaves in another way now"
assert abs(quotient - right) < 1e-6 and right > 0.5 and value < 0.2, "repsim behaves in another way now"
PYTHON
