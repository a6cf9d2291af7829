#!/usr/bin/env bash
# CIFAR-100 in 10 tasks on HLOP's convolutional net of spiking neurons, 64-128-256, with a head for each task.
#
#   bash scripts/split_cifar100_spiking.sh [gpu=true] [epochs=N] [FOLDER_OF_CIFAR100_PARQUET]
#
# On a CPU 2 epochs of each task and 6 steps by bptt; with gpu=true the paper's 200 epochs and 20 steps by dsr. Without a
# folder the images come from the hub. Continues where it was stopped, at the end of an epoch: "timeout 540 bash
# scripts/split_cifar100_spiking.sh ..." trains it in pieces. Runs go to runs/split_cifar100_spiking; results to
# scripts/results/split_cifar100_spiking.json, after every run. On a CPU HLOP took 76 minutes of a core, GPM and
# fine-tuning, by faster code, 40 each.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
gpu=false epochs="" data=()
for given in "$@"; do
  case "$given" in
    gpu=*) gpu="${given#*=}" ;;
    epochs=*) epochs="${given#*=}" ;;
    *) data=("dataset.path=$(realpath "$given")") ;;
  esac
done
if [ "$gpu" = true ]; then
  epochs="${epochs:-200}"
  own=(trainer.accelerator=gpu model.learning=dsr)
else
  epochs="${epochs:-2}"
  own=(model.learning=bptt)
fi
# The paper warms up for 5 of 200 epochs.
own+=("trainer.max_epochs=$epochs" "scheduler.warmup=$(awk "BEGIN { print $epochs / 40 }")")

train() {
  orthotrace-train --multirun experiment=split_cifar100_spiking "${data[@]}" "${own[@]}" "$@"
  python scripts/family.py split_cifar100_spiking
}

# Rows of HLOP's paper; energies of GPM's for CIFAR-100.
train method=hlop 'method.rows={conv1:[6,2],conv2:[100,20],conv3:[200,40]}' method.audit=false
train method=gpm method.energy=0.97 method.growth=0.003 method.samples=125 method.audit=false
train method=finetune
