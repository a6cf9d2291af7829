#!/usr/bin/env bash
# Permuted MNIST with a concept layer: purity of the first task's concepts after every task, 3 seeds.
#
#   bash scripts/concept_drift.sh [FOLDER_OF_MNIST_PARQUET]
#
# Without a folder the images come from the hub. Continues where it was stopped. Runs go to runs/concept_drift; results
# to scripts/results/concept_drift.json, figures to docs/. 2 jobs at once (JOBS=n for others): some half an hour.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
jobs="${JOBS:-2}"
data=()
[ $# -gt 0 ] && data=("dataset.path=$(realpath "$1")")

train() {
  orthotrace-train --multirun experiment=concept_drift "${data[@]}" hydra/launcher=joblib "hydra.launcher.n_jobs=$jobs" "$@"
}

train seed=0,1,2 method=finetune
train seed=0,1,2 method=gpm method.energy=0.97
train seed=0,1,2 method=hlop method.energy=0.97 method.max_rows=200

python scripts/concepts.py concept_drift
