#!/usr/bin/env bash
# mne-rsa 1.0: compute_rdm_cv compares each fold with a "training" mean that contains it; of two folds, with itself.
#
# Its documentation says that distances go from the average of all folds but one to the fold that is left. The average is
# made as m - (m - x) / (n - 1), with m the mean of all n folds and x the test fold; without x it is m + (m - x) / (n - 1).
# So the test fold weighs more in its training mean than in m: with two folds the mean is the test fold itself, and the
# result is the mean of the RDMs within the folds: no cross-validation. rsa_array and the searchlights over sensors and
# sources take this road where folds are asked for.
# Right would be the mean of the other folds, as documented.
# Seen with Python 3.11, mne 1.13.2, 6 items of 40 features, noise, squared Euclidean distances: with two folds the RDM
# differs by 0 from the mean of the RDMs within the folds, by up to 18.1 from the documented one; with five folds by up to
# 4.4.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
# It asks for graphics of brains too, which are not needed here.
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check mne==1.13.2 nibabel==5.4.2 scikit-learn==1.9.1
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check --no-deps mne-rsa==1.0
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import numpy as np
from mne_rsa import compute_rdm_cv
from scipy.spatial.distance import cdist, pdist

rng = np.random.default_rng(0)
above = np.triu_indices(6, 1)


def documented(folds):
    """The mean over folds of the distances from the average of the others."""
    others = [np.delete(folds, fold, 0).mean(0) for fold in range(len(folds))]
    return np.mean([cdist(mean, fold, "sqeuclidean")[above] for mean, fold in zip(others, folds, strict=True)], 0)


found = {}
for count in (2, 5):
    folds = rng.standard_normal((count, 6, 40))
    rdm = compute_rdm_cv(folds, metric="sqeuclidean")
    within = np.mean([pdist(fold, "sqeuclidean") for fold in folds], 0)
    found[count] = float(abs(rdm - within).max()), float(abs(rdm - documented(folds)).max())
print(f"largest difference from the RDMs within folds, and from the documented RDM, by folds: {found}")
assert found[2][0] < 1e-9, "mne-rsa behaves in another way now"
assert min(found[2][1], found[5][1]) > 1, "mne-rsa behaves in another way now"
PYTHON
