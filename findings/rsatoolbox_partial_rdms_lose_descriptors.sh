#!/usr/bin/env bash
# rsatoolbox 0.3.2: partial RDMs of which only some have an RDM descriptor.
#
# combine.from_partials puts RDMs of overlapping stimuli together and promises to keep their descriptors. Where one of
# two sets has a descriptor of its RDMs ("subject") and the other has none, what comes of it depends on their order:
# - the set with the descriptor first: it is gone, without a word;
# - the set with the descriptor second: TypeError, 'NoneType' object does not support item assignment.
# Right would be None for the RDMs that lack it, in both orders, as for descriptors of whole sets.
# Seen with Python 3.11, rsatoolbox 0.3.2: "first: ['index']", "second: TypeError".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check rsatoolbox==0.3.2
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import numpy as np
from rsatoolbox.rdm import RDMs
from rsatoolbox.rdm.combine import from_partials

values = np.array([[1.0, 2.0, 3.0]])
one = RDMs(values, rdm_descriptors={"subject": ["s1"]}, pattern_descriptors={"conds": ["a", "b", "c"]})
two = RDMs(values, pattern_descriptors={"conds": ["b", "c", "d"]})
first = sorted(from_partials([one, two]).rdm_descriptors)
try:
    second = sorted(from_partials([two, one]).rdm_descriptors)
except TypeError:
    second = "TypeError"
print(f"first: {first}, second: {second}")
assert first == ["index"] and second == "TypeError", "rsatoolbox behaves in another way now"
PYTHON
