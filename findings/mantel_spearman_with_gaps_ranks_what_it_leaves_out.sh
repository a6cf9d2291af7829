#!/usr/bin/env bash
# mantel 2.2.3: with missing values, method="spearman" is no Spearman correlation of the pairs that are there.
#
# mantel.test compares two dissimilarity matrices, such as RDMs; ignore_nans=True leaves out pairs that the second one
# has not. The first one is ranked over all of its pairs, those that are left out among them, the second over the pairs
# that are there. The Pearson correlation of these ranks is the result: it depends on values that are left out, and so
# do the permutations that it is compared with. Nothing is told. method="pearson" is right, and so is spearman without
# gaps.
# Right would be ranks over the pairs that are there, for each permutation anew. Until then: leave out whole items that
# lack a pair, from both.
# Seen with Python 3.11, 12 items in three groups of 4, the second RDM without the pairs within groups: spearmanr of
# scipy, of the 48 pairs that are there, is .8938 whatever the first RDM has within groups. mantel gives .8938 where
# that is smaller than nearly all the rest, and .8226 where it is near the middle; by Pearson both are right. (What the
# permutations are compared with is read in its code.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check mantel==2.2.3 numpy==2.4.6 scipy==1.17.1
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import numpy as np
from mantel import test
from scipy.spatial.distance import squareform
from scipy.stats import pearsonr, spearmanr

draws, items = np.random.default_rng(0), 12
group = np.arange(items) // 4
within = squareform((group[:, None] == group) & ~np.eye(items, dtype=bool), checks=False).astype(bool)
# Between groups the two RDMs agree in part; skewed, as distances mostly are.
between = draws.random(len(within)) ** 3
second = between + 0.2 * draws.random(len(within))
second[within] = np.nan


def found(first, method):
    return test(first, second, perms=50, method=method, ignore_nans=True).r


results = {}
sizes = {"small": 0.001 * draws.random(within.sum()), "middling": 0.1 + 0.1 * draws.random(within.sum())}
for name, values in sizes.items():
    first = between + 0.2 * np.random.default_rng(1).random(len(within)) + 0.01
    first[within] = values
    there = ~within
    right = spearmanr(first[there], second[there])[0], pearsonr(first[there], second[there])[0]
    results[name] = found(first, "spearman"), right[0]
    print(f"within groups {name}: spearman {results[name][0]:.4f}, scipy's {right[0]:.4f}")
    assert np.isclose(found(first, "pearson"), right[1]), "mantel behaves in another way now"
    whole = np.where(within, 0.5, second)
    assert np.isclose(test(first, whole, perms=50, method="spearman").r, spearmanr(first, whole)[0])
assert np.isclose(results["small"][1], results["middling"][1]), "the example is another one now"
assert np.isclose(*results["small"]), "mantel behaves in another way now"
assert abs(np.subtract(*results["middling"])) > 0.01, "mantel behaves in another way now"
PYTHON
