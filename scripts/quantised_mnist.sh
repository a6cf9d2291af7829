#!/usr/bin/env bash
# MNIST as one task: free weights against weights of 2 and 4 bits, with and without activations of as many, and adders.
#
#   bash scripts/quantised_mnist.sh [FOLDER_OF_MNIST_PARQUET]
#
# Without a folder MNIST comes from the hub. Continues where it was stopped. Runs go to runs/quantised_mnist; results to
# scripts/results/quantised.json. 2 jobs at once (JOBS=n for others): some ten minutes, most of them for the adders.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
jobs="${JOBS:-2}"
data=()
[ $# -gt 0 ] && data=("dataset.path=$(realpath "$1")")

train() {
  orthotrace-train --multirun dataset=mnist "${data[@]}" dataset.limit=1000 stream=single method=finetune \
    model=convnet "model.channels=[8,16,16]" optimizer=adam trainer.max_epochs=5 name=quantised_mnist seed=0,1,2 \
    hydra/launcher=joblib "hydra.launcher.n_jobs=$jobs" "$@"
}

train weights=free
train weights=sawb model.weights.bits=2,4
train weights=sawb model.weights.bits=2 model.weights.activation_bits=2
train weights=sawb model.weights.bits=4 model.weights.activation_bits=4
train weights=adder

python scripts/quantised_mnist.py
