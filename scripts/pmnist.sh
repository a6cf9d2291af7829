#!/usr/bin/env bash
# Permuted MNIST, 10 tasks: the projection family on the network of GPM's paper, HLOP online on that of its own.
#
#   bash scripts/pmnist.sh [FOLDER_OF_MNIST_PARQUET]
#
# Without a folder MNIST comes from the hub. Continues where it was stopped. Runs go to runs/permuted_mnist_gpm and
# runs/permuted_mnist; results to scripts/results/pmnist.json. 2 jobs at once (JOBS=n for others): some five hours.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
jobs="${JOBS:-2}"
data=()
[ $# -gt 0 ] && data=("dataset.path=$(realpath "$1")")

train() {
  orthotrace-train --multirun "${data[@]}" hydra/launcher=joblib "hydra.launcher.n_jobs=$jobs" "$@"
}
family() { train experiment=permuted_mnist_gpm "$@"; }

# Energies and samples of GPM's paper.
energy='method.energy=[.95,.99,.99]'
family method=finetune seed=0,1,2,3,4
family method=gpm "$energy" seed=0,1,2,3,4
family method=trgp "$energy" seed=0,1,2,3,4
family method=hlop method.rows_from=runs/permuted_mnist_gpm seed=0,1,2,3,4
family method=sgp "$energy" seed=0,1
family method=owm method.alpha=1000 seed=0,1
family method=nscl seed=0,1

# Rows of HLOP's paper.
rows='method.rows={fc1:[80,70,70,50,50,50,30,30,30,10],fc2:[200,70,70,50,50,50,30,30,30,10],head:[100,70,70,50,50,50,30,30,30,10]}'
train experiment=permuted_mnist method=hlop "$rows" seed=0,1,2,3,4

python scripts/family.py pmnist
