#!/usr/bin/env bash
# The optimum of SplitLoRA's rule in place of an energy: GPM beside fixed energies, on permuted MNIST and Split CIFAR-10.
#
#   bash scripts/optimum.sh FOLDER_OF_MNIST_PARQUET FOLDER_OF_CIFAR10_PARQUET
#
# Continues where it was stopped. Runs go to runs/optimum_pmnist and runs/optimum_split_cifar10; results to
# scripts/results/optimum.json, after every run. 1 job at a time (JOBS=n for others): some two hours. Not run to its
# end yet: an energy for each layer, and other plasticities on Split CIFAR-10, are missing.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
mnist="$(realpath "$1")" cifar10="$(realpath "$2")"

train() {
  orthotrace-train --multirun seed=0 method=gpm method.audit=false "$@" hydra/launcher=joblib \
    "hydra.launcher.n_jobs=${JOBS:-1}"
  python scripts/family.py optimum
}
permuted() { train experiment=permuted_mnist_gpm name=optimum_pmnist "dataset.path=$mnist" "$@"; }
split() { train experiment=split_cifar10 name=optimum_split_cifar10 method.samples=125 "dataset.path=$cifar10" "$@"; }

# The default plasticity first: the promise is without tuning.
permuted method.rank=optimum
permuted 'method.energy=0.95,0.97,0.99'
split method.rank=optimum
split 'method.energy=0.95,0.97,0.99'
permuted 'method.energy=[.95,.99,.99]'
permuted method.rank=optimum method.plasticity=3,10,1
split method.rank=optimum method.plasticity=3,1
