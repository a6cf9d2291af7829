#!/usr/bin/env bash
# nltools 0.5.1: procrustes_distance finds unrelated matrices alike with p = .005, and a rotated copy not alike with
# p = 1.
#
# The documentation says that it returns the similarity of two matrices, from 0 to 1, and the p-value of a permutation
# test. What comes as "similarity" is the disparity: 0 for the same matrix, nearly 1 for others. The rows are shuffled
# for the test, and of each shuffle 1 - disparity is kept; then these are compared with the disparity that was not
# turned round. So the test is upside down. The more two representations are alike, the nearer is p to 1; two that have
# nothing in common get the smallest p there is. Nothing is told; with tail=1 it is the same.
# Right would be 1 - disparity in both places. Until then: scipy.spatial.procrustes, and the share of the shuffles whose
# disparity is as small as that of the data, as below.
# Seen with Python 3.11, 20 inputs, 4 features, 199 shuffles: a rotated copy has similarity 0 and p 1.000, with noise
# .068 and .965, unrelated features .850 and .005; by scipy similarity 1.000, .932 and .150, p .005, .005 and .415. Of
# 20 unrelated pairs all 20 have p below .05; by scipy 2.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check nltools==0.5.1 numpy==1.23.5 \
    scipy==1.15.3 pandas==2.3.3 scikit-learn==1.7.2 nilearn==0.13.1 nibabel==5.3.3
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from nltools.stats import procrustes_distance
from scipy.spatial import procrustes

SHUFFLES = 199
rng = np.random.default_rng(0)


def by_scipy(first, second):
    """The similarity, and the share of shuffles that are as similar, the data among them."""
    disparity = procrustes(first, second)[2]
    null = np.array([procrustes(rng.permutation(first), second)[2] for _ in range(SHUFFLES)])
    return 1 - disparity, (1 + np.sum(null <= disparity)) / (1 + SHUFFLES)


def by_nltools(first, second):
    found = procrustes_distance(first, second, n_permute=SHUFFLES, n_jobs=1, random_state=0)
    return found["similarity"], found["p"]


first = rng.standard_normal((20, 4))
rotated = first @ np.linalg.qr(rng.standard_normal((4, 4)))[0]
noisy = rotated + 0.3 * rng.standard_normal((20, 4))
found = {}
for name, second in (("rotated", rotated), ("noisy", noisy), ("unrelated", rng.standard_normal((20, 4)))):
    found[name] = by_nltools(first, second), by_scipy(first, second)
    (similarity, p), (right, right_p) = found[name]
    print(f"{name}: nltools {similarity:.3f} (p {p:.3f}), by scipy {right:.3f} (p {right_p:.3f})")
pairs = [rng.standard_normal((2, 20, 4)) for _ in range(20)]
significant = sum(by_nltools(*pair)[1] < 0.05 for pair in pairs)
right_significant = sum(by_scipy(*pair)[1] < 0.05 for pair in pairs)
print(f"of 20 unrelated pairs, p is below .05 for {significant}; by scipy for {right_significant}")
for name in ("rotated", "noisy"):
    (similarity, p), (right, right_p) = found[name]
    assert right > 0.8 and right_p < 0.05, "the example is another one now"
    assert abs(similarity - (1 - right)) < 1e-9 and p > 0.5, "nltools behaves in another way now"
(similarity, p), (right, right_p) = found["unrelated"]
assert right < 0.5 and right_p > 0.1, "the example is another one now"
assert abs(similarity - (1 - right)) < 1e-9 and p < 0.05, "nltools behaves in another way now"
assert significant > 15 and right_significant < 5, "nltools behaves in another way now"
PYTHON
