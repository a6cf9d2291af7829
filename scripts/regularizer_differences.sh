#!/usr/bin/env bash
# MNIST, 5,000 images: what do regularizers and optimizers do to accuracy, and to the agreement of networks of five seeds?
#
#   bash scripts/regularizer_differences.sh [FOLDER_OF_MNIST_PARQUET]
#
# Without a folder MNIST comes from the hub. Continues where it was stopped. Runs go to runs/regularizer_differences, and
# those of the search for learning rates to runs/regularizer_differences_search; results and figures to
# scripts/results/regularizer_differences. 2 jobs at once (JOBS=n for others).
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
data=()
[ $# -gt 0 ] && data=("dataset.path=$(realpath "$1")")

train() {
  orthotrace-train --multirun experiment=regularizer_differences "${data[@]}" hydra/launcher=joblib \
    "hydra.launcher.n_jobs=${JOBS:-2}" "$@"
}

# Learning rates by validation images, with a seed that no result uses.
search=(name=regularizer_differences_search seed=100)
train "${search[@]}" optimizer=sgd,momentum,nesterov optimizer.lr=0.005,0.015,0.05,0.15
train "${search[@]}" optimizer=adam,adamw,nadam,rmsprop optimizer.lr=0.0003,0.001,0.003
train "${search[@]}" optimizer=adagrad optimizer.lr=0.003,0.01,0.03
train "${search[@]}" optimizer=adadelta optimizer.lr=0.3,1,3

seeds=seed=0,1,2,3,4
python scripts/regularizer_differences.py rates | while read -r optimizer rate; do
  train "$seeds" "optimizer=$optimizer" "optimizer.lr=$rate" </dev/null
done

best=("$seeds" "optimizer.lr=$(python scripts/regularizer_differences.py rates | sed -n 's/^momentum //p')")
train "${best[@]}" regularizer.l1=0.00001,0.0001,0.0003
train "${best[@]}" regularizer.l2=0.0001,0.001,0.003
train "${best[@]}" regularizer.l1=0.00001 regularizer.l2=0.0001
train "${best[@]}" regularizer.l1=0.0001 regularizer.l2=0.001
train "${best[@]}" regularizer.max_norm=2,1,0.5
train "${best[@]}" regularizer.dropout=0.1,0.3,0.5
train "${best[@]}" regularizer.dropconnect=0.1,0.3,0.5
train "${best[@]}" regularizer.input_noise=0.1,0.2,0.4
train "${best[@]}" regularizer.label_smoothing=0.05,0.1,0.3
train "${best[@]}" regularizer.early_stopping=5,3,1

orthotrace-analyze runs=runs/regularizer_differences stimuli.per_class=50 formats=[] \
  out=runs/regularizer_differences/analysis
python scripts/regularizer_differences.py results
