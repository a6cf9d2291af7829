#!/usr/bin/env bash
# Permuted MNIST, 5 tasks x 5 seeds: do protected networks agree more with each other, and how far do they drift?
#
#   bash scripts/continual_differences.sh [FOLDER_OF_MNIST_PARQUET]
#
# Without a folder MNIST comes from the hub. Continues where it was stopped. Runs go to runs/continual_differences, and
# those of the search for EWC's strength to runs/continual_differences_search; results to
# scripts/results/continual_differences. 2 jobs at once (JOBS=n for others): some twenty minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
jobs="${JOBS:-2}"
data=()
[ $# -gt 0 ] && data=("dataset.path=$(realpath "$1")")

train() {
  orthotrace-train --multirun experiment=continual_differences "${data[@]}" hydra/launcher=joblib \
    "hydra.launcher.n_jobs=$jobs" "$@"
}

# EWC's strength by validation images, with a seed that no result uses; from 100 on it diverges at this learning rate.
train name=continual_differences_search seed=100 method=ewc method.strength=0.3,1,3,10
strength="$(python scripts/continual_differences.py strength)"

train method=finetune seed=0,1,2,3,4
train method=gpm 'method.energy=[.95,.99,.99]' seed=0,1,2,3,4
train method=hlop method.rows_from=runs/continual_differences seed=0,1,2,3,4
train method=ewc "method.strength=$strength" seed=0,1,2,3,4

# Stimuli as the first task shows them, which all networks were taught first.
orthotrace-analyze runs=runs/continual_differences tasks=all stimuli.task=1 stimuli.per_class=50 readout=true \
  out=runs/continual_differences/analysis
python scripts/continual_differences.py results
