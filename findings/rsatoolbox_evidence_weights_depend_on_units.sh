#!/usr/bin/env bash
# rsatoolbox 0.3.2: partial RDMs combined by rescale(method="evidence"), the default, in two units of measurement.
#
# The weights of the method are squared dissimilarities that are cut at .2 from below, in whatever unit they come. The
# same distances in metres and in millimetres therefore get other weights, and their combination is not the same RDM
# times 1,000, though dissimilarities have no natural unit and rescaling is there to remove it. The methods "setsize" and
# "simple" do not depend on the unit. The documentation does not say that dissimilarities should be of size 1.
# Seen with Python 3.11, rsatoolbox 0.3.2: correlation of the two combinations .9843 with "evidence", 1 with the others.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check rsatoolbox==0.3.2
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import numpy as np
from rsatoolbox.rdm import RDMs
from rsatoolbox.rdm.combine import from_partials, rescale

names = list("abcdef")
rng = np.random.default_rng(0)
distances = np.abs(np.subtract.outer(np.arange(6.0), np.arange(6.0))) / 50
partial = []
for kept in ("abcd", "cdef", "abef"):
    places = [names.index(name) for name in kept]
    rows, columns = np.triu_indices(4, 1)
    partial.append((list(kept), distances[np.ix_(places, places)][rows, columns] * rng.lognormal(0, 1, 6)))


def combined(unit, method):
    rdms = [RDMs(np.array([values * unit]), pattern_descriptors={"conds": kept}) for kept, values in partial]
    return rescale(from_partials(rdms), method).mean(weights="rescalingWeights").dissimilarities[0]


found = {
    method: np.corrcoef(combined(1, method), combined(1000, method))[0, 1] for method in ("evidence", "setsize", "simple")
}
print(", ".join(f"{method}: {value:.4f}" for method, value in found.items()))
assert found["evidence"] < 0.99, "rsatoolbox's weights no longer depend on the unit"
assert found["setsize"] > 1 - 1e-9 and found["simple"] > 1 - 1e-9
PYTHON
