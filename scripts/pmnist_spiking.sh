#!/usr/bin/env bash
# Permuted MNIST, 10 tasks, online: HLOP on spiking networks under each way of learning, and what it is compared with.
#
#   bash scripts/pmnist_spiking.sh [FOLDER_OF_MNIST_PARQUET]
#
# Without a folder MNIST comes from the hub. Continues where it was stopped, at the end of a task; the first runs matter
# most. Runs go to runs/permuted_mnist_spiking; results to scripts/results/pmnist_spiking.json, after every run. 1 job at
# a time (JOBS=n for others): some four hours of a core. The committed results were made in two pieces, OTTT with seed 1
# in the second.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
data=()
[ $# -gt 0 ] && data=("dataset.path=$(realpath "$1")")

train() {
  orthotrace-train --multirun experiment=permuted_mnist_spiking "${data[@]}" hydra/launcher=joblib \
    "hydra.launcher.n_jobs=${JOBS:-1}" "$@"
  python scripts/family.py pmnist_spiking
}

# Rows of HLOP's paper, energies of GPM's. Without an audit of what is held: one pass over all images for each task.
rows='method.rows={fc1:[80,70,70,50,50,50,30,30,30,10],fc2:[200,70,70,50,50,50,30,30,30,10],head:[100,70,70,50,50,50,30,30,30,10]}'
energy='method.energy=[.95,.99,.99]'
audit=method.audit=false
for seed in 0 1; do
  train model.learning=dsr method=hlop "$rows" "$audit" "seed=$seed"
  train model.learning=bptt method=hlop "$rows" "$audit" "seed=$seed"
  train model.learning=bptt method=finetune "seed=$seed"
  train model.learning=ottt method=hlop "$rows" "$audit" "seed=$seed"
  train model.learning=bptt method=gpm "$energy" "$audit" "seed=$seed"
  # With 100, the default, it diverges at this rate.
  train model.learning=bptt method=ewc method.strength=10 "seed=$seed"
done
# Lateral neurons that spike, of 40 levels.
train model.learning=dsr method=hlop method.levels=40 "$rows" "$audit" seed=0
