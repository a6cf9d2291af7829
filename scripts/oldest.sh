#!/usr/bin/env bash
# The suite without its tools (linters, docs, chaos, Slurm) at the oldest version of every dependency that pyproject.toml
# allows, or at the newest there is. Outside CI: it downloads some gigabytes, and takes half an hour.
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
install() { "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }
install -r "$pins" editables hatchling hypothesis jsonschema mpmath pytest selenium snntorch==1.0.0 statsmodels transformers
install --no-deps --no-build-isolation -e .
"$folder/venv/bin/python" -m pip check
"$folder/venv/bin/python" -c 'import sys; from importlib.metadata import version as v
print("python", sys.version.split()[0], *(f"{n} {v(n)}" for n in ("torch", "pytorch-lightning", "numpy", "scipy", "hydra-core", "pydantic")))'

export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
# Warnings of other versions are theirs, and rsatoolbox has bounds of its own.
"$folder/venv/bin/pytest" -q -W default -p no:cacheprovider -k "not rsatoolbox and not their_names_of_measures" \
  --ignore tests/analysis/test_rsatoolbox.py \
  tests/{analysis,config,core,data,layers,methods,models,protection,results,subspace,training} \
  tests/test_{linalg,combinations,continuing,distributed,hardware}.py tests/docs/test_{readme,own_measure}.py src
cd "$folder"
for method in finetune gpm hlop er; do
  venv/bin/orthotrace-train method=$method stream.tasks=2 trainer.max_epochs=1 'model.hidden=[16]' hydra.run.dir="runs/$method" > /dev/null
done
venv/bin/orthotrace-train --multirun method=gpm seed=1,2 stream.tasks=2 trainer.max_epochs=1 'model.hidden=[16]' hydra.sweep.dir=runs > /dev/null
venv/bin/orthotrace-analyze runs=runs where.method=gpm stimuli.per_class=3 > /dev/null
test -f runs/analysis/report.html && echo "$which versions: passed"
