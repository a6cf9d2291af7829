#!/usr/bin/env bash
# CIFAR-100 in 10 and in 20 tasks, the AlexNet-like net and schedule of Saha et al., ICLR 2021.
#
#   bash scripts/split_cifar100.sh [gpu=true] [epochs=N] [key=value ...] [FOLDER_OF_CIFAR100_PARQUET]
#
# With gpu=true gpm and trgp, 200 epochs of each task at most, as published; else gpm alone for 20 epochs, 10 tasks.
# Without a folder the images come from the hub. Continues where it was stopped, at the end of an epoch. Runs go to
# runs/split_cifar100_alexnet; results to scripts/results/split_cifar100.json, after every method. gpm takes an hour of
# a core for 20 epochs. Not run with gpu=true yet.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
own=(method=gpm stream.tasks=10 trainer.max_epochs=20)
for given in "$@"; do
  case "$given" in
    gpu=true) own=(method=gpm,trgp stream.tasks=10,20 trainer.max_epochs=200 trainer.accelerator=gpu) ;;
  esac
done
for given in "$@"; do
  case "$given" in
    gpu=*) ;;
    epochs=*) own+=("trainer.max_epochs=${given#*=}") ;;
    *=*) own+=("$given") ;;
    *) own+=("dataset.path=$(realpath "$given")") ;;
  esac
done
orthotrace-train --multirun experiment=split_cifar100_alexnet "${own[@]}" trainer.save_every=1 \
  method.energy=0.97 method.growth=0.003 method.samples=125 seed=0
python scripts/family.py split_cifar100
