#!/usr/bin/env bash
# hyppo 0.5.2: PartialCorr gives a correlation of 0 and p = .5 as soon as the covariate is negatively correlated with x
# or y.
#
# A partial correlation does not depend on the sign of the covariate: to regress out z or -z is the same. The documented
# formula has that property. The code does not: where the correlation of x and z, or that of y and z, is zero or less,
# the statistic is 0, without a word. The p-value is then exactly .5. In the comparison of two RDMs with a third one
# taken out, a similarity in the place of a dissimilarity is enough; and by chance more than half of all unrelated
# covariates are such. The p-value is also that of one side, for the absolute value: half of the usual one.
# Right would be the formula for all signs, and an error only where a correlation with z is 1 or -1.
# Seen with Python 3.11, 15 items, 105 pairs: .637 (p 2e-13) with the dissimilarity as covariate, 0 (p .5) with the
# similarity; by residuals .637 both times (p 4e-13). Of 200 unrelated covariates 122 give 0; by residuals all are .818
# up.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check hyppo==0.5.2 numpy==2.4.6 scipy==1.17.1
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from hyppo.conditional import PartialCorr
from scipy.spatial.distance import pdist
from scipy.stats import t


def by_residuals(first, second, covariate):
    """The partial correlation by two regressions, and its p-value of two sides."""
    design = np.column_stack([np.ones_like(covariate), covariate])
    rest = [vector - design @ np.linalg.lstsq(design, vector, rcond=None)[0] for vector in (first, second)]
    value = np.corrcoef(*rest)[0, 1]
    freedom = len(covariate) - 3
    return value, 2 * t.sf(abs(value) * np.sqrt(freedom / (1 - value**2)), freedom)


rng = np.random.default_rng(0)
base, extra = rng.standard_normal((2, 15, 4))
# Two networks share a part that the third RDM, of pixels for instance, has too, and one that it has not.
first = pdist(np.hstack([base, extra]) + 0.3 * rng.standard_normal((15, 8)))
second = pdist(np.hstack([base, extra]) + 0.3 * rng.standard_normal((15, 8)))
covariate = pdist(base)
found = {}
for name, third in (("dissimilarity", covariate), ("similarity", covariate.max() - covariate)):
    stat, p = PartialCorr().test(first, second, third)
    right, right_p = by_residuals(first, second, third)
    found[name] = float(stat), float(p), right, right_p
    print(f"covariate as {name}: hyppo {stat:.3f} (p {p:.1g}), by residuals {right:.3f} (p {right_p:.1g})")
unrelated = [rng.standard_normal(105) for _ in range(200)]
zeros = sum(PartialCorr().statistic(first, second, third) == 0 for third in unrelated)
lowest = min(by_residuals(first, second, third)[0] for third in unrelated)
print(f"of 200 unrelated covariates, {zeros} give 0; by residuals the lowest is {lowest:.3f}")
stat, p, right, right_p = found["dissimilarity"]
assert abs(stat - right) < 1e-6 and right > 0.3, "hyppo behaves in another way now"
stat, p, right, right_p = found["similarity"]
assert stat == 0 and p == 0.5 and right > 0.3 and right_p < 1e-3, "hyppo behaves in another way now"
assert zeros > 100 and lowest > 0.3, "hyppo behaves in another way now"
PYTHON
