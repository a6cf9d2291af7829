#!/usr/bin/env bash
# The suite's quick part at the oldest version of every dependency that pyproject.toml allows, or at the newest there is.
# Outside CI: it downloads some gigabytes.
#
#   bash scripts/oldest.sh [oldest|newest] [python3.11] [FOLDER of the environment]
set -euo pipefail
cd "$(dirname "$0")/.."
which=${1:-oldest} python=${2:-python3.11}
folder=${3:-$(mktemp -d)}
pins=$folder/$which.txt

"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" - "$which" > "$pins" <<'PYTHON'
import re, sys, tomllib
for line in tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]:
    name, bound = re.match(r"([\w-]+)>=([\d.]+)", line).groups()
    print(f"{name}=={bound}" if sys.argv[1] == "oldest" else name)
PYTHON
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$pins" hatchling jsonschema pytest
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
"$folder/venv/bin/python" -m pip check
"$folder/venv/bin/python" -c 'import sys; from importlib.metadata import version as v
print("python", sys.version.split()[0], *(f"{n} {v(n)}" for n in ("torch", "pytorch-lightning", "numpy", "scipy", "hydra-core", "pydantic")))'

export OMP_NUM_THREADS=1
# Warnings of other versions are theirs.
"$folder/venv/bin/pytest" -q -W default -p no:cacheprovider tests/test_linalg.py tests/subspace tests/layers tests/protection \
  tests/analysis/rdm tests/docs/test_readme.py tests/docs/test_own_measure.py
cd "$folder"
for method in finetune gpm hlop er; do
  venv/bin/orthotrace-train method=$method stream.tasks=2 trainer.max_epochs=1 'model.hidden=[16]' hydra.run.dir="runs/$method" > /dev/null
done
venv/bin/orthotrace-train --multirun method=gpm seed=1,2 stream.tasks=2 trainer.max_epochs=1 'model.hidden=[16]' hydra.sweep.dir=runs > /dev/null
venv/bin/orthotrace-analyze runs=runs where.method=gpm stimuli.per_class=3 > /dev/null
test -f runs/analysis/report.html && echo "$which versions: passed"
