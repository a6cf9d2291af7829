#!/usr/bin/env bash
# neurora 2.0.1 with pingouin 0.6.0 or newer: RSA with partial correlations is NaN for every model, time and subject,
# and nothing is told.
#
# rdms_partialcorr (and fmrirdms_partialcorr, and both by permutations) asks pingouin for each partial correlation.
# pingouin 0.6.0 renamed the column of its tables "p-val" to "p_val". The KeyError is caught together with all that can
# make a partial correlation undefined, and the correlation, which was found, is replaced by NaN with the p-value. The
# metadata of neurora ask for any pingouin, so that a new environment of today is one of those.
# Right would be the partial correlations (with pingouin 0.5.5 neurora has them), or an error.
# Seen with Python 3.11, numpy 2.4.6, scipy 1.17.1, pandas 3.1.1, 12 conditions: a target RDM that is one model's RDM
# plus three tenths of another's has partial Spearman correlations of .99 and .88 with pingouin 0.5.5, and NaN twice
# with pingouin 0.7.0. Correlations that are not partial are the same with both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
install() { "$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"; }
install neurora==2.0.1 pingouin==0.7.0 numpy==2.4.6 scipy==1.17.1 pandas==3.1.1 scikit-learn==1.9.1 \
  scikit-image==0.26.0 mne==1.13.2 nilearn==0.14.1 nibabel==5.4.2
cd "$folder"
cat >partial.py <<'PYTHON'
import sys

import numpy as np
from neurora.corr_cal_by_rdm import rdms_corr, rdms_partialcorr
from scipy.stats import rankdata


def squares(points):
    return ((points[:, None] - points[None]) ** 2).sum(-1)


first, second = (squares(points) for points in np.random.default_rng(0).normal(size=(2, 12, 5)))
models, target = np.stack([first, second]), first + 0.3 * second

# By hand: correlations of what each pair of ranks leaves after a regression on the third.
above = np.triu_indices(12, 1)
ranks = np.stack([rankdata(matrix[above]) for matrix in (first, second, target)])
inverse = np.linalg.inv(np.corrcoef(ranks))
expected = [-inverse[i, 2] / np.sqrt(inverse[i, i] * inverse[2, 2]) for i in range(2)]

partial = rdms_partialcorr(models, target[None, None])[0, 0, :, 0]
whole = rdms_corr(models, target[None, None])[0, 0, :, 0]
print(f"{sys.argv[1]}: correlations {whole.round(3)}, partial {partial.round(3)}, by hand {np.round(expected, 3)}")
assert np.allclose(whole, [np.corrcoef(ranks)[i, 2] for i in range(2)])
assert np.isnan(partial).all() if sys.argv[2] == "nan" else np.allclose(partial, expected)
PYTHON
run() { "$folder/env/bin/python" partial.py "$@" 2>progress | grep pingouin || { cat progress; exit 1; }; }
run "pingouin 0.7.0" nan
install pingouin==0.5.5
run "pingouin 0.5.5" right
