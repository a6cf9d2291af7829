#!/usr/bin/env bash
# Permuted sequential MNIST, 5 tasks of 28 steps: an LSTM and an Elman network under the projection family and EWC.
#
#   bash scripts/smnist.sh [FOLDER_OF_MNIST_PARQUET]
#
# Without a folder MNIST comes from the hub. Continues where it was stopped, at the end of a task; the first runs matter
# most. Runs go to runs/smnist; results to scripts/results/smnist.json, after every method. 1 job at a time (JOBS=n for
# others).
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
data=()
[ $# -gt 0 ] && data=("dataset.path=$(realpath "$1")")

train() {
  orthotrace-train --multirun experiment=smnist seed=0,1 "${data[@]}" hydra/launcher=joblib \
    "hydra.launcher.n_jobs=${JOBS:-1}" "$@"
  python scripts/family.py smnist
}

for model in lstm elman; do
  train "model=$model" method=finetune
  train "model=$model" method=ewc method.strength=100
  train "model=$model" method=gpm method.energy=0.97 method.growth=0.003
  train "model=$model" method=hlop method.energy=0.97 method.growth=0.003
  train "model=$model" method=owm method.alpha=0.1
done
