#!/usr/bin/env bash
# Split MNIST: 10 methods x 3 scenarios x 5 seeds, strengths chosen on validation images with another seed.
#
#   bash scripts/split_mnist.sh [FOLDER_OF_MNIST_PARQUET]
#
# Without a folder MNIST comes from the hub. Continues where it was stopped. Runs go to runs/split_mnist and
# runs/split_mnist_search; results to scripts/results/split_mnist.json. 2 jobs at once (JOBS=n for others).
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
jobs="${JOBS:-2}"
data=()
[ $# -gt 0 ] && data=("dataset.path=$(realpath "$1")")
launch=(hydra/launcher=joblib "hydra.launcher.n_jobs=$jobs")

train() { orthotrace-train --multirun experiment=split_mnist "${data[@]}" "${launch[@]}" "$@"; }

# The search: seed 100, which no result uses; scored on the validation parts by split_mnist.py.
search() { train name=split_mnist_search seed=100 stream.scenario=task,domain,class "$@"; }
search method=ewc method.strength=1e2,1e3,1e4,1e5,1e6,1e7,1e8,1e9
search method=si method.strength=0.1,1,10,100,1000,10000,100000,1000000
search method=lwf method.strength=0.5,1,2,5
search method=derpp method.alpha=0.2,0.5,1
search method=gpm method.energy=0.9,0.95,0.97,0.99,0.995
search method=hlop method.energy=0.9,0.95,0.97,0.99,0.995 method.max_rows=200
python scripts/split_mnist.py choose

for scenario in task domain class; do
  for method in finetune joint ewc si lwf er derpp agem gpm hlop; do
    mapfile -t chosen < <(python scripts/split_mnist.py chosen "$method" "$scenario")
    train "method=$method" "stream.scenario=$scenario" seed=0,1,2,3,4 "${chosen[@]}"
  done
done
python scripts/split_mnist.py table
