"""How far comparisons move when RDMs are kept in float32, and how far Bures similarity is from rsatoolbox's.

python scripts/tolerances.py STIMULI FEATURES [COMMON]

Four RDMs of rectified activations of 12 shared dimensions and noise; COMMON times the same pattern is added to all
stimuli, which makes them nearly parallel. Figures of docs/concepts/rsa.md: 100 50, 1000 50, 1000 4096, 1000 50 1000.
"""

from __future__ import annotations

import sys

import numpy as np
from rsatoolbox.rdm.compare import compare as compare_theirs
from rsatoolbox.rdm.rdms import RDMs

from orthotrace.analysis.rdm.compare import bures, cosine, pearson, spearman, tau_b
from orthotrace.analysis.rdm.dissimilarity import MEASURES

COUNT = 4
COMPARISONS = (pearson, cosine, spearman, tau_b, bures)


def main(stimuli: int, features: int, common: float = 0.0) -> None:
    """Print a line for each dissimilarity and comparison."""
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((stimuli, 12))
    patterns = [
        np.maximum(
            common * rng.random(features)
            + shared @ rng.standard_normal((12, features))
            + rng.standard_normal((stimuli, features)),
            0,
        )
        for _ in range(COUNT)
    ]
    apart = ~np.eye(COUNT, dtype=bool)
    for kind in ("correlation", "squared_euclidean"):
        rdms = np.stack([np.asarray(MEASURES[kind](one)) for one in patterns])
        kept = rdms.astype(np.float32).astype(np.float64)
        for compare in COMPARISONS:
            # Kendall's takes minutes of more.
            if compare is tau_b and stimuli > 150:
                continue
            own = compare(rdms)
            line = f"{kind}, {compare.__name__}: float32 {abs(own - compare(kept))[apart].max():.1e}"
            if compare is bures:
                theirs = RDMs(rdms)
                other = np.asarray(compare_theirs(theirs, theirs, method="bures"))
                line += f", rsatoolbox {abs(own - other).max():.1e}"
            print(line, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *map(float, sys.argv[3:]))
