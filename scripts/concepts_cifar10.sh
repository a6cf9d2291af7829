#!/usr/bin/env bash
# CIFAR-10, two classes held out, with measured attributes and these classes as concepts: concept whitening beside batch normalisation, 3 seeds.
#
#   bash scripts/concepts_cifar10.sh [FOLDER_OF_CIFAR10_PARQUET]
#
# Without a folder the images come from the hub. Continues where it was stopped. Runs go to runs/concepts_cifar10; results
# to scripts/results/concepts_cifar10.json, figures to docs/. 2 jobs at once (JOBS=n for others): some two hours.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
jobs="${JOBS:-2}"
data=()
[ $# -gt 0 ] && data=("dataset.path=$(realpath "$1")")

train() {
  orthotrace-train --multirun experiment=concepts_cifar10 "${data[@]}" hydra/launcher=joblib "hydra.launcher.n_jobs=$jobs" "$@"
}

train seed=0,1,2
train seed=0,1,2 concepts=photographs 'concepts.sets.classes=[ship,horse]' concepts.layer=layer3.1.bn2 \
  concepts.batch_size=128 concepts.whitening.memory=0.5 concepts.whitening.steps=10

python scripts/concepts.py concepts_cifar10
