#!/usr/bin/env bash
# Split CIFAR-10, 5 tasks of 2 classes with a head each, a convolutional net: the projection family and fine-tuning.
#
#   bash scripts/split_cifar10.sh [FOLDER_OF_CIFAR10_PARQUET]
#
# Without a folder CIFAR-10 comes from the hub. Continues where it was stopped. Runs go to runs/split_cifar10; results
# to scripts/results/split_cifar10.json. 2 jobs at once (JOBS=n for others): some three hours.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
jobs="${JOBS:-2}"
data=()
[ $# -gt 0 ] && data=("dataset.path=$(realpath "$1")")

train() {
  orthotrace-train --multirun experiment=split_cifar10 seed=0,1,2 "${data[@]}" \
    hydra/launcher=joblib "hydra.launcher.n_jobs=$jobs" "$@"
}

# Energies of GPM's paper for CIFAR-100: .97, and .003 more with each task.
energy=(method.energy=0.97 method.growth=0.003)
train method=finetune
train method=gpm "${energy[@]}" method.samples=125
train method=hlop "${energy[@]}" method.max_rows=200
train method=sgp "${energy[@]}" method.samples=125
train method=trgp "${energy[@]}" method.samples=125 method.rate=0.1
train method=nscl

python scripts/family.py split_cifar10
