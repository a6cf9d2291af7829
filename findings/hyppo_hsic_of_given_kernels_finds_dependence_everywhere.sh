#!/usr/bin/env bash
# hyppo 0.5.2: Hsic(compute_kernel=None), for kernel matrices that are given, finds independent features dependent.
#
# The documentation has None and "precomputed" as the same: x and y are similarity matrices already. They are not. With
# "precomputed", 1 - K / max(K) goes to the unbiased distance correlation, as for features; with None the kernel itself
# goes there, whose diagonal is 1 and not 0, and is counted in the sums over rows. So the statistic of independent data
# is far above 0, and the p-value, which is by the chi-square approximation for more than 20 samples, is far below .05.
# test(auto=False) on features, and test on up to 20 of them, make the kernels themselves and go the same way: those
# p-values are by permutation and so not too small, but the statistic jumps between 20 and 21 samples.
# Right would be one statistic for one kernel, however it comes.
# Seen with Python 3.11, Gaussian kernels of 60 samples of 100 independent features: HSIC, normalized, -.012 (p .6) of
# the features, -.012 (p .6) of the kernels with "precomputed", .231 (p 1e-04) of the same kernels with None. Of 20 such
# pairs, p is below .05 for 0 with features and 20 with None. With 20 samples test gives .765 for features, and
# statistic -.001.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check hyppo==0.5.2 numpy==2.4.6 scipy==1.17.1
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from hyppo.independence import Hsic
from scipy.spatial.distance import pdist, squareform


def kernel(features):
    """A Gaussian kernel as wide as the median of the distances, which is hyppo's own."""
    distances = pdist(features)
    return np.exp(-(squareform(distances) ** 2) / (2 * np.median(distances) ** 2))


def unbiased(first, second):
    """HSIC by the unbiased estimator of Song et al. (2012)."""
    n = len(first)
    first, second = first - np.diag(np.diag(first)), second - np.diag(np.diag(second))
    pairs = first.sum() * second.sum() / (n - 1) / (n - 2)
    return (np.sum(first * second) + pairs - 2 / (n - 2) * np.sum(first @ second)) / (n * (n - 3))


def normalized(first, second):
    return unbiased(first, second) / np.sqrt(unbiased(first, first) * unbiased(second, second))


found = []
for seed in range(20):
    first, second = np.random.default_rng(seed).standard_normal((2, 60, 100))
    kernels = kernel(first), kernel(second)
    of_features = Hsic().test(first, second)
    precomputed = Hsic(compute_kernel="precomputed").test(*kernels)
    given = Hsic(compute_kernel=None).test(*kernels)
    assert abs(of_features[0] - normalized(*kernels)) < 1e-3, "hyppo behaves in another way now"
    assert abs(precomputed[0] - normalized(*kernels)) < 1e-3, "hyppo behaves in another way now"
    found.append((of_features, precomputed, given))
    if seed == 0:
        print(f"independent features, by numpy {normalized(*kernels):.3f}; hyppo: " + ", ".join(
            f"{name} {stat:.3f} (p {p:.1g})" for name, (stat, p) in zip(("features", "precomputed", "None"), found[0])))
below = [sum(result[way][1] < 0.05 for result in found) for way in range(3)]
print(f"p below .05, of 20 independent pairs: features {below[0]}, precomputed {below[1]}, None {below[2]}")
first, second = np.random.default_rng(0).standard_normal((2, 20, 100))
tested, alone = Hsic().test(first, second, reps=100)[0], Hsic().statistic(first, second)
print(f"20 samples: test {tested:.3f}, statistic {alone:.3f}, by numpy {normalized(kernel(first), kernel(second)):.3f}")
assert below[0] <= 3 and below[1] <= 3 and below[2] == 20, "hyppo behaves in another way now"
assert min(result[2][0] for result in found) > 0.15, "hyppo behaves in another way now"
assert tested > 0.5 and abs(alone) < 0.05, "hyppo behaves in another way now"
PYTHON
