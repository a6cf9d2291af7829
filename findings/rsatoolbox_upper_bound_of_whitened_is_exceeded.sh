#!/usr/bin/env bash
# rsatoolbox 0.3.2: by the whitened comparisons, cosine_cov and corr_cov, the upper bound of the noise ceiling is none:
# an RDM scores above it.
#
# The upper bound is the mean score of the RDM that does best on the subjects' own (Nili et al. 2014). boot_noise_ceiling
# takes the mean of the RDMs after each is divided by its plain length. That is the best for cosine and corr. Whitened
# comparisons divide by another length, sqrt(x' V^-1 x), and the best is the mean of RDMs that are divided by that one.
# The two lengths differ most where one subject has patterns of few dimensions and another of many. So a model can lie
# above the grey band, and one within it may be further from the best than it looks. The lower bound differs alike.
# Seen with Python 3.11 on two subjects of 12 stimuli: by cosine_cov the upper bound is .7648, and a sum of the two RDMs
# scores .7778; by corr_cov .6639 and .6678; by cosine and corr the two agree, .8766 and .7285.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check \
  rsatoolbox==0.3.2 numpy==2.4.6 scipy==1.17.1
cd "$folder"
"$folder/env/bin/python" -W ignore - 2>progress <<'PYTHON' || { cat progress; exit 1; }
import numpy as np
from rsatoolbox.inference import boot_noise_ceiling
from rsatoolbox.rdm import RDMs, compare
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import pdist

rng = np.random.default_rng(1)
subjects = np.stack([pdist(rng.standard_normal((12, dimensions)), "sqeuclidean") for dimensions in (1, 50)])
subjects /= np.linalg.norm(subjects, axis=1, keepdims=True)
data = RDMs(subjects)
for method, exceeded in (("cosine", False), ("corr", False), ("cosine_cov", True), ("corr_cov", True)):
    _, upper = boot_noise_ceiling(data, method=method)

    def loss(share):
        return -compare(RDMs((share * subjects[0] + (1 - share) * subjects[1])[None]), data, method).mean()

    best = -minimize_scalar(loss, bounds=(0, 1), method="bounded", options={"xatol": 1e-10}).fun
    print(f"{method}: upper bound {upper:.4f}, a sum of the two RDMs scores {best:.4f}")
    assert (best > upper + 0.002) == exceeded and best > upper - 1e-6, method
PYTHON
