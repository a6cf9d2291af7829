#!/usr/bin/env bash
# rsatoolbox 0.3.2: RDMs that name their patterns are compared by place, until concat has put the RDMs themselves in order.
#
# calc_rdm keeps the order and the names of the patterns of a data set. compare and eval_fixed do not look at the names: of
# one geometry in two orders, as two recordings have them, the correlation is anything; without a word. concat orders by
# name, and not only in what it returns: the second RDM that it was given is in the first one's order from then on. So the
# same call of compare, on the same two objects, gives another value after it.
# With descriptor=, calc_rdm sorts the names, so those RDMs fit whatever the order was.
# Right would be the order of the names in compare, or an error; and a concat that leaves its arguments as they are.
# Seen with Python 3.11, 6 patterns of 10 features: .131 by compare and by eval_fixed, after concat 1.000 by compare.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check rsatoolbox==0.3.2
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from rsatoolbox.data import Dataset
from rsatoolbox.inference import eval_fixed
from rsatoolbox.model import ModelFixed
from rsatoolbox.rdm import calc_rdm, compare, concat

rng = np.random.default_rng(0)
patterns, names = rng.standard_normal((6, 10)), np.array(list("abcdef"))
order = rng.permutation(6)
first = calc_rdm(Dataset(patterns, obs_descriptors={"name": names}))
second = calc_rdm(Dataset(patterns[order], obs_descriptors={"name": names[order]}))
print("names:", *first.pattern_descriptors["name"], "and", *second.pattern_descriptors["name"])
before = compare(first, second, "corr").item()
evaluated = eval_fixed(ModelFixed("first", first), second, method="corr").evaluations.item()
concat(first, second)
after = compare(first, second, "corr").item()
print("names after concat:", *first.pattern_descriptors["name"], "and", *second.pattern_descriptors["name"])
print(f"compare {before:.3f}, eval_fixed {evaluated:.3f}, compare of the same two after concat {after:.3f}")
assert before < 0.5 and evaluated < 0.5 and after > 0.999, "rsatoolbox behaves in another way now"
PYTHON
