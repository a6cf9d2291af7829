#!/usr/bin/env bash
# mne-rsa 1.0: with ignore_nan, pairs that are missing in one data RDM are left out of all RDMs that come after it.
#
# rsa_gen and rsa take a list of data RDMs. The mask of the pairs that are there is not made anew for each: it is that of
# the RDMs before, and of this one. So a value depends on the order of the list, and by rsa(n_jobs=2), which compares each
# RDM by itself, it is another; without a word. In a searchlight, a patch with missing pairs changes those behind it.
# Right would be the mask of each data RDM and the model, as for one RDM alone.
# Seen with Python 3.11, mne 1.13.2, 12 items, 36 of 66 pairs missing in the first of two RDMs: the second has rho .013
# alone, and -.058 after the first; with n_jobs=2 .013.
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
from mne_rsa import rsa

rng = np.random.default_rng(1)
model, first, second = rng.random((3, 66))
# The last nine of twelve items are not compared with each other in the first RDM.
first[np.triu_indices(12, 1)[0] >= 3] = np.nan
alone = rsa(second, model, ignore_nan=True)
after = rsa([first, second], model, ignore_nan=True)[1]
before = rsa([second, first], model, ignore_nan=True)[0]
by_two = rsa([first, second], model, ignore_nan=True, n_jobs=2)[1]
print(f"rho of the second RDM: alone {alone:.3f}, first in the list {before:.3f}, after the RDM with missing pairs "
      f"{after:.3f}, by two processes {by_two:.3f}")
assert alone == before == by_two, "mne-rsa behaves in another way now"
assert abs(after - alone) > 0.01, "mne-rsa behaves in another way now"
PYTHON
