#!/usr/bin/env bash
# MNIST with measured attributes of strokes as concepts: concept whitening beside batch normalisation, 5 seeds.
#
#   bash scripts/concepts_mnist.sh [FOLDER_OF_MNIST_PARQUET]
#
# Without a folder the images come from the hub. Continues where it was stopped. Runs go to runs/concepts_mnist; results
# to scripts/results/concepts_mnist.json, figures to docs/. 2 jobs at once (JOBS=n for others): some half an hour.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
jobs="${JOBS:-2}"
data=()
[ $# -gt 0 ] && data=("dataset.path=$(realpath "$1")")

train() {
  orthotrace-train --multirun experiment=concepts_mnist "${data[@]}" hydra/launcher=joblib "hydra.launcher.n_jobs=$jobs" "$@"
}

train seed=0,1,2,3,4
train seed=0,1,2,3,4 concepts=strokes concepts.layer=bn3 \
  concepts.batch_size=256 concepts.whitening.memory=0.5 concepts.whitening.steps=10

python scripts/concepts.py concepts_mnist
