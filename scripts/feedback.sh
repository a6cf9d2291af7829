#!/usr/bin/env bash
# Spiking networks whose errors go back by fixed random weights or by the signs of the weights, with one head and several.
#
#   bash scripts/feedback.sh [FOLDER_OF_MNIST_PARQUET]
#
# Without a folder MNIST comes from the hub. Continues where it was stopped, at the end of a task. Runs go to
# runs/feedback_permuted and runs/feedback_split; results to scripts/results/feedback.json. 1 job at a time (JOBS=n for
# others).
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
data=()
[ $# -gt 0 ] && data=("dataset.path=$(realpath "$1")")

train() {
  orthotrace-train --multirun experiment=permuted_mnist_spiking "${data[@]}" hydra/launcher=joblib \
    "hydra.launcher.n_jobs=${JOBS:-1}" model.learning=bptt 'model.hidden=[200,200]' "$@"
}
permuted=(name=feedback_permuted stream.tasks=3)
split=(name=feedback_split stream=split stream.tasks=5 stream.scenario=task)
for feedback in "" +model.feedback=alignment,sign_symmetric; do
  train "${permuted[@]}" method=hlop method.rows=60 $feedback seed=0,1
  train "${permuted[@]}" method=finetune $feedback seed=0,1
  train "${split[@]}" method=hlop method.rows=60 $feedback seed=0,1
  train "${split[@]}" method=finetune $feedback seed=0,1
done
# Lateral neurons that spike, of 40 levels.
train "${permuted[@]}" method=hlop method.rows=60 method.levels=40 seed=0,1
train "${split[@]}" method=hlop method.rows=60 method.levels=40 seed=0,1

python scripts/family.py feedback
