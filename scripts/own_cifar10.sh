#!/usr/bin/env bash
# CIFAR-10 as one task, a small VGG: free weights against orthogonal weight normalisation.
#
#   bash scripts/own_cifar10.sh [FOLDER_OF_CIFAR10_PARQUET]
#
# Without a folder CIFAR-10 comes from the hub. Continues where it was stopped. Runs go to runs/own_cifar10; results
# to scripts/results/own_cifar10.json, curves to docs/own_curves.png. 2 jobs at once (JOBS=n for others): some 20 minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
jobs="${JOBS:-2}"
data=()
[ $# -gt 0 ] && data=("dataset.path=$(realpath "$1")")

orthotrace-train --multirun experiment=own_cifar10 weights=free,own seed=0,1,2 "${data[@]}" \
  hydra/launcher=joblib "hydra.launcher.n_jobs=$jobs"

python scripts/own_cifar10.py
